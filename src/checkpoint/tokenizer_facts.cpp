#include "checkpoint/tokenizer_facts.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "io/file.h"
#include "io/folder_swap.h"
#include "checkpoint/config_facts.h"
#include "crucible/error.h"

namespace crucible {
namespace {

using Json = nlohmann::json;
using Vocabulary = std::map<std::string, std::int64_t>;

constexpr std::int64_t kMaxTokenizerBytes = 512'000'000;
// An id beyond this is damage, not a vocabulary.
constexpr std::int64_t kMaxId = std::int64_t{1} << 31;

std::optional<std::string> text_of(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  if (!path_exists(path)) return std::nullopt;
  try {
    return read_small_file(path, kMaxTokenizerBytes);
  } catch (const Error&) {
    return std::nullopt;
  }
}

Json json_of(const std::string& folder, const std::string& name) {
  const auto text = text_of(folder, name);
  return text ? Json::parse(*text, nullptr, false) : Json();
}

bool add(Vocabulary& tokens, const std::string& token, const Json& id) {
  if (!id.is_number_integer()) return false;
  const auto value = id.get<std::int64_t>();
  if (value < 0 || value > kMaxId) return false;
  tokens[token] = value;
  return true;
}

bool add_map(Vocabulary& tokens, const Json& map) {
  if (!map.is_object()) return false;
  for (const auto& [token, id] : map.items()) {
    if (!add(tokens, token, id)) return false;
  }
  return true;
}

// A Unigram vocabulary is a list of (token, score).
bool add_list(Vocabulary& tokens, const Json& list) {
  std::int64_t id = 0;
  for (const Json& entry : list) {
    if (!entry.is_array() || entry.empty() || !entry.front().is_string()) return false;
    tokens[entry.front().get<std::string>()] = id++;
  }
  return id > 0;
}

bool add_tokenizer_json(Vocabulary& tokens, const Json& tokenizer) {
  if (!tokenizer.is_object() || !tokenizer.contains("model") || !tokenizer["model"].is_object()) return false;
  const Json& model = tokenizer["model"];
  if (!model.contains("vocab")) return false;
  if (!(model["vocab"].is_array() ? add_list(tokens, model["vocab"]) : add_map(tokens, model["vocab"]))) return false;
  if (!tokenizer.contains("added_tokens")) return true;
  if (!tokenizer["added_tokens"].is_array()) return tokenizer["added_tokens"].is_null();
  for (const Json& added : tokenizer["added_tokens"]) {
    if (!added.is_object() || !added.contains("content") || !added["content"].is_string() || !added.contains("id")) return false;
    if (!add(tokens, added["content"].get<std::string>(), added["id"])) return false;
  }
  return true;
}

bool add_lines(Vocabulary& tokens, const std::string& text) {
  std::int64_t id = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    tokens[text.substr(begin, end - begin)] = id++;
    begin = end + 1;
  }
  return id > 0;
}

// Tokens that stand beside the vocabulary file of older tokenizers.
void add_added_tokens(Vocabulary& tokens, const std::string& folder) {
  add_map(tokens, json_of(folder, "added_tokens.json"));
  const Json config = json_of(folder, "tokenizer_config.json");
  if (!config.is_object() || !config.contains("added_tokens_decoder") || !config["added_tokens_decoder"].is_object()) return;
  for (const auto& [id, token] : config["added_tokens_decoder"].items()) {
    if (!token.is_object() || !token.contains("content") || !token["content"].is_string()) continue;
    if (id.empty() || id.size() > 9 || !std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    tokens[token["content"].get<std::string>()] = std::stoll(id);
  }
}

}  // namespace

std::optional<TokenizerFacts> read_tokenizer_facts(const std::string& folder) {
  Vocabulary tokens;
  std::string file;
  if (add_tokenizer_json(tokens, json_of(folder, "tokenizer.json"))) {
    file = "tokenizer.json";
  } else {
    tokens.clear();
    if (add_map(tokens, json_of(folder, "vocab.json"))) {
      file = "vocab.json";
    } else if (const auto lines = text_of(folder, "vocab.txt")) {
      tokens.clear();
      if (add_lines(tokens, *lines)) file = "vocab.txt";
    }
  }
  if (file.empty()) return std::nullopt;
  add_added_tokens(tokens, folder);
  TokenizerFacts facts;
  facts.file = file;
  StreamHash hash;
  for (const auto& [token, id] : tokens) {
    facts.size = std::max(facts.size, id + 1);
    const std::string line = token + "\x1f" + std::to_string(id) + "\n";
    hash.update(line.data(), line.size());
  }
  facts.vocabulary_id = hash.hex();
  return facts;
}

}  // namespace crucible
