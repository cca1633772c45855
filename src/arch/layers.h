// What tensor names say about a network: its stacks of layers, and the place of each tensor.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crucible {

// "model.layers.12.mlp.up_proj.weight" -> stack "model.layers", index 12, rest "mlp.up_proj.weight".
// The first run of digits between dots (or at the front) is the index.
struct LayerName {
  std::string stack;
  std::int64_t index = 0;
  std::string rest;
  std::string with_index(std::int64_t other) const;  // the same tensor of another layer
};
std::optional<LayerName> parse_layer_name(std::string_view tensor_name);

// One repeated stack: a text decoder, a vision tower, ...
struct LayerStack {
  std::string name;         // "model.layers"
  std::int64_t layers = 0;  // highest index + 1, extra prediction layers aside
  std::string config_key;   // dotted path of the count in config.json; empty when no key agrees
};

// Stacks of a model, from its tensor names and config.json (JSON text, may be empty). A stack whose config says fewer layers than
// there are indices has extra layers at the end (prediction heads): they count as outside.
std::vector<LayerStack> find_layer_stacks(const std::vector<std::string>& tensor_names, const std::string& config_text);

// What a tensor is for, as far as its name tells.
enum class Role { kEmbedding, kHead, kNorm, kAttention, kMlp, kExpert, kRouter, kOther };
std::string_view to_string(Role role) noexcept;
Role role_of(std::string_view tensor_name) noexcept;

// Outside the layers: does the tensor come before them (embeddings), or after (final norm, head)?
bool comes_before_layers(std::string_view tensor_name) noexcept;

}  // namespace crucible
