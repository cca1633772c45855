// A stack of layer ranges of models -> a passthrough recipe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crucible/dtype.h"
#include "crucible/error.h"
#include "recipe/model_ref.h"

namespace crucible {

struct StackedLayers {
  ModelRef model;
  std::int64_t begin = 0;
  std::optional<std::int64_t> end;  // one past the last; empty = to the model's end
  std::optional<double> scale;      // factor on the scaled tensors
  Place place;                      // where it is asked for; empty on a command line
  std::string shown;                // how it is called in messages
};

struct Stacking {
  std::vector<StackedLayers> slices;  // in the order of the output's layers
  std::vector<std::string> scaled;    // parts of the names of tensors that `scale` is about
  std::optional<ModelRef> embedding;  // where the embedding comes from; empty = from the first slice's model
  std::optional<ModelRef> head;       // and the head; empty = from the last slice's
  std::optional<DType> dtype;
};

// The recipe as text. Opens the headers of the models: a range past the last layer, an empty one, a source without head are errors that
// name the number of layers; all of them at once.
std::string stacking_recipe(const Stacking& stacking, const std::vector<std::pair<std::string, std::string>>& model_dirs,
                            Diagnostics& diagnostics);

}  // namespace crucible
