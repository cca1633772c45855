// Files with several merges: each document is a recipe, with a name by which other documents use its output as a model.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "recipe/recipe.h"

namespace crucible {

struct MultiRecipe {
  std::vector<Recipe> documents;               // in file order; `text` has empty lines where other documents stand
  std::vector<std::size_t> order;              // of running: what is used before what uses it, else file order; without cycles
  std::vector<std::vector<std::size_t>> uses;  // by document: the documents whose outputs are its inputs, sorted
  std::vector<bool> is_sound;                  // by document: nothing is wrong with itself
  std::optional<std::size_t> result;           // the document without a name
  bool is_legible = true;                      // false: some document is no YAML, so its name is not known
};

// The document that a reference means: that its path is the name of one, whatever its revision. References are nothing but models of a
// recipe; texts elsewhere (methods, types, templates) are never taken for one.
std::optional<std::size_t> document_of(const MultiRecipe& multi, const ModelRef& ref);

// All problems of all documents: of each recipe, names that are missing, double or unfit for a folder, and cycles, with their path.
// Empty documents count for nothing. Touches no disk.
MultiRecipe parse_multi(std::string_view text, const std::string& file, const ReadOptions& options, Diagnostics& diagnostics);

}  // namespace crucible
