#include "arch/layers.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "base/text_util.h"
#include "text/json_spans.h"

namespace crucible {
namespace {

// Keys that hold the number of layers, in order of trust.
struct CountKey {
  std::string_view key;
  std::string_view stack_word;   // must stand in the stack's name
  bool may_leave_extra = false;  // may be less than the indices that exist
};
constexpr std::array kCountKeys = {
    CountKey{"encoder_layers", "encoder"},
    CountKey{"decoder_layers", "decoder"},
    CountKey{"num_encoder_layers", "encoder"},
    CountKey{"num_decoder_layers", "decoder"},
    CountKey{"num_hidden_layers", "", true},
    CountKey{"n_layer", "", true},
    CountKey{"n_layers", "", true},
    CountKey{"num_layers", "", true},
    CountKey{"depth", ""},
    CountKey{"num_blocks", ""},
    CountKey{"num_hidden_blocks", ""},
    CountKey{"layers", ""},
};
// Parts of a config's path that say nothing about which stack is meant.
constexpr std::array<std::string_view, 9> kGenericParts = {"text_config",  "llm_config", "language_config", "model_config", "vision_config",
                                                           "audio_config", "config",     "encoder_config",  "transformer"};
// Last parts of a list's name that is no stack of layers.
constexpr std::array<std::string_view, 3> kNoStacks = {"experts", "expert", "heads"};
// Extra prediction heads with a list of their own.
constexpr std::array<std::string_view, 3> kExtraParts = {"mtp", "mtp_layers", "nextn"};
constexpr int kConfigDepth = 4;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool contains(std::string_view text, std::string_view part) noexcept { return text.find(part) != std::string_view::npos; }

// One number of config.json that may be a layer count.
struct Count {
  std::string object;   // path of the object that holds it, with the dot: "", "text_config."
  std::size_t row = 0;  // of kCountKeys
  std::int64_t value = 0;
  Tower tower = Tower::kNone;
  bool taken = false;
  std::string path() const { return object + std::string(kCountKeys[row].key); }
};

void collect_counts(const nlohmann::json& object, const std::string& path, int depth, std::vector<Count>& out) {
  for (std::size_t row = 0; row < kCountKeys.size(); ++row) {
    const auto it = object.find(std::string(kCountKeys[row].key));
    if (it == object.end() || !it->is_number_integer() || it->get<std::int64_t>() <= 0) continue;
    out.push_back({path, row, it->get<std::int64_t>(), tower_of(path), false});
  }
  if (depth >= kConfigDepth) return;
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) collect_counts(value, path + key + ".", depth + 1, out);
  }
}

struct FoundStack {
  LayerStack stack;
  std::size_t present = 0;  // different indices
  bool has_gaps() const { return present != static_cast<std::size_t>(stack.indices); }
};

// How well a count fits a stack; empty when it cannot be the stack's.
class Matcher {
 public:
  explicit Matcher(const std::vector<Count>& counts) : counts_(counts) {}

  std::optional<double> score(const FoundStack& found, const Count& count) const {
    const LayerStack& stack = found.stack;
    const CountKey& key = kCountKeys[count.row];
    const bool exact = count.value == stack.indices;
    if (count.value > stack.indices || (!exact && !key.may_leave_extra)) return std::nullopt;
    if (found.has_gaps() && !(exact && stack.indices >= 4 && 2 * found.present >= static_cast<std::size_t>(stack.indices)))
      return std::nullopt;
    if (!contains(stack.name, key.stack_word) || !towers_agree(stack, count)) return std::nullopt;
    if (key.stack_word.empty() && contains(stack.name, "decoder") && has_key_for(count.object, "decoder")) return std::nullopt;
    const double path = path_score(stack, count);
    if (path < 0 && !exact) return std::nullopt;
    return path + (exact ? 1 : 0) + (key.stack_word.empty() ? 0 : 0.5) - 0.001 * static_cast<double>(count.row);
  }

  // Parts of the path that stand in the stack's name speak for it, the earlier the more; others against it.
  static double path_score(const LayerStack& stack, const Count& count) {
    double sum = 0;
    for (std::string_view part : parts_of(count.object)) {
      if (part.empty() || is_one_of(part, kGenericParts)) continue;
      if (part.ends_with("_config")) part.remove_suffix(7);
      const std::size_t at = stack.name.find(part);
      sum += at == std::string::npos ? -2 : 2 - 0.01 * static_cast<double>(at);
    }
    return sum;
  }

  bool has_key_for(const std::string& object, std::string_view word) const {
    return std::any_of(counts_.begin(), counts_.end(),
                       [&](const Count& c) { return c.object == object && kCountKeys[c.row].stack_word == word; });
  }

 private:
  bool towers_agree(const LayerStack& stack, const Count& count) const {
    if (stack.tower == count.tower) return true;
    // A vision or audio network alone describes itself at the top.
    return count.tower == Tower::kNone && stack.tower != Tower::kProjector &&
           std::none_of(counts_.begin(), counts_.end(), [&](const Count& c) { return c.tower != Tower::kNone; });
  }

  const std::vector<Count>& counts_;
};

void match(std::vector<FoundStack>& stacks, std::vector<Count>& counts) {
  struct Pair {
    double score;
    std::size_t stack, count;
  };
  const Matcher matcher(counts);
  std::vector<Pair> pairs;
  for (std::size_t s = 0; s < stacks.size(); ++s) {
    for (std::size_t c = 0; c < counts.size(); ++c) {
      if (const auto score = matcher.score(stacks[s], counts[c])) pairs.push_back({*score, s, c});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.score > b.score; });
  for (const Pair& p : pairs) {
    LayerStack& stack = stacks[p.stack].stack;
    if (!stack.config_key.empty() || counts[p.count].taken) continue;
    counts[p.count].taken = true;
    stack.config_key = counts[p.count].path();
    stack.layers = counts[p.count].value;
  }
  // The same number under other names, or in a second description of the same part.
  const bool has_encoder = std::any_of(
      stacks.begin(), stacks.end(), [](const FoundStack& f) { return contains(f.stack.name, "encoder") && !f.stack.config_key.empty(); });
  for (FoundStack& found : stacks) {
    LayerStack& stack = found.stack;
    if (stack.config_key.empty()) continue;
    for (Count& count : counts) {
      if (count.taken || count.value != stack.layers || !matcher.score(found, count) || Matcher::path_score(stack, count) < 0) continue;
      if (contains(stack.name, "decoder") && has_encoder && kCountKeys[count.row].stack_word.empty()) continue;
      count.taken = true;
      stack.also_keys.push_back(count.path());
    }
  }
}

bool is_no_stack(std::string_view name) {
  const auto parts = parts_of(name);
  return is_one_of(parts.back(), kNoStacks) || std::any_of(parts.begin(), parts.end(), [](auto p) { return is_one_of(p, kExtraParts); });
}

std::vector<FoundStack> collect_stacks(const std::vector<std::string_view>& tensor_names) {
  std::map<std::string, std::set<std::int64_t>, std::less<>> indices;
  std::optional<LayerParts> last;
  for (const std::string_view name : tensor_names) {
    const auto layer = split_layer_name(name);
    // Neighbours mostly belong to one layer.
    if (!layer || (last && last->index == layer->index && last->stack == layer->stack)) continue;
    last = layer;
    auto stack = indices.find(layer->stack);
    if (stack == indices.end()) stack = indices.emplace(layer->stack, std::set<std::int64_t>()).first;
    stack->second.insert(layer->index);
  }
  std::vector<FoundStack> stacks;
  for (const auto& [name, present] : indices) {
    if (is_no_stack(name)) continue;
    FoundStack found;
    found.present = present.size();
    found.stack.name = name;
    found.stack.indices = found.stack.layers = *present.rbegin() + 1;
    found.stack.tower = tower_of(name);
    stacks.push_back(std::move(found));
  }
  return stacks;
}

}  // namespace

std::string LayerName::with_index(std::int64_t other) const { return layer_tensor_name(stack, other, rest); }

std::string layer_tensor_name(std::string_view stack, std::int64_t index, std::string_view rest) {
  std::string name(stack);
  if (!name.empty()) name += '.';
  name += std::to_string(index);
  name += '.';
  return name += rest;
}

std::optional<LayerParts> split_layer_name(std::string_view name) noexcept {
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!is_digit(name[i]) || (i > 0 && name[i - 1] != '.')) continue;
    std::size_t end = i;
    std::int64_t index = 0;
    for (; end < name.size() && end - i <= 9 && is_digit(name[end]); ++end) index = 10 * index + (name[end] - '0');
    if (end >= name.size() || name[end] != '.' || end - i > 9) continue;
    return LayerParts{name.substr(0, i > 0 ? i - 1 : 0), index, name.substr(end + 1)};
  }
  return std::nullopt;
}

std::optional<LayerName> parse_layer_name(std::string_view name) {
  const auto parts = split_layer_name(name);
  if (!parts) return std::nullopt;
  return LayerName{std::string(parts->stack), parts->index, std::string(parts->rest)};
}

std::vector<LayerStack> find_layer_stacks(const std::vector<std::string_view>& tensor_names, const std::string& config_text) {
  std::vector<FoundStack> found = collect_stacks(tensor_names);
  std::vector<Count> counts;
  const auto config = nlohmann::json::parse(to_standard_json(config_text), nullptr, false);
  if (config.is_object()) collect_counts(config, {}, 1, counts);
  match(found, counts);
  std::vector<LayerStack> stacks;
  for (FoundStack& f : found) {
    if (!f.has_gaps() || !f.stack.config_key.empty()) stacks.push_back(std::move(f.stack));
  }
  LayerStack* main = nullptr;
  int candidates = 0;
  for (LayerStack& s : stacks) {
    if (s.config_key.empty() || s.tower != Tower::kNone) continue;
    main = &s;
    ++candidates;
  }
  if (candidates == 1) main->is_main = true;
  return stacks;
}

}  // namespace crucible
