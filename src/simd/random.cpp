#include "simd/random.h"

#include <bit>
#include <cstddef>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/random.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kBlocksAtOnce = 16;  // Philox blocks
constexpr int kHalves = 8;         // halves of words in each of them

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
    one.store(out + std::ptrdiff_t{kHalves} * b);
    other.store(out + std::ptrdiff_t{kHalves} * (b + lanes));
  }
}
#endif

void FillDraws(RandomKey key, std::uint64_t first, std::uint16_t* HWY_RESTRICT out, std::int64_t n) {
  constexpr std::uint64_t kDraws = std::uint64_t{kHalves} * kBlocksAtOnce;
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

HWY_EXPORT(FillDraws);

void fill_draws(RandomKey key, std::uint64_t first, std::uint16_t* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(FillDraws)(key, first, out, n);
}

}  // namespace crucible::simd
#endif
