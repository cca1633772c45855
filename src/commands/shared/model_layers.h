// How many layers has a model? For commands that cut models before there is a recipe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crucible/error.h"
#include "recipe/model_ref.h"

namespace crucible {

// Opens each model once, headers only.
class ModelLayers {
 public:
  // `model_dirs`: id -> folder, as --model gives them.
  explicit ModelLayers(std::vector<std::pair<std::string, std::string>> model_dirs) : model_dirs_(std::move(model_dirs)) {}

  // The layers of the one stack that the model has. What is wrong is said in `diagnostics` once for each model, at the place of `ref`.
  std::optional<std::int64_t> count(const ModelRef& ref, Diagnostics& diagnostics);

  // Tensors outside the layers that are embeddings, or heads; without their last part ("model.embed_tokens"). Sorted, no repeats.
  enum class Outer { kEmbedding, kHead };
  std::vector<std::string> outer_modules(const ModelRef& ref, Outer what, Diagnostics& diagnostics);

 private:
  struct Look {
    bool opened = false;
    std::vector<std::string> names;  // of the tensors
    std::optional<std::int64_t> layers;
  };
  const Look& look(const ModelRef& ref, Diagnostics& diagnostics);

  std::vector<std::pair<std::string, std::string>> model_dirs_;
  std::map<std::string, Look> looks_;
};

}  // namespace crucible
