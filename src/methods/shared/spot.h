// Elements of the sample computed a second time, one by one, from the formula.
#pragma once

#include <cmath>

#include "methods/kernel.h"

namespace crucible {

// Is `out` what exact arithmetic gives, rounded once to f32? `size`: of the largest term, where terms cancel. What is not finite is no
// business of this check.
inline bool rounds_to(double expected, double size, float out) noexcept {
  if (!std::isfinite(expected) || !std::isfinite(out)) return true;
  return std::abs(static_cast<double>(out) - expected) <= 0x1p-22 * (size + std::abs(expected)) + 0x1p-149;
}

// `agrees(k, i)`: is element i of the tile what the plan (k = 0) or the k-th alternative gives?
template <typename Agrees>
void spot_check(const Tile& tile, std::int64_t tensor_elems, std::size_t alternatives, Measure& measure, const Agrees& agrees) noexcept {
  SpotCheck& spot = measure.spot;
  spot.explained.resize(alternatives);
  for_each_sample(tile.begin, tile.count, tensor_elems, [&](std::int64_t at, std::int64_t n) {
    const std::int64_t spots = tensor_elems <= kSampleWhole ? n : std::min(n, kSpotElems);
    spot.seen += spots;
    for (std::int64_t i = at; i < at + spots; ++i) {
      if (agrees(std::size_t{0}, i)) continue;
      ++spot.wrong;
      for (std::size_t k = 0; k < alternatives; ++k) spot.explained[k] += agrees(k + 1, i) ? 1 : 0;
    }
  });
}

}  // namespace crucible
