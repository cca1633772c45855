// The `parameters` mappings of a recipe -> Settings. Internal to src/recipe.
#pragma once

#include "recipe/context.h"
#include "text/node.h"

namespace crucible {

// Binds the `parameters` of a mapping (the recipe, a module, a slice, a model). Settings without effect are reported and left out.
Settings bind_settings(const Node& owner, Origin::Level level, BindContext& context);

// The field of a parameter in the method's tables; null when the method has none.
const Field* find_field(const Method& method, std::string_view name) noexcept;

}  // namespace crucible
