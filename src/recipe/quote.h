// Texts of a recipe written back as YAML. Internal to src/recipe.
#pragma once

#include <string>
#include <string_view>

namespace crucible {

// In double quotes, with escapes: reads back as the same text whatever it holds.
std::string yaml_quoted(std::string_view text);

}  // namespace crucible
