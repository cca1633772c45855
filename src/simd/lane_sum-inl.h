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

// sum + x * y of numbers that were f32: the product is exact in f64, so one instruction rounds as two do, and on all levels alike.
HWY_INLINE VWide add_exact_product(VWide sum, VWide x, VWide y) { return hn::MulAdd(x, y, sum); }

// The lane_sum of x[i] * y[i].
HWY_INLINE double sum_of_products(const float* x, const float* y, std::int64_t n) {
  VWide sums[kSumVectors];
  for (VWide& sum : sums) sum = hn::Zero(DWide());
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t v = 0; v < kSumVectors; ++v) {
      const std::int64_t at = i + static_cast<std::int64_t>(v * kSumWidth);
      sums[v] = add_exact_product(sums[v], load_wide(x + at), load_wide(y + at));
    }
  }
  double lanes[kLanes];
  store_sums(sums, lanes);
  for (int k = 0; i < n; ++i, ++k) lanes[k] += wide(x[i]) * wide(y[i]);
  return add_lanes(lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#endif
