// Models, slices, modules and layer ranges of a recipe. Internal to src/recipe.
#pragma once

#include <optional>
#include <vector>

#include "recipe/context.h"
#include "text/node.h"

namespace crucible {

std::optional<ModelRef> bind_reference(const Node& node, BindContext& context);
std::vector<RecipeModel> bind_models(const Node& node, BindContext& context);
std::vector<OutputSlice> bind_slices(const Node& node, BindContext& context);
std::vector<OutputModule> bind_modules(const Node& node, BindContext& context);

}  // namespace crucible
