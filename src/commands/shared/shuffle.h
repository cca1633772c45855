// Layers drawn at random from several models -> a stack.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "commands/shared/stacking.h"

namespace crucible {

enum class ShuffleKind {
  kSameLayer,  // layer k of the output is layer k of a model that is drawn by weight
  kFull,       // of each model trunc(layers * weight) layers, each drawn from all of them, all in random order
};

struct Shuffling {
  std::vector<ModelRef> models;
  std::vector<double> weights;  // one per model; empty = equal
  ShuffleKind kind = ShuffleKind::kSameLayer;
  std::uint64_t seed = 0;
};

// The slices of the stack, runs of consecutive layers of one model as one slice. They depend on the seed, the weights, the number of
// models and their layers only. Opens headers; what is wrong goes to `diagnostics`.
std::vector<StackedLayers> shuffle_layers(const Shuffling& shuffling, const std::vector<std::pair<std::string, std::string>>& model_dirs,
                                          Diagnostics& diagnostics);

}  // namespace crucible
