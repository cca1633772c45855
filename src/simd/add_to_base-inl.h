// The last step of every sum over models: included inside Highway's foreach_target, once per CPU level.
#if defined(CRUCIBLE_SIMD_ADD_TO_BASE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef CRUCIBLE_SIMD_ADD_TO_BASE_INL_H
#undef CRUCIBLE_SIMD_ADD_TO_BASE_INL_H
#else
#define CRUCIBLE_SIMD_ADD_TO_BASE_INL_H
#endif

#include <cstdint>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

// base + sum, rounded once, with base kept as it is where the sum is zero.
HWY_INLINE float moved_base(float base, double sum) {
  const float moved = static_cast<float>(static_cast<double>(base) + sum);
  return sum == 0.0 ? base : moved;
}

// The same for n elements; without a base the sum alone.
HWY_INLINE void add_to_base(const float* base, const double* sum, float* HWY_RESTRICT out, std::int64_t n) {
  if (base == nullptr) {
    for (std::int64_t k = 0; k < n; ++k) out[k] = static_cast<float>(sum[k]);
    return;
  }
  for (std::int64_t k = 0; k < n; ++k) out[k] = moved_base(base[k], sum[k]);
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#endif
