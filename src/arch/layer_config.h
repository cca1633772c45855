// What a new choice of layers changes in config.json: layer counts, lists and strings with an entry for each layer, lists of layer
// numbers, and rules from which a loader derives what a layer is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arch/config_edit.h"
#include "arch/layers.h"

namespace crucible {

// What the tensors of one layer show.
struct LayerKind {
  bool experts = false;
  bool attention = false;
};

// A stack of layers in one model.
struct SlicedStack {
  std::string model;  // as messages name it
  std::string config_text;
  LayerStack stack;
  std::vector<LayerKind> kinds;  // one for each layer; empty = not known
};

// Where one output layer comes from.
struct LayerSource {
  std::size_t model = 0;  // index into the models
  std::int64_t layer = 0;
};

struct LayerConfigAnswer {
  std::vector<ConfigChange> changes;  // of the donor's config
  std::vector<std::string> errors;    // the config cannot express the new order, and the output would not load
  std::vector<std::string> notices;   // it cannot express it, and layers would behave differently
};

// `layers` are the output's layers in order. Entries for a layer come from the config of the model that the layer comes from. Rules that
// still describe the new order stay; else their numbers are changed where some number describes it. A rule about layers with experts or
// attention is held against the tensors; one that does not even describe the donor's own tensors is not understood and left alone.
LayerConfigAnswer adapt_layer_config(const SlicedStack& donor, const std::vector<SlicedStack>& models,
                                     const std::vector<LayerSource>& layers);

// Is it a tensor outside of the layers that holds a part for every layer? Then layers cannot be moved without cutting it.
bool holds_part_of_every_layer(std::string_view tensor_name) noexcept;

}  // namespace crucible
