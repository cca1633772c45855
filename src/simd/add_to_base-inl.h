// The last step of every sum over models: included inside Highway's foreach_target, once per CPU level.
#if defined(CRUCIBLE_SIMD_ADD_TO_BASE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef CRUCIBLE_SIMD_ADD_TO_BASE_INL_H
#undef CRUCIBLE_SIMD_ADD_TO_BASE_INL_H
#else
#define CRUCIBLE_SIMD_ADD_TO_BASE_INL_H
#endif

#include <cstdint>

#include <hwy/highway.h>

#include "simd/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

// base + sum, rounded once, with base kept as it is, the sign of a zero too, where the sum is zero.
HWY_INLINE float moved_base(float base, double sum) {
  const float moved = static_cast<float>(wide(base) + sum);
  return sum == 0.0 ? base : moved;
}
HWY_INLINE void store_moved(const float* base, VWide sum, float* out) {
  const VWide was = load_wide(base);
  store_narrow(hn::IfThenElse(hn::Eq(sum, hn::Zero(DWide())), was, hn::Add(was, sum)), out);
}

// Writes n sums added to the base, or alone where there is none: sums_at(i) for a vector of elements, sum_at(i) for one.
template <typename SumsAt, typename SumAt>
HWY_INLINE void write_sums(const float* base, float* HWY_RESTRICT out, std::int64_t n, const SumsAt& sums_at, const SumAt& sum_at) {
  std::int64_t i = 0;
  if (base == nullptr) {
    for (; !kEmulated && i + kWideLanes <= n; i += kWideLanes) store_narrow(sums_at(i), out + i);
    for (; i < n; ++i) out[i] = static_cast<float>(sum_at(i));
    return;
  }
  for (; !kEmulated && i + kWideLanes <= n; i += kWideLanes) store_moved(base + i, sums_at(i), out + i);
  for (; i < n; ++i) out[i] = moved_base(base[i], sum_at(i));
}

HWY_INLINE void add_to_base(const float* base, const double* sum, float* HWY_RESTRICT out, std::int64_t n) {
  write_sums(
      base, out, n, [sum](std::int64_t i) HWY_ATTR { return hn::LoadU(DWide(), sum + i); }, [sum](std::int64_t i) { return sum[i]; });
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#endif
