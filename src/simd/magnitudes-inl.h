// Magnitudes (the bits of a float without its sign) and words of marks, for every file of loops over them: included inside Highway's
// foreach_target, once per CPU level.
#if defined(CRUCIBLE_SIMD_MAGNITUDES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef CRUCIBLE_SIMD_MAGNITUDES_INL_H
#undef CRUCIBLE_SIMD_MAGNITUDES_INL_H
#else
#define CRUCIBLE_SIMD_MAGNITUDES_INL_H
#endif

#include <bit>
#include <cstdint>
#include <cstring>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// No more than 16 lanes, so that the lanes of a vector divide a word of marks.
using D32 = hn::CappedTag<std::int32_t, 16>;
using DU32 = hn::RebindToUnsigned<D32>;
using DFloat = hn::RebindToFloat<D32>;
constexpr std::int64_t kWord = 64;

HWY_INLINE std::int64_t lane_count() { return static_cast<std::int64_t>(hn::Lanes(D32())); }
HWY_INLINE std::uint32_t magnitude_of(float x) { return std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu; }

// Magnitudes are below 2^31, so signed compares serve.
HWY_INLINE hn::Vec<D32> load_magnitudes(const float* x) {
  return hn::And(hn::BitCast(D32(), hn::LoadU(DFloat(), x)), hn::Set(D32(), 0x7FFFFFFF));
}

// Counts down where the mask is set: one instruction where masks have registers of their own.
template <typename D, typename M>
HWY_INLINE hn::Vec<D> count_down(D d, hn::Vec<D> count, M mask) {
  if constexpr (HWY_TARGET == HWY_AVX3) return hn::IfThenElse(mask, hn::Sub(count, hn::Set(d, 1)), count);
  return hn::Add(count, hn::VecFromMask(d, mask));
}

// How often all lanes were counted down from 0.
HWY_INLINE std::int64_t times_counted(hn::Vec<D32> count) {
  std::int32_t each[hn::MaxLanes(D32())];
  hn::StoreU(count, D32(), each);
  std::int64_t times = 0;
  for (std::int64_t k = 0; k < lane_count(); ++k) times -= each[k];
  return times;
}

template <typename D, typename M>
HWY_INLINE std::uint64_t bits_of_mask(D d, M mask) {
  std::uint8_t bytes[8] = {};
  hn::StoreMaskBits(d, mask, bytes);
  if constexpr (hn::MaxLanes(d) > 8 && std::endian::native == std::endian::little) {
    std::uint16_t pair = 0;  // as one load: compilers keep that in a register
    std::memcpy(&pair, bytes, sizeof pair);
    return pair;
  }
  return hn::MaxLanes(d) <= 8 ? bytes[0] : bytes[0] | static_cast<std::uint64_t>(bytes[1]) << 8;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#endif
