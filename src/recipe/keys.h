// The keys of a recipe: one table for all levels. Internal to src/recipe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "recipe/context.h"
#include "text/node.h"

namespace crucible {

enum class KeyLevel { kDocument, kModel, kSlice, kSource, kModule, kCondition, kReference, kReferencePath, kTokenizer };

// "in an entry of `models`": where the keys of a level stand.
std::string_view where_text(KeyLevel level) noexcept;

std::vector<std::string> key_names(KeyLevel level);

// Reports every key of the mapping that does not belong to the level, and checks the known ones that nothing binds (yet).
void check_keys(const Node& map, KeyLevel level, BindContext& context);

// The value of a key; null when it is absent or empty (`key:`, `key: null`), which mean the same in a recipe.
const Node* find_value(const Node& map, std::string_view key) noexcept;

// Does any merge method, here or in mergekit 0.1.4, have a parameter of this name?
bool is_some_parameter(std::string_view name) noexcept;

// The merge methods of mergekit 0.1.4.
const std::vector<std::string>& mergekit_method_names();

}  // namespace crucible
