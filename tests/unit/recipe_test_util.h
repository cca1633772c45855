// Reads recipes from texts for the recipe tests.
#pragma once

#include <string>

#include "crucible/error.h"
#include "recipe/recipe.h"

namespace crucible::recipe_test {

struct Read {
  Recipe recipe;
  Diagnostics diagnostics;

  bool is_clean() const { return diagnostics.empty(); }
  std::string text() const { return render_diagnostics(diagnostics); }
  bool says(const std::string& part) const { return text().find(part) != std::string::npos; }
};

inline Read read(const std::string& text, UnusedPolicy policy = UnusedPolicy::kError) {
  Read out;
  out.recipe = parse_recipe(text, "r.yml", {policy}, out.diagnostics);
  return out;
}

inline Read read_lenient(const std::string& text) { return read(text, UnusedPolicy::kNotice); }

// A della recipe with more lines at the top level.
inline std::string della_with(const std::string& more) {
  return "merge_method: della\nbase_model: base\nmodels:\n  - model: a\n    parameters: {weight: 1}\n" + more;
}

inline std::string founding() {
  return "models:\n"
         "  - model: ./model_a\n"
         "    parameters:\n"
         "      weight: 1.0\n"
         "  - model: ./model_b\n"
         "    parameters:\n"
         "      weight: 1.0\n"
         "merge_method: della\n"
         "base_model: microsoft/phi-2\n"
         "parameters:\n"
         "  density: 0.8\n"
         "  epsilon: 0.3\n"
         "  normalize: true\n"
         "dtype: float16\n";
}

}  // namespace crucible::recipe_test
