#include "simd/ops.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

// The levels worth their compile time; the others in between give no gain here.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/ops.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/lane_sum-inl.h"

// Plain loops where the compiler vectorizes them for the level of the enclosing region, Highway's operations where it does not.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kBlocksAtOnce = 16;     // Philox blocks
constexpr int kHalves = 8;            // halves of words in each of them
constexpr std::int64_t kBlock = 256;  // elements whose f64 intermediates stay in the first cache level

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

std::int64_t CountNonfinite(const float* x, std::int64_t n) {
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) bad += (float_to_bits(x[i]) & 0x7F800000u) == 0x7F800000u ? 1 : 0;
  return bad;
}

double SumAbs(const float* x, std::int64_t n) {
  return lane_sum(n, [x](std::int64_t i) HWY_ATTR { return static_cast<double>(bits_to_float(float_to_bits(x[i]) & 0x7FFFFFFFu)); });
}

double SumSquares(const float* x, std::int64_t n) {
  return lane_sum(n, [x](std::int64_t i) HWY_ATTR { return static_cast<double>(x[i]) * static_cast<double>(x[i]); });
}

double SumSquareDifference(const float* x, const float* y, std::int64_t n) {
  return lane_sum(n, [x, y](std::int64_t i) HWY_ATTR {
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    return d * d;
  });
}

double Dot(const float* x, const float* y, std::int64_t n) {
  return lane_sum(n, [x, y](std::int64_t i) HWY_ATTR { return static_cast<double>(x[i]) * static_cast<double>(y[i]); });
}

void Subtract(const float* x, const float* y, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] - y[i];
}

void Scale(const float* x, double factor, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(factor * static_cast<double>(x[i]));
}

// The last step of every sum over models: base + sum, with base kept as it is where the sum is zero.
HWY_INLINE void add_to_base(const float* base, const double* sum, float* HWY_RESTRICT out, std::int64_t n) {
  if (base == nullptr) {
    for (std::int64_t k = 0; k < n; ++k) out[k] = static_cast<float>(sum[k]);
    return;
  }
  for (std::int64_t k = 0; k < n; ++k) {
    const float moved = static_cast<float>(static_cast<double>(base[k]) + sum[k]);
    out[k] = sum[k] == 0.0 ? base[k] : moved;
  }
}

// The sum over kModels models in one loop, without memory for what is between; factor and divisor are 1.
template <std::size_t kModels>
HWY_INLINE void plain_sum(const float* base, const float* const* x, const double* w, float* HWY_RESTRICT out, std::int64_t n) {
  const float* from[kModels];
  double weight[kModels];
  for (std::size_t j = 0; j < kModels; ++j) {
    from[j] = x[j];
    weight[j] = w[j];
  }
  const auto sum_of = [&](std::int64_t k) HWY_ATTR {
    double sum = weight[0] * static_cast<double>(from[0][k]);
    for (std::size_t j = 1; j < kModels; ++j) sum += weight[j] * static_cast<double>(from[j][k]);
    return sum;
  };
  if (base == nullptr) {
    for (std::int64_t k = 0; k < n; ++k) out[k] = static_cast<float>(sum_of(k));
    return;
  }
  for (std::int64_t k = 0; k < n; ++k) {
    const double sum = sum_of(k);
    const float moved = static_cast<float>(static_cast<double>(base[k]) + sum);
    out[k] = sum == 0.0 ? base[k] : moved;
  }
}

void WeightedSum(const float* base, const float* const* x, const double* w, std::int64_t models, double factor, double divisor,
                 float* HWY_RESTRICT out, std::int64_t n) {
  if (factor == 1.0 && divisor == 1.0) {
    switch (models) {
      case 1: return plain_sum<1>(base, x, w, out, n);
      case 2: return plain_sum<2>(base, x, w, out, n);
      case 3: return plain_sum<3>(base, x, w, out, n);
      case 4: return plain_sum<4>(base, x, w, out, n);
      default: break;
    }
  }
  double sum[kBlock];
  for (std::int64_t i = 0; i < n; i += kBlock) {
    const std::int64_t m = n - i < kBlock ? n - i : kBlock;
    for (std::int64_t k = 0; k < m; ++k) sum[k] = w[0] * static_cast<double>(x[0][i + k]);
    for (std::int64_t j = 1; j < models; ++j) {
      const float* xj = x[j] + i;
      const double wj = w[j];
      for (std::int64_t k = 0; k < m; ++k) sum[k] += wj * static_cast<double>(xj[k]);
    }
    if (factor != 1.0) {
      for (std::int64_t k = 0; k < m; ++k) sum[k] *= factor;
    }
    if (divisor != 1.0) {
      for (std::int64_t k = 0; k < m; ++k) sum[k] /= divisor;
    }
    add_to_base(base == nullptr ? nullptr : base + i, sum, out + i, m);
  }
}

#if HWY_TARGET == HWY_SCALAR
struct PhiloxKeys {
  explicit PhiloxKeys(RandomKey k) : key(k) {}
  RandomKey key;
};
// No wide multiplication in vectors of one lane: the generator as it is written.
HWY_INLINE void philox_blocks(const PhiloxKeys& keys, std::uint64_t first_block, std::uint16_t* HWY_RESTRICT out) {
  for (std::uint64_t i = 0; i < 4 * kBlocksAtOnce; ++i) {
    const std::uint32_t number = random_u32(keys.key, first_block * 4 + i);
    out[2 * i] = static_cast<std::uint16_t>(number);
    out[2 * i + 1] = static_cast<std::uint16_t>(number >> 16);
  }
}
#else
using DPhilox = hn::CappedTag<std::uint64_t, 8>;  // two vectors at once have no more than kBlocksAtOnce lanes

constexpr int kPhiloxRounds = 10;
// The keys of the rounds, one in each 64-bit lane.
struct PhiloxKeys {
  explicit PhiloxKeys(RandomKey key) {
    for (int round = 0; round < kPhiloxRounds; ++round) {
      const auto r = static_cast<std::uint32_t>(round);
      const DPhilox d;
      hn::StoreU(hn::Set(d, key.words[0] + r * 0x9E3779B9u), d, first[round]);
      hn::StoreU(hn::Set(d, key.words[1] + r * 0xBB67AE85u), d, second[round]);
    }
  }
  alignas(64) std::uint64_t first[kPhiloxRounds][hn::MaxLanes(DPhilox())];
  alignas(64) std::uint64_t second[kPhiloxRounds][hn::MaxLanes(DPhilox())];
};

// Philox4x32-10 of one block per 64-bit lane; only the lower half of a lane counts until the end.
struct PhiloxState {
  using V = hn::Vec<DPhilox>;
  V c0, c1, c2, c3;

  HWY_INLINE explicit PhiloxState(std::uint64_t first_block) {
    const DPhilox d;
    c0 = hn::Add(hn::Set(d, first_block), hn::Iota(d, 0));
    c1 = hn::ShiftRight<32>(c0);
    c2 = hn::Zero(d);
    c3 = c2;
  }
  HWY_INLINE void step(V k0, V k1) {
    const DPhilox d;
    const hn::Repartition<std::uint32_t, DPhilox> d32;
    const auto p0 = hn::MulEven(hn::BitCast(d32, c0), hn::BitCast(d32, hn::Set(d, 0xD2511F53u)));
    const auto p1 = hn::MulEven(hn::BitCast(d32, c2), hn::BitCast(d32, hn::Set(d, 0xCD9E8D57u)));
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), k0);
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), k1);
    c1 = p1;
    c3 = p0;
  }
  HWY_INLINE void store(std::uint16_t* out) const {
    const DPhilox d;
    const auto low = hn::Set(d, 0xFFFFFFFFu);
    const auto first_pair = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
    const auto second_pair = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
    // Stored by vectors, which may alias what they like; a detour over memory costs a fifth of the whole.
    hn::StoreInterleaved2(first_pair, second_pair, d, reinterpret_cast<std::uint64_t*>(out));
  }
};

// Two vectors at a time: the steps of one wait for its multiplications, those of two overlap. With four the registers do not suffice.
HWY_INLINE void philox_blocks(const PhiloxKeys& keys, std::uint64_t first_block, std::uint16_t* HWY_RESTRICT out) {
  const DPhilox d;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  for (int b = 0; b < kBlocksAtOnce; b += 2 * lanes) {
    PhiloxState one(first_block + static_cast<std::uint64_t>(b));
    PhiloxState other(first_block + static_cast<std::uint64_t>(b + lanes));
    for (int round = 0; round < kPhiloxRounds; ++round) {
      const auto k0 = hn::Load(d, keys.first[round]);
      const auto k1 = hn::Load(d, keys.second[round]);
      one.step(k0, k1);
      other.step(k0, k1);
    }
    one.store(out + kHalves * b);
    other.store(out + kHalves * (b + lanes));
  }
}
#endif

void FillDraws(RandomKey key, std::uint64_t first, std::uint16_t* HWY_RESTRICT out, std::int64_t n) {
  constexpr std::uint64_t kDraws = kHalves * kBlocksAtOnce;
  const PhiloxKeys keys(key);
  std::uint16_t halves[kDraws];
  std::uint64_t index = first;
  const std::uint64_t end = first + static_cast<std::uint64_t>(n);
  while (index < end) {
    const std::uint64_t group = index & ~(kDraws - 1);
    if (index == group && end - index >= kDraws) {
      philox_blocks(keys, index / kHalves, out);
      out += kDraws;
      index += kDraws;
      continue;
    }
    philox_blocks(keys, group / kHalves, halves);
    const std::uint64_t stop = group + kDraws < end ? group + kDraws : end;
    for (; index < stop; ++index) *out++ = halves[index - group];
  }
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
HWY_EXPORT(CountNonfinite);
HWY_EXPORT(SumAbs);
HWY_EXPORT(SumSquares);
HWY_EXPORT(SumSquareDifference);
HWY_EXPORT(Dot);
HWY_EXPORT(Subtract);
HWY_EXPORT(Scale);
HWY_EXPORT(WeightedSum);
HWY_EXPORT(FillDraws);

void load_f16(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadF16)(in, out, n, less); }
void load_bf16(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadBF16)(in, out, n, less); }
void load_f32(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadF32)(in, out, n, less); }
void load_f64(const void* in, float* out, std::int64_t n, const float* less) noexcept { HWY_DYNAMIC_DISPATCH(LoadF64)(in, out, n, less); }
std::int64_t store_f16(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreF16)(in, out, n); }
std::int64_t store_bf16(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreBF16)(in, out, n); }
std::int64_t store_f32(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreF32)(in, out, n); }
std::int64_t store_f64(const float* in, void* out, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(StoreF64)(in, out, n); }
std::int64_t count_nonfinite(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(CountNonfinite)(x, n); }
double sum_abs(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(SumAbs)(x, n); }
double sum_squares(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(SumSquares)(x, n); }
double sum_square_difference(const float* x, const float* y, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumSquareDifference)(x, y, n);
}
double dot(const float* x, const float* y, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(Dot)(x, y, n); }
void subtract(const float* x, const float* y, float* out, std::int64_t n) noexcept { HWY_DYNAMIC_DISPATCH(Subtract)(x, y, out, n); }
void scale(const float* x, double factor, float* out, std::int64_t n) noexcept { HWY_DYNAMIC_DISPATCH(Scale)(x, factor, out, n); }

void weighted_sum(const float* base, std::span<const float* const> x, std::span<const double> weights, double factor, double divisor,
                  float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(WeightedSum)(base, x.data(), weights.data(), static_cast<std::int64_t>(x.size()), factor, divisor, out, n);
}

void fill_draws(RandomKey key, std::uint64_t first, std::uint16_t* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(FillDraws)(key, first, out, n);
}

std::vector<std::string> available_levels() {
  std::vector<std::string> names;
  const std::int64_t supported = hwy::SupportedTargets() & static_cast<std::int64_t>(HWY_TARGETS);
  for (std::int64_t bits = supported; bits != 0; bits &= bits - 1) names.emplace_back(hwy::TargetName(bits & -bits));
  return names;
}

std::string level_in_use() {
  const auto levels = available_levels();
  return levels.empty() ? "baseline" : levels.front();
}

bool limit_level(const std::string& name) {
  hwy::SetSupportedTargetsForTest(0);
  bool known = name.empty();
  if (!known) {
    const std::int64_t supported = hwy::SupportedTargets() & static_cast<std::int64_t>(HWY_TARGETS);
    for (std::int64_t bits = supported; bits != 0; bits &= bits - 1) {
      const std::int64_t target = bits & -bits;
      if (name != hwy::TargetName(target)) continue;
      hwy::SetSupportedTargetsForTest(supported & ~(target - 1));  // lower bits are better levels
      known = true;
      break;
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return known;
}

}  // namespace crucible::simd
#endif
