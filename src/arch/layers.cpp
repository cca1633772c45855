#include "arch/layers.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

namespace crucible {
namespace {

// Keys that hold the number of layers in config.json, with the part of a stack's name that they are about ("" = any).
struct CountKey {
  std::string_view key;
  std::string_view stack_part;
};
constexpr std::array kCountKeys = {
    CountKey{"num_hidden_layers", ""},
    CountKey{"n_layer", ""},
    CountKey{"n_layers", ""},
    CountKey{"num_layers", ""},
    CountKey{"encoder_layers", "encoder"},
    CountKey{"decoder_layers", "decoder"},
    CountKey{"num_decoder_layers", "decoder"},
    CountKey{"depth", "visual"},
    CountKey{"depth", "vision"},
};
constexpr std::array<std::string_view, 5> kNested = {"text_config", "llm_config", "language_config", "vision_config", "audio_config"};

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

std::optional<std::int64_t> count_at(const nlohmann::json& config, std::string_view key) {
  const auto it = config.find(std::string(key));
  if (it == config.end() || !it->is_number_integer()) return std::nullopt;
  return it->get<std::int64_t>();
}

bool contains(std::string_view text, std::string_view part) noexcept { return text.find(part) != std::string_view::npos; }

// Does a nested config belong to this stack? The text stack may also be described at the top level.
bool nested_fits(std::string_view nested, std::string_view stack) noexcept {
  const bool vision = contains(stack, "vision") || contains(stack, "visual") || contains(stack, "image");
  const bool audio = contains(stack, "audio");
  if (nested == "vision_config") return vision;
  if (nested == "audio_config") return audio;
  return !vision && !audio;
}

// The key that gives this stack's count: the config's number must not exceed the indices that exist.
void find_count(const nlohmann::json& config, LayerStack& stack) {
  const auto try_level = [&](const nlohmann::json& level, const std::string& path) {
    for (const CountKey& k : kCountKeys) {
      if (!k.stack_part.empty() && !contains(stack.name, k.stack_part)) continue;
      const auto count = count_at(level, k.key);
      if (!count || *count <= 0 || *count > stack.layers) continue;
      stack.layers = *count;
      stack.config_key = path + std::string(k.key);
      return true;
    }
    return false;
  };
  for (const std::string_view nested : kNested) {
    const auto it = config.find(std::string(nested));
    if (it != config.end() && it->is_object() && nested_fits(nested, stack.name) && try_level(*it, std::string(nested) + ".")) return;
  }
  if (contains(stack.name, "vision") || contains(stack.name, "visual") || contains(stack.name, "audio")) return;
  try_level(config, "");
}

}  // namespace

std::string LayerName::with_index(std::int64_t other) const {
  return (stack.empty() ? std::string() : stack + ".") + std::to_string(other) + "." + rest;
}

std::optional<LayerName> parse_layer_name(std::string_view name) {
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!is_digit(name[i]) || (i > 0 && name[i - 1] != '.')) continue;
    std::size_t end = i;
    while (end < name.size() && is_digit(name[end])) ++end;
    if (end >= name.size() || name[end] != '.' || end - i > 9) continue;
    LayerName layer;
    layer.stack = std::string(name.substr(0, i > 0 ? i - 1 : 0));
    layer.index = std::stoll(std::string(name.substr(i, end - i)));
    layer.rest = std::string(name.substr(end + 1));
    return layer;
  }
  return std::nullopt;
}

std::vector<LayerStack> find_layer_stacks(const std::vector<std::string>& tensor_names, const std::string& config_text) {
  std::map<std::string, std::int64_t> counts;
  for (const std::string& name : tensor_names) {
    if (const auto layer = parse_layer_name(name)) {
      std::int64_t& count = counts[layer->stack];
      count = std::max(count, layer->index + 1);
    }
  }
  const auto config = nlohmann::json::parse(config_text, nullptr, false);
  std::vector<LayerStack> stacks;
  for (const auto& [name, count] : counts) {
    LayerStack stack{name, count, {}};
    if (config.is_object()) find_count(config, stack);
    stacks.push_back(std::move(stack));
  }
  return stacks;
}

std::string_view to_string(Role role) noexcept {
  switch (role) {
    case Role::kEmbedding: return "embedding";
    case Role::kHead: return "head";
    case Role::kNorm: return "norm";
    case Role::kAttention: return "attention";
    case Role::kMlp: return "mlp";
    case Role::kExpert: return "expert";
    case Role::kRouter: return "router";
    case Role::kOther: return "other";
  }
  return "other";
}

Role role_of(std::string_view name) noexcept {
  const auto any = [name](std::initializer_list<std::string_view> parts) {
    return std::any_of(parts.begin(), parts.end(), [name](std::string_view p) { return contains(name, p); });
  };
  if (any({"norm", "ln_", ".ln.", "LayerNorm", "layernorm"})) return Role::kNorm;
  if (any({"embed", "wte", "wpe"})) return Role::kEmbedding;
  if (any({"lm_head", "embed_out", "output_layer", "classifier", "score."}) || name == "output.weight") return Role::kHead;
  if (any({"router", "mlp.gate.", "moe.gate.", "shared_expert_gate"})) return Role::kRouter;
  if (any({"expert"})) return Role::kExpert;
  if (any({"attn", "attention", "mixer.Wqkv"})) return Role::kAttention;
  if (any({"mlp", "feed_forward", "ffn", "fc1", "fc2", "DenseReluDense", "intermediate.dense"})) return Role::kMlp;
  return Role::kOther;
}

bool comes_before_layers(std::string_view name) noexcept { return role_of(name) != Role::kHead && role_of(name) != Role::kNorm; }

}  // namespace crucible
