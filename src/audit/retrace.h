// The parameters of a plan once more, by another way: straight from the recipe's text to one value for each tensor and model, by the
// rules of the recipe language (levels, filters, gradients). It shares no code with what made the plan but the YAML parser and the
// reading of one scalar; so a value that was lost, moved or bent on its way to a tensor is found before any arithmetic.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"

namespace crucible {

// A value of the plan that the recipe does not give.
struct Detour {
  std::string parameter;
  std::string model;   // empty: of the merge as a whole
  std::string tensor;  // the first one
  std::string planned, recipe;
  Place place;  // of the recipe's value; unknown for a default
  std::int64_t tensors = 0;
};

// Empty = every value of every merged tensor is the recipe's.
std::vector<Detour> retrace(const Plan& plan);

// In words, one line each.
std::vector<std::string> render_detours(const std::vector<Detour>& detours);

}  // namespace crucible
