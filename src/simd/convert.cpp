#include "simd/convert.h"

#include <bit>
#include <cstddef>
#include <cstring>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/convert.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

// Plain loops where the compiler vectorizes them for the level of the enclosing region, Highway's operations where it does not.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline float bits_to_float(std::uint32_t u) { return std::bit_cast<float>(u); }
inline std::uint32_t float_to_bits(float f) { return std::bit_cast<std::uint32_t>(f); }

inline float half_to_float(std::uint16_t h) {
  const std::uint32_t magnitude = h & 0x7FFFu;
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  // Subnormals: put the mantissa under an implicit one at 2^-14 and take that one away again; exact.
  const float small = bits_to_float((magnitude << 13) + 0x38800000u) - bits_to_float(0x38800000u);
  const std::uint32_t normal = (magnitude << 13) + 0x38000000u;
  const std::uint32_t special = (magnitude << 13) | 0x7F800000u;
  const std::uint32_t wide = magnitude >= 0x7C00u ? special : normal;
  const std::uint32_t bits = magnitude < 0x0400u ? float_to_bits(small) : wide;
  return bits_to_float(bits | sign);
}

inline std::uint16_t float_to_half(float f) {
  const std::uint32_t bits = float_to_bits(f);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  // Below 2^-14 the unit in the last place is 2^-24, which is that of 0.5: the addition rounds to nearest even.
  const std::uint32_t small = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3F000000u;
  const std::uint32_t normal = (magnitude - 0x38000000u + 0x0FFFu + ((magnitude >> 13) & 1u)) >> 13;
  std::uint32_t h = magnitude < 0x38800000u ? small : normal;
  h = magnitude >= 0x47800000u ? 0x7C00u : h;
  h = magnitude > 0x7F800000u ? 0x7E00u : h | sign;
  return static_cast<std::uint16_t>(h);
}

inline std::uint16_t float_to_bfloat(float f) {
  const std::uint32_t bits = float_to_bits(f);
  const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
}

// Vectors of 32-bit lanes: signed, unsigned and float views of the same bits. Magnitudes are below 2^31, so signed compares serve.
using D32 = hn::ScalableTag<std::int32_t>;
using DFloat = hn::ScalableTag<float>;
using D16 = hn::Rebind<std::uint16_t, D32>;
using V32 = hn::Vec<D32>;

HWY_INLINE V32 halves_to_floats(V32 h) {
  const D32 d;
  const DFloat df;
  const V32 magnitude = hn::And(h, hn::Set(d, 0x7FFF));
  const V32 sign = hn::ShiftLeft<16>(hn::And(h, hn::Set(d, 0x8000)));
  const V32 shifted = hn::ShiftLeft<13>(magnitude);
  const V32 one = hn::Set(d, 0x38800000);  // 2^-14
  const V32 small = hn::BitCast(d, hn::Sub(hn::BitCast(df, hn::Add(shifted, one)), hn::BitCast(df, one)));
  const V32 normal = hn::Add(shifted, hn::Set(d, 0x38000000));
  const V32 special = hn::Or(shifted, hn::Set(d, 0x7F800000));
  const V32 wide = hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0x7BFF)), special, normal);
  return hn::Or(hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x0400)), small, wide), sign);
}

// out = load(i), or that less less[i].
template <typename Load>
HWY_INLINE void load_each(const float* less, float* HWY_RESTRICT out, std::int64_t n, const Load& load) {
  if (less == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = load(i);
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i] = load(i) - less[i];
  }
}

void LoadF16(const void* in, float* HWY_RESTRICT out, std::int64_t n, const float* less) {
  const D32 d;
  const DFloat df;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* p = static_cast<const std::byte*>(in);
  std::uint16_t aligned[hn::MaxLanes(D32())];
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    std::memcpy(aligned, p + 2 * i, static_cast<std::size_t>(lanes) * 2);
    const V32 h = hn::PromoteTo(d, hn::LoadU(D16(), aligned));
    auto x = hn::BitCast(df, halves_to_floats(h));
    if (less != nullptr) x = hn::Sub(x, hn::LoadU(df, less + i));
    hn::StoreU(x, df, out + i);
  }
  load_each(less == nullptr ? nullptr : less + i, out + i, n - i, [&](std::int64_t k) HWY_ATTR {
    std::uint16_t h;
    std::memcpy(&h, p + 2 * (i + k), 2);
    return half_to_float(h);
  });
}

void LoadBF16(const void* in, float* HWY_RESTRICT out, std::int64_t n, const float* less) {
  const auto* p = static_cast<const std::byte*>(in);
  load_each(less, out, n, [p](std::int64_t i) HWY_ATTR {
    std::uint16_t h;
    std::memcpy(&h, p + 2 * i, 2);
    return bits_to_float(static_cast<std::uint32_t>(h) << 16);
  });
}

void LoadF32(const void* in, float* HWY_RESTRICT out, std::int64_t n, const float* less) {
  const auto* p = static_cast<const std::byte*>(in);
  load_each(less, out, n, [p](std::int64_t i) HWY_ATTR {
    float f;
    std::memcpy(&f, p + 4 * i, 4);
    return f;
  });
}

void LoadF64(const void* in, float* HWY_RESTRICT out, std::int64_t n, const float* less) {
  const auto* p = static_cast<const std::byte*>(in);
  load_each(less, out, n, [p](std::int64_t i) HWY_ATTR {
    double d;
    std::memcpy(&d, p + 8 * i, 8);
    return static_cast<float>(d);
  });
}

HWY_INLINE V32 floats_to_halves(V32 bits) {
  const D32 d;
  const DFloat df;
  const V32 magnitude = hn::And(bits, hn::Set(d, 0x7FFFFFFF));
  const V32 sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 0x8000));
  const V32 small = hn::Sub(hn::BitCast(d, hn::Add(hn::BitCast(df, magnitude), hn::Set(df, 0.5f))), hn::Set(d, 0x3F000000));
  const V32 odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d, 1));
  const V32 normal = hn::ShiftRight<13>(hn::Add(hn::Sub(magnitude, hn::Set(d, 0x38000000 - 0x0FFF)), odd));
  V32 h = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x38800000)), small, normal);
  h = hn::Or(hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0x477FFFFF)), hn::Set(d, 0x7C00), h), sign);
  return hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0x7F800000)), hn::Set(d, 0x7E00), h);
}

std::int64_t StoreF16(const float* in, void* out, std::int64_t n) {
  const D32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto* p = static_cast<std::byte*>(out);
  std::uint16_t aligned[hn::MaxLanes(D32())];
  std::int64_t bad = 0;
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V32 h = floats_to_halves(hn::BitCast(d, hn::LoadU(DFloat(), in + i)));
    bad += static_cast<std::int64_t>(hn::CountTrue(d, hn::Gt(hn::And(h, hn::Set(d, 0x7FFF)), hn::Set(d, 0x7BFE))));
    hn::StoreU(hn::DemoteTo(D16(), h), D16(), aligned);
    std::memcpy(p + 2 * i, aligned, static_cast<std::size_t>(lanes) * 2);
  }
  for (; i < n; ++i) {
    const std::uint16_t h = float_to_half(in[i]);
    std::memcpy(p + 2 * i, &h, 2);
    bad += (h & 0x7FFFu) >= 0x7BFFu ? 1 : 0;
  }
  return bad;
}

// Rounding alone does for all numbers; the largest magnitude is looked for in passing, and where one is NaN or at the end of what the type
// holds, which is rare, all are stored and counted one by one.
std::int64_t StoreBF16(const float* in, void* out, std::int64_t n) {
  constexpr std::uint32_t kAtTheEnd = 0x7F7E8000u;  // half a step below the largest finite number
  const D32 d;
  const hn::RebindToUnsigned<D32> du;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto* p = static_cast<std::byte*>(out);
  std::uint16_t aligned[hn::MaxLanes(D32())];
  V32 most = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto bits = hn::BitCast(du, hn::LoadU(DFloat(), in + i));
    most = hn::Max(most, hn::BitCast(d, hn::And(bits, hn::Set(du, 0x7FFFFFFFu))));
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7FFFu)), odd));
    hn::StoreU(hn::DemoteTo(D16(), hn::BitCast(d, rounded)), D16(), aligned);
    std::memcpy(p + 2 * i, aligned, static_cast<std::size_t>(lanes) * 2);
  }
  auto largest = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(d, most)));
  for (std::int64_t k = i; k < n; ++k) {
    const std::uint16_t h = float_to_bfloat(in[k]);
    std::memcpy(p + 2 * k, &h, 2);
    largest = std::max(largest, float_to_bits(in[k]) & 0x7FFFFFFFu);
  }
  if (largest < kAtTheEnd) return 0;
  std::int64_t bad = 0;
  for (std::int64_t k = 0; k < n; ++k) {
    const std::uint16_t h = float_to_bfloat(in[k]);
    std::memcpy(p + 2 * k, &h, 2);
    bad += (h & 0x7FFFu) >= 0x7F7Fu ? 1 : 0;
  }
  return bad;
}

std::int64_t StoreF32(const float* in, void* out, std::int64_t n) {
  auto* p = static_cast<std::byte*>(out);
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bits = float_to_bits(in[i]);
    const std::uint32_t clean = (bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC00000u : bits;
    std::memcpy(p + 4 * i, &clean, 4);
    bad += (bits & 0x7FFFFFFFu) >= 0x7F7FFFFFu ? 1 : 0;
  }
  return bad;
}

std::int64_t StoreF64(const float* in, void* out, std::int64_t n) {
  auto* p = static_cast<std::byte*>(out);
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bits = float_to_bits(in[i]);
    const double d =
        (bits & 0x7FFFFFFFu) > 0x7F800000u ? std::bit_cast<double>(std::uint64_t{0x7FF8000000000000u}) : static_cast<double>(in[i]);
    std::memcpy(p + 8 * i, &d, 8);
    bad += (bits & 0x7F800000u) == 0x7F800000u ? 1 : 0;
  }
  return bad;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(LoadF16);
HWY_EXPORT(LoadBF16);
HWY_EXPORT(LoadF32);
HWY_EXPORT(LoadF64);
HWY_EXPORT(StoreF16);
HWY_EXPORT(StoreBF16);
HWY_EXPORT(StoreF32);
HWY_EXPORT(StoreF64);

void load_f16(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadF16)(in, out, n, less); }
void load_bf16(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadBF16)(in, out, n, less); }
void load_f32(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadF32)(in, out, n, less); }
void load_f64(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadF64)(in, out, n, less); }
std::int64_t store_f16(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreF16)(in, out, n); }
std::int64_t store_bf16(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreBF16)(in, out, n); }
std::int64_t store_f32(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreF32)(in, out, n); }
std::int64_t store_f64(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreF64)(in, out, n); }

}  // namespace crucible::simd
#endif
