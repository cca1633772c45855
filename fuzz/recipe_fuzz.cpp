// Any bytes: reading a recipe never crashes, and a recipe without errors has a canonical text that is a fixed point.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "crucible/error.h"
#include "recipe/recipe.h"

namespace {

[[noreturn]] void fail(const char* what, const std::string& text, const crucible::Diagnostics& diagnostics) {
  std::fprintf(stderr, "%s\n%s\n%s\n", what, text.c_str(), crucible::render_diagnostics(diagnostics).c_str());
  std::abort();
}

void check(const std::string& text, crucible::UnusedPolicy policy) {
  crucible::Diagnostics diagnostics;
  const crucible::Recipe recipe = crucible::parse_recipe(text, "fuzz.yml", {policy}, diagnostics);
  crucible::render_diagnostics(diagnostics);
  if (diagnostics.has_errors()) return;
  const std::string canonical = crucible::canonical_text(recipe);
  crucible::Diagnostics again;
  const crucible::Recipe second = crucible::parse_recipe(canonical, "canonical.yml", {crucible::UnusedPolicy::kError}, again);
  if (again.has_errors()) fail("the canonical text has errors", canonical, again);
  if (crucible::canonical_text(second) != canonical) fail("the canonical text is no fixed point", canonical, again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check(text, crucible::UnusedPolicy::kError);
  check(text, crucible::UnusedPolicy::kNotice);
  return 0;
}
