// Elements of the sample computed a second time, one by one, from the formula.
#pragma once

#include <cmath>

#include "methods/kernel.h"

namespace crucible {

// By how much `out` is further from what exact arithmetic gives than one rounding to f32 explains; not above 0, or NaN, where it is not.
// `size`: of the largest term, where terms cancel. What is not finite is no business of this check. No branch, so loops become vectors.
inline double rounding_excess(double expected, double size, float out) noexcept {
  const auto is = static_cast<double>(out);
  const double none = is - is;  // NaN where `out` is not finite, else 0
  return std::abs(is - expected) - (0x1p-22 * (size + std::abs(expected)) + 0x1p-149) + none;
}
inline bool rounds_to(double expected, double size, float out) noexcept { return !(rounding_excess(expected, size, out) > 0); }

// `see(at, n, agrees)` writes for each of n elements (kSpotElems at most) of the tile, from `at` on, whether it is what the plan gives.
// `other_agrees(k, i)`: is element i what the k-th alternative gives?
template <typename See, typename OtherAgrees>
void spot_check_blocks(const Tile& tile, std::int64_t tensor_elems, std::size_t alternatives, Measure& measure, const See& see,
                       const OtherAgrees& other_agrees) noexcept {
  SpotCheck& spot = measure.spot;
  spot.explained.resize(alternatives);
  for_each_sample(tile.begin, tile.count, tensor_elems, [&](std::int64_t first, std::int64_t n) {
    const std::int64_t spots = tensor_elems <= kSampleWhole ? n : std::min(n, kSpotElems);
    spot.seen += spots;
    bool agrees[kSpotElems];
    for (std::int64_t at = first; at < first + spots; at += kSpotElems) {
      const std::int64_t some = std::min(kSpotElems, first + spots - at);
      see(at, some, agrees);
      for (std::int64_t i = 0; i < some; ++i) {
        if (agrees[i]) continue;
        ++spot.wrong;
        for (std::size_t k = 0; k < alternatives; ++k) spot.explained[k] += other_agrees(k, at + i) ? 1 : 0;
      }
    }
  });
}

// `agrees(k, i)`: is element i of the tile what the plan (k = 0) or the k-th alternative gives?
template <typename Agrees>
void spot_check(const Tile& tile, std::int64_t tensor_elems, std::size_t alternatives, Measure& measure, const Agrees& agrees) noexcept {
  const auto see = [&agrees](std::int64_t at, std::int64_t n, bool* each) {
    for (std::int64_t i = 0; i < n; ++i) each[i] = agrees(std::size_t{0}, at + i);
  };
  spot_check_blocks(tile, tensor_elems, alternatives, measure, see, [&agrees](std::size_t k, std::int64_t i) { return agrees(k + 1, i); });
}

}  // namespace crucible
