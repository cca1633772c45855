// What an analysis suggests for a merge: density, epsilon, weights, and what to be careful about; each with the numbers it rests on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/analyze.h"

namespace crucible {

struct Advice {
  std::string about;         // "density", "epsilon", "weight", "signs", "base", "identical", "nonfinite": stable names
  std::optional<int> model;  // index into Analysis::models
  std::optional<int> other;  // the second of a pair
  std::optional<double> value;
  std::string text;  // one sentence or two, with the numbers
};

// The smallest density of kDensities at which the largest magnitudes of each tensor hold this share of the task vector's energy.
std::size_t density_that_holds(const DeltaTotals& totals, double share) noexcept;

// What DELLA keeps of the energy in expectation, before it rescales: keep probabilities that rise by magnitude rank from
// density - epsilon to density + epsilon.
double expected_energy(const DeltaTotals& totals, double density, double epsilon) noexcept;

// "[1]", "[2]", ... stand for the models.
std::vector<Advice> advise(const Analysis& analysis);

}  // namespace crucible
