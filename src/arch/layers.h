// What tensor names and config.json say about the layers of a network.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/towers.h"

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

// The same parts without copies: they lie in the name that was given. For loops over all tensors of a model.
struct LayerParts {
  std::string_view stack;
  std::int64_t index = 0;
  std::string_view rest;
};
std::optional<LayerParts> split_layer_name(std::string_view tensor_name) noexcept;

// The name of which these are the parts.
std::string layer_tensor_name(std::string_view stack, std::int64_t index, std::string_view rest);

// One repeated stack: a text decoder, a vision tower, ...
struct LayerStack {
  std::string name;                    // "model.layers"
  std::int64_t layers = 0;             // highest index + 1, extra prediction layers aside
  std::string config_key;              // dotted path of the count in config.json; empty when no key agrees
  std::int64_t indices = 0;            // highest index + 1
  std::vector<std::string> also_keys;  // other paths of config.json with the same count for the same stack
  Tower tower = Tower::kNone;
  std::string folder;    // of the part that has it (arch/parts.h); empty = the model's own folder
  bool is_main = false;  // the one stack of the text network that config.json counts
};

// Stacks of a model, from its tensor names and config.json (JSON text, may be empty), by name. A stack is a run of indices from 0 without
// gaps; with gaps only where config.json counts exactly so many layers. Lists inside of layers, lists of experts and extra prediction
// heads of their own are none. A stack whose config says fewer layers than there are indices has extra layers at the end (prediction
// heads): they count as outside. A number of config.json belongs to one stack: the one whose name, part of the model and indices fit best.
std::vector<LayerStack> find_layer_stacks(const std::vector<std::string_view>& tensor_names, const std::string& config_text);
inline std::vector<LayerStack> find_layer_stacks(const std::vector<std::string>& tensor_names, const std::string& config_text) {
  return find_layer_stacks(std::vector<std::string_view>(tensor_names.begin(), tensor_names.end()), config_text);
}

}  // namespace crucible
