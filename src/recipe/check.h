// Rules between the parts of a bound recipe: how many models, which base, which parameters are required. Internal to src/recipe.
#pragma once

#include "recipe/context.h"

namespace crucible {

// Needs recipe.method. Parameters that cannot have an effect are reported and taken out of the recipe.
void check_recipe(Recipe& recipe, BindContext& context);

}  // namespace crucible
