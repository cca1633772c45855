#include "simd/row_keys.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/row_keys.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/magnitudes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

float MeanMagnitude(const float* x, std::int64_t n) {
  const DFloat d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  constexpr int kSums = 4;  // sums of their own, so that an addition need not wait for the one before
  hn::Vec<DFloat> sum[kSums];
  hn::Vec<DFloat> some[kSums];
  for (int s = 0; s < kSums; ++s) sum[s] = some[s] = hn::Zero(d);
  const auto one = hn::Set(d, 1.0f);
  std::int64_t i = 0;
  for (; i + kSums * lanes <= n; i += kSums * lanes) {
    for (int s = 0; s < kSums; ++s) {
      const auto magnitude = hn::Abs(hn::LoadU(d, x + i + s * lanes));
      sum[s] = hn::Add(sum[s], magnitude);
      some[s] = hn::Add(some[s], hn::IfThenElseZero(hn::Ne(magnitude, hn::Zero(d)), one));
    }
  }
  float all = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
  float number = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(some[0], some[1]), hn::Add(some[2], some[3]))));
  for (; i < n; ++i) {
    const float magnitude = x[i] < 0 ? -x[i] : x[i];
    all += magnitude;
    number += magnitude != 0 ? 1.0f : 0.0f;
  }
  return number == 0 ? 0 : all / number;
}

HWY_INLINE std::uint8_t key_of(float x, float factor) {
  const float scaled = (x < 0 ? -x : x) * factor;
  constexpr float kLast = kRowKeys - 1;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(scaled < kLast ? scaled : kLast));
}

void RowKeys(const float* x, float factor, std::uint8_t* HWY_RESTRICT keys, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) keys[i] = key_of(x[i], factor);
}

HWY_INLINE void decide_some(const std::uint8_t* keys, const std::uint16_t* upper, const KeyLimits& limits, std::int64_t from,
                            std::int64_t to, std::uint64_t& drawn, std::uint64_t& open) {
  for (std::int64_t k = from; k < to; ++k) {
    const auto draw = static_cast<std::uint8_t>(upper[k] >> 8);
    const bool is_drawn = draw < limits.drawn[keys[k]];
    drawn |= static_cast<std::uint64_t>(is_drawn) << k;
    open |= static_cast<std::uint64_t>(!is_drawn && draw <= limits.missed[keys[k]]) << k;
  }
}

#if HWY_TARGET == HWY_SCALAR
void DecideByKey(const std::uint8_t* keys, const std::uint16_t* upper, const KeyLimits& limits, std::uint64_t* HWY_RESTRICT marks,
                 std::uint64_t* HWY_RESTRICT open, std::int64_t n) {
  for (std::int64_t at = 0; at < n; at += kWord) {
    std::uint64_t drawn_word = 0;
    std::uint64_t open_word = 0;
    decide_some(keys + at, upper + at, limits, 0, std::min(kWord, n - at), drawn_word, open_word);
    marks[at / kWord] = drawn_word;
    open[at / kWord] = open_word;
  }
}
#else
// Tables of 128 entries are looked up in eight of 16, which a vector instruction does for all its lanes.
void DecideByKey(const std::uint8_t* keys, const std::uint16_t* upper, const KeyLimits& limits, std::uint64_t* HWY_RESTRICT marks,
                 std::uint64_t* HWY_RESTRICT open, std::int64_t n) {
  using D8 = hn::CappedTag<std::uint8_t, 64>;
  const D8 d;
  const hn::Repartition<std::uint16_t, D8> d16;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  constexpr int kEntries = 16;
  constexpr int kTables = kRowKeys / kEntries;
  const auto outside = hn::Set(d, 0x70);  // lifts all but 0 to 15 above 127, where a lookup gives 0
  const auto step = hn::Set(d, kEntries);
  const auto significant = hn::Set(d, 0x8F);
  const auto zero = hn::Zero(d);
  for (std::int64_t at = 0; at < n; at += kWord) {
    const std::int64_t m = std::min(kWord, n - at);
    std::uint64_t drawn_word = 0;
    std::uint64_t open_word = 0;
    std::int64_t k = 0;
    for (; k + lanes <= m; k += lanes) {
      auto key = hn::LoadU(d, keys + at + k);
      auto drawn_limit = zero;
      auto missed_limit = zero;
      for (int t = 0; t < kTables; ++t) {
        const auto index = hn::And(hn::SaturatedAdd(key, outside), significant);
        const auto first = static_cast<std::size_t>(t) * kEntries;
        drawn_limit = hn::Or(drawn_limit, hn::TableLookupBytesOr0(hn::LoadDup128(d, limits.drawn.data() + first), index));
        missed_limit = hn::Or(missed_limit, hn::TableLookupBytesOr0(hn::LoadDup128(d, limits.missed.data() + first), index));
        key = hn::Sub(key, step);
      }
      const auto low = hn::LoadU(d16, upper + at + k);
      const auto high = hn::LoadU(d16, upper + at + k + lanes / 2);
      const auto draw = hn::ConcatOdd(d, hn::BitCast(d, high), hn::BitCast(d, low));
      const auto is_missed_or_open = hn::Eq(hn::SaturatedSub(drawn_limit, draw), zero);
      const auto is_not_missed = hn::Eq(hn::SaturatedSub(draw, missed_limit), zero);
      std::uint8_t bits[2][8] = {};
      hn::StoreMaskBits(d, is_missed_or_open, bits[0]);
      hn::StoreMaskBits(d, is_not_missed, bits[1]);
      std::uint64_t undrawn = 0;
      std::uint64_t possible = 0;
      std::memcpy(&undrawn, bits[0], 8);
      std::memcpy(&possible, bits[1], 8);
      const std::uint64_t here = ~std::uint64_t{0} >> (kWord - lanes);
      drawn_word |= (~undrawn & here) << k;
      open_word |= (undrawn & possible) << k;
    }
    decide_some(keys + at, upper + at, limits, k, m, drawn_word, open_word);
    marks[at / kWord] = drawn_word;
    open[at / kWord] = open_word;
  }
}
#endif

// Up to its own place an element has those before it that are not greater, and from there on those that are smaller.
template <std::size_t kRanks>
HWY_INLINE void count_ranks(const float* x, const std::uint32_t* elems, std::uint32_t* HWY_RESTRICT ranks, std::int64_t n) {
  const D32 d;
  const std::int64_t lanes = lane_count();
  hn::Vec<D32> own[kRanks];
  hn::Vec<D32> limit[kRanks];
  hn::Vec<D32> below[kRanks];  // -1 for each, in lanes
  for (std::size_t e = 0; e < kRanks; ++e) {
    own[e] = hn::Set(d, static_cast<std::int32_t>(magnitude_of(x[elems[e]])));
    limit[e] = hn::Add(own[e], hn::Set(d, 1));
    below[e] = hn::Zero(d);
  }
  const auto see = [&](std::int64_t at) HWY_ATTR {
    const auto magnitude = load_magnitudes(x + at);
    for (std::size_t e = 0; e < kRanks; ++e) below[e] = count_down(d, below[e], hn::Gt(limit[e], magnitude));
  };
  const std::int64_t whole = n / lanes * lanes;
  std::int64_t at = 0;
  for (std::size_t next = 0; next < kRanks;) {
    const std::int64_t place = elems[next] / lanes * lanes;
    const std::int64_t end = std::min(place, whole);
    for (; at < end; at += lanes) see(at);
    if (place >= whole) break;
    const std::size_t first = next;
    for (; next < kRanks && elems[next] / lanes * lanes == place; ++next) {
      const auto here = hn::Set(d, static_cast<std::int32_t>(elems[next] % lanes));
      limit[next] = hn::IfThenElse(hn::Lt(hn::Iota(d, 0), here), limit[next], own[next]);
    }
    see(at);
    at += lanes;
    for (std::size_t e = first; e < next; ++e) limit[e] = own[e];
  }
  for (; at < whole; at += lanes) see(at);
  for (std::size_t e = 0; e < kRanks; ++e) {
    auto rank = static_cast<std::uint32_t>(times_counted(below[e]));
    const std::uint32_t mine = magnitude_of(x[elems[e]]);
    for (std::int64_t i = whole; i < n; ++i) {
      const std::uint32_t other = magnitude_of(x[i]);
      rank += other < mine || (other == mine && i < elems[e]) ? 1 : 0;
    }
    ranks[e] = rank;
  }
}

void CountRanks(const float* x, std::span<const std::uint32_t> elems, std::uint32_t* HWY_RESTRICT ranks, std::int64_t n) {
  static_assert(kRanksAtOnce == 4);
  switch (elems.size()) {
    case 0: return;
    case 1: return count_ranks<1>(x, elems.data(), ranks, n);
    case 2: return count_ranks<2>(x, elems.data(), ranks, n);
    case 3: return count_ranks<3>(x, elems.data(), ranks, n);
    default: return count_ranks<4>(x, elems.data(), ranks, n);
  }
}

std::uint32_t MarkHalf(const std::uint16_t* halves, std::uint16_t half, const std::uint64_t* rounded, std::uint64_t* HWY_RESTRICT marks,
                       std::uint32_t* HWY_RESTRICT before, std::int64_t n) {
  using D = hn::CappedTag<std::uint16_t, 32>;
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(d, half);
  std::uint32_t smaller = 0;
  std::uint32_t whole = 0;
  for (std::int64_t at = 0; at < n;) {
    // In blocks, so that the lanes' counters cannot overflow.
    const std::int64_t block = std::min(n, at + (std::int64_t{1} << 15));
    auto not_smaller = hn::Zero(d);  // -1 for each, in lanes
    std::uint32_t seen = 0;
    for (; at < block; at += kWord) {
      const std::int64_t m = std::min(kWord, n - at);
      std::uint64_t word = 0;
      std::int64_t k = 0;
      for (; k + lanes <= m; k += lanes) {
        const auto v = hn::LoadU(d, halves + at + k);
        std::uint8_t bits[8] = {};
        hn::StoreMaskBits(d, hn::Eq(v, wanted), bits);
        std::uint64_t some = 0;
        std::memcpy(&some, bits, 8);
        word |= some << k;
        not_smaller = count_down(d, not_smaller, hn::Eq(hn::Max(v, wanted), v));
      }
      seen += static_cast<std::uint32_t>(k);
      for (; k < m; ++k) {
        word |= static_cast<std::uint64_t>(halves[at + k] == half) << k;
        smaller += halves[at + k] < half ? 1 : 0;
      }
      marks[at / kWord] = word;
      before[at / kWord] = whole;
      whole += static_cast<std::uint32_t>(std::popcount(word & ~rounded[at / kWord]));
    }
    std::uint16_t each[hn::MaxLanes(D())];
    hn::StoreU(not_smaller, d, each);
    for (std::int64_t k = 0; k < lanes; ++k) seen -= static_cast<std::uint16_t>(-each[k]);
    smaller += seen;
  }
  before[(n + kWord - 1) / kWord] = whole;
  return smaller;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(MeanMagnitude);
HWY_EXPORT(RowKeys);
HWY_EXPORT(DecideByKey);
HWY_EXPORT(CountRanks);
HWY_EXPORT(MarkHalf);

float mean_magnitude(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(MeanMagnitude)(x, n); }
void row_keys(const float* x, float factor, std::uint8_t* keys, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(RowKeys)(x, factor, keys, n);
}
void decide_by_key(const std::uint8_t* keys, const std::uint16_t* upper, const KeyLimits& limits, std::uint64_t* marks, std::uint64_t* open,
                   std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(DecideByKey)(keys, upper, limits, marks, open, n);
}
void ranks_by_counting(const float* x, std::span<const std::uint32_t> elems, std::uint32_t* ranks, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(CountRanks)(x, elems, ranks, n);
}
std::uint32_t mark_half(const std::uint16_t* halves, std::uint16_t half, const std::uint64_t* rounded, std::uint64_t* marks,
                        std::uint32_t* before, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(MarkHalf)(halves, half, rounded, marks, before, n);
}

void count_row_keys(const std::uint8_t* keys, std::int64_t n, std::uint32_t* counts) noexcept {
  // Four tables: an addition to a count need not wait for the one before to the same count.
  constexpr std::size_t kTables = 4;
  std::uint32_t tables[kTables][kRowKeys] = {};
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, keys + i, 8);
    for (std::size_t k = 0; k < 8; ++k) ++tables[k % kTables][eight >> (8 * k) & 0xFF];
  }
  for (; i < n; ++i) ++tables[0][keys[i]];
  for (std::size_t key = 0; key < kRowKeys; ++key) {
    counts[key] = tables[0][key] + tables[1][key] + tables[2][key] + tables[3][key];
  }
}

}  // namespace crucible::simd
#endif
