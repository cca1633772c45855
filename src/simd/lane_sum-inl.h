// Sums in a fixed order, for every file of loops: included inside Highway's foreach_target, once per CPU level.
#if defined(CRUCIBLE_SIMD_LANE_SUM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef CRUCIBLE_SIMD_LANE_SUM_INL_H
#undef CRUCIBLE_SIMD_LANE_SUM_INL_H
#else
#define CRUCIBLE_SIMD_LANE_SUM_INL_H
#endif

#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

#include "simd/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

constexpr int kLanes = 16;  // f64 lanes of every sum

// The lanes as vectors, for loops that are written in these.
constexpr std::size_t kSumWidth = hn::MaxLanes(DWide());
constexpr std::size_t kSumVectors = kLanes / kSumWidth;
HWY_INLINE void store_sums(const VWide* sums, double* lanes) {
  for (std::size_t v = 0; v < kSumVectors; ++v) hn::StoreU(sums[v], DWide(), lanes + v * kSumWidth);
}

inline double add_lanes(const double* lanes) {
  double half[8];
  for (int i = 0; i < 8; ++i) half[i] = lanes[i] + lanes[i + 8];
  for (int i = 0; i < 4; ++i) half[i] += half[i + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}

// Sums term(i) over fixed lanes; element i always lands in lane i % 16.
template <typename Term>
HWY_INLINE double lane_sum(std::int64_t n, const Term& term) {
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) lanes[k] += term(i + k);
  }
  for (int k = 0; i + k < n; ++k) lanes[k] += term(i + k);
  return add_lanes(lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#endif
