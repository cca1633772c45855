#include "report/card_facts.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "checkpoint/hub_cache.h"
#include "io/file.h"
#include "report/public_names.h"
#include "text/yaml.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kCardLimit = 16 << 20;

std::string text_of(const std::string& folder, const char* name) {
  const std::string path = folder + "/" + name;
  try {
    return is_folder(folder) && path_exists(path) ? read_small_file(path, kCardLimit) : std::string();
  } catch (const Error&) {
    return {};
  }
}

// "org/name", not one of the names without an organisation, which any folder could have.
bool is_full_hub_id(std::string_view text) { return text.find('/') != std::string_view::npos && is_hub_id(text); }

// ".../models--org--name/snapshots/<commit>" -> "org/name".
std::string id_of_snapshot(const std::string& folder) {
  std::error_code unknown;
  const fs::path real = fs::canonical(folder, unknown);
  if (unknown || real.parent_path().filename() != "snapshots") return {};
  std::string name = real.parent_path().parent_path().filename().string();
  if (!name.starts_with("models--")) return {};
  name = name.substr(8);
  if (const std::size_t dashes = name.find("--"); dashes != std::string::npos) name.replace(dashes, 2, "/");
  return is_hub_id(name) ? name : std::string();
}

// The id that config.json gives the model. After a training run it is that of the model that was trained, so the folder's name must agree.
std::string id_in_config(const std::string& config_text, const std::string& folder_name) {
  const auto config = nlohmann::json::parse(config_text, nullptr, false);
  if (!config.is_object() || !config.contains("_name_or_path") || !config["_name_or_path"].is_string()) return {};
  std::string id = config["_name_or_path"].get<std::string>();
  return is_full_hub_id(id) && id.ends_with("/" + folder_name) ? id : std::string();
}

// What makes two words with a slash an id, and not a local path, in a README.
constexpr std::array<std::string_view, 4> kBeforeId = {"huggingface.co/", "hf.co/", "from_pretrained(\"", "from_pretrained('"};

// The one id in a README whose second half is the folder's name.
std::string id_in_readme(const std::string& readme, const std::string& folder_name) {
  const auto is_name_char = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  };
  std::set<std::string> ids;
  const std::string wanted = "/" + folder_name;
  for (std::size_t at = readme.find(wanted); at != std::string::npos; at = readme.find(wanted, at + 1)) {
    const std::size_t end = at + wanted.size();
    if (end < readme.size() && is_name_char(readme[end]) &&
        !(readme[end] == '.' && (end + 1 >= readme.size() || !is_name_char(readme[end + 1]))))
      continue;
    std::size_t begin = at;
    while (begin > 0 && is_name_char(readme[begin - 1])) --begin;
    const std::string id = readme.substr(begin, end - begin);
    const std::string_view before = std::string_view(readme).substr(0, begin);
    const bool is_id = std::any_of(kBeforeId.begin(), kBeforeId.end(), [&](std::string_view b) { return before.ends_with(b); });
    if (is_id && is_full_hub_id(id)) ids.insert(id);
  }
  return ids.size() == 1 ? *ids.begin() : std::string();
}

bool is_local_path(const Plan& plan, const PlanInput& input) {
  const std::string& path = input.ref.model.path;
  const fs::path beside = fs::path(plan.recipe.file).parent_path() / path;
  return is_absolute_path(path) || path.starts_with('.') || input.path == path || fs::path(input.path) == beside;
}

std::string scalar(const Node& map, std::string_view key) {
  const Node* node = map.find(key);
  if (node != nullptr && node->is_sequence() && node->items.size() == 1) node = &node->items.front();
  return node != nullptr && node->is_scalar() ? node->text : std::string();
}

}  // namespace

std::string find_hub_id(const Plan& plan, const PlanInput& input) {
  if (std::string id = id_of_snapshot(input.path); !id.empty()) return id;
  if (!is_local_path(plan, input) && is_full_hub_id(input.ref.model.path)) return input.ref.model.path;
  std::error_code unknown;
  const std::string folder_name = fs::canonical(input.path, unknown).filename().string();
  if (unknown || folder_name.empty()) return {};
  if (std::string id = id_in_config(input.checkpoint.config_text(), folder_name); !id.empty()) return id;
  return id_in_readme(text_of(input.path, "README.md"), folder_name);
}

std::optional<CardFacts> parse_card(std::string_view readme) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (readme.starts_with(kMark)) readme.remove_prefix(kMark.size());
  const std::size_t first_end = readme.find('\n');
  const auto is_fence = [](std::string_view line) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    return line == "---";
  };
  if (first_end == std::string_view::npos || !is_fence(readme.substr(0, first_end))) return std::nullopt;
  std::size_t end = first_end + 1;
  for (; end < readme.size();) {
    const std::size_t line_end = std::min(readme.find('\n', end), readme.size());
    if (is_fence(readme.substr(end, line_end - end))) break;
    end = line_end + 1;
  }
  if (end >= readme.size()) return std::nullopt;
  Diagnostics problems;
  const std::vector<Node> documents = parse_yaml(readme.substr(first_end + 1, end - first_end - 1), "README.md", problems);
  if (problems.has_errors() || documents.size() != 1 || !documents.front().is_map()) return std::nullopt;
  const Node& map = documents.front();
  CardFacts facts{scalar(map, "license"), scalar(map, "license_name"), scalar(map, "license_link"), scalar(map, "pipeline_tag"), {}};
  if (const Node* languages = map.find("language")) {
    if (languages->is_scalar()) facts.languages.push_back(languages->text);
    for (const Node& item : languages->items) {
      if (item.is_scalar()) facts.languages.push_back(item.text);
    }
    std::sort(facts.languages.begin(), facts.languages.end());
  }
  return facts;
}

std::optional<CardFacts> read_card(const std::string& folder) { return parse_card(text_of(folder, "README.md")); }

}  // namespace crucible
