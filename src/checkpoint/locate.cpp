#include "checkpoint/locate.h"

#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/text_util.h"
#include "checkpoint/hub_cache.h"
#include "io/file.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

// A folder, or one weight file.
// A place as messages name it. What is there and cannot be a model is said.
std::string told(const std::string& path) {
  if (is_folder(path) || path.ends_with(".safetensors") || !path_exists(path)) return printable(path, 400);
  return printable(path, 400) + " (a file, but not .safetensors)";
}

bool is_model_path(const std::string& path) { return is_folder(path) || (path.ends_with(".safetensors") && path_exists(path)); }

bool is_path_only(std::string_view path) {
  return path.starts_with('/') || path.starts_with('~') || path.starts_with("./") || path.starts_with("../") || path == "." || path == "..";
}

class Locator {
 public:
  Locator(const std::string& path, const std::string& revision, const Place& place, const LocateOptions& options, Diagnostics& diagnostics)
      : path_(path), revision_(revision), place_(place), options_(options), diagnostics_(diagnostics) {}

  std::optional<std::string> locate() {
    if (path_.empty()) {
      diagnostics_.error(place_, "the model's path is empty");
      return {};
    }
    if (const std::string* folder = find_mapping()) return from_mapping(*folder);
    Candidates local = find_local();
    if (local.failed) return {};
    if (local.folder) {
      if (!revision_.empty()) {
        diagnostics_.notice(
            place_, fmt::format("{} is a local folder: the revision \"{}\" is not looked at", printable(path_, 400), printable(revision_)));
      }
      return local.folder;
    }
    if (is_path_only(path_)) {
      diagnostics_.error(place_, fmt::format("model {} not found; looked for {}", name(), join_names(tried_)));
      return {};
    }
    return from_cache();
  }

 private:
  struct Candidates {
    std::optional<std::string> folder;
    bool failed = false;
  };

  std::string id() const { return revision_.empty() ? path_ : path_ + "@" + revision_; }
  std::string name() const { return '"' + printable(id(), 400) + '"'; }

  const std::string* find_mapping() const {
    for (const std::string& wanted : {id(), path_}) {
      for (const auto& [key, folder] : options_.model_dirs) {
        if (key == wanted) return &folder;
      }
    }
    return nullptr;
  }

  std::optional<std::string> from_mapping(const std::string& folder) {
    const std::string expanded = expand_home(folder);
    if (is_model_path(expanded)) return expanded;
    diagnostics_.error(place_, fmt::format("model {}: the folder given for it, {}, does not exist", name(), printable(expanded, 400)));
    return {};
  }

  // A path in a recipe is taken as written; only "~" is replaced.
  static std::string expand_home(const std::string& path) {
    return path == "~" || path.starts_with("~/") ? expand_path("~") + path.substr(1) : path;
  }

  Candidates find_local() {
    const std::string path = expand_home(path_);
    if (path.starts_with('/')) {
      tried_.push_back(told(path));
      if (is_model_path(path)) return {path, false};
      return {};
    }
    // Two recipes with the same text must not mean different models because of where the program was started, unless nothing else fits.
    const std::string beside = options_.recipe_folder.empty() ? path : (fs::path(options_.recipe_folder) / path).string();
    std::vector<std::string> found;
    for (const std::string& candidate : {beside, path}) {
      if (candidate == path && beside == path && !tried_.empty()) continue;
      std::error_code failed;
      tried_.push_back(told(fs::absolute(candidate, failed).lexically_normal().string()));
      if (is_model_path(candidate)) found.push_back(candidate);
    }
    if (found.empty()) return {};
    std::error_code failed;
    if (found.size() == 2 && !fs::equivalent(found[0], found[1], failed)) {
      diagnostics_.error(place_,
                         fmt::format("model {} is ambiguous: both {} (beside the recipe) and {} (in the working directory) exist", name(),
                                     tried_[0], tried_[1]),
                         fmt::format("write the path in full, or give --model {}=DIR", printable(id(), 400)));
      return {{}, true};
    }
    return {found.front(), false};
  }

  std::optional<std::string> from_cache() {
    const bool has_option = options_.mapping == LocateOptions::Mapping::kOption;
    const std::string hint =
        has_option ? fmt::format("give its folder with --model {}=DIR", printable(id(), 400)) : std::string("give the path of its folder");
    if (!is_hub_id(path_)) {
      diagnostics_.error(place_, fmt::format("model {} not found; looked for {} (it is no Hub id either)", name(), join_names(tried_)),
                         hint);
      return {};
    }
    const std::string download = fmt::format("{}, or fetch it: huggingface-cli download {}{}", hint, path_,
                                             revision_.empty() ? "" : " --revision " + printable(revision_));
    const HubLookup found = look_up();
    if (!found.folder.empty()) return found.folder;
    if (found.found_something) {
      diagnostics_.error(place_,
                         fmt::format("model {} is in the Hub cache ({}), but {}", name(), printable(found.repository, 400), found.problem),
                         download);
    } else {
      tried_.push_back(printable(found.repository, 400));
      diagnostics_.error(place_, fmt::format("model {} not found; looked for {}", name(), join_names(tried_)), download);
    }
    return {};
  }

  HubLookup look_up() const {
    try {
      return find_in_hub_cache(hub_cache_folder(), path_, revision_);
    } catch (const Error& error) {
      HubLookup found;
      found.repository = hub_cache_folder();
      found.problem = error.what();
      found.found_something = true;
      return found;
    }
  }

  const std::string& path_;
  const std::string& revision_;
  const Place& place_;
  const LocateOptions& options_;
  Diagnostics& diagnostics_;
  std::vector<std::string> tried_;  // printable
};

}  // namespace

std::optional<std::string> locate_model(const std::string& path, const std::string& revision, const Place& place,
                                        const LocateOptions& options, Diagnostics& diagnostics) {
  return Locator(path, revision, place, options, diagnostics).locate();
}

}  // namespace crucible
