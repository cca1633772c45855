// f32 numbers as vectors of f64, for every file of loops that computes in these: included inside Highway's foreach_target, once per CPU
// level. Compilers widen a vector of floats by halves, in registers; a load that widens costs a third of that.
#if defined(CRUCIBLE_SIMD_WIDE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef CRUCIBLE_SIMD_WIDE_INL_H
#undef CRUCIBLE_SIMD_WIDE_INL_H
#else
#define CRUCIBLE_SIMD_WIDE_INL_H
#endif

#include <cstdint>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DWide = hn::CappedTag<double, 8>;  // half as many lanes as a vector of floats, which divide a word of marks
using DNarrow = hn::Rebind<float, DWide>;
using VWide = hn::Vec<DWide>;
constexpr auto kWideLanes = static_cast<std::int64_t>(hn::MaxLanes(DWide()));
// Highway's emulated levels demote what f32 cannot hold to the largest finite number, not to infinity: there plain loops run.
constexpr bool kEmulated = HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128;

HWY_INLINE double wide(float x) { return static_cast<double>(x); }
HWY_INLINE VWide load_wide(const float* x) { return hn::PromoteTo(DWide(), hn::LoadU(DNarrow(), x)); }
HWY_INLINE void store_narrow(VWide x, float* out) { hn::StoreU(hn::DemoteTo(DNarrow(), x), DNarrow(), out); }

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#endif
