#include "simd/select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/select.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/lane_sum-inl.h"
#include "simd/magnitudes-inl.h"

#ifndef CRUCIBLE_SIMD_SELECT_ONCE
#define CRUCIBLE_SIMD_SELECT_ONCE
namespace crucible::simd {
constexpr std::size_t kBoundsAtOnce = 9;  // so many have their counters in registers

// For each set of eight lanes, the lanes in it, in order; then any.
constexpr std::array<std::array<std::uint8_t, 8>, 256> kLanesOfSet = [] {
  std::array<std::array<std::uint8_t, 8>, 256> lanes{};
  for (std::size_t set = 0; set < 256; ++set) {
    std::size_t number = 0;
    for (std::size_t lane = 0; lane < 8; ++lane) {
      if ((set >> lane & 1) != 0) lanes[set][number++] = static_cast<std::uint8_t>(lane);
    }
  }
  return lanes;
}();
}  // namespace crucible::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

using DU16 = hn::CappedTag<std::uint16_t, 16>;

// Calls see(first element, word of marks, elements) for each word.
template <typename See>
HWY_INLINE void for_each_word(const std::uint64_t* marks, std::int64_t n, const See& see) {
  for (std::int64_t at = 0; at < n; at += kWord) see(at, marks[at / kWord], std::min(kWord, n - at));
}

// Calls each(first element, mask) for vectors of lanes, and rest(element, is it marked?) for the elements past the last of them.
template <typename Each, typename Rest>
HWY_INLINE void for_each_mask(const std::uint64_t* marks, std::int64_t n, const Each& each, const Rest& rest) {
  const DFloat df;
  const DU32 du;
  const std::int64_t lanes = lane_count();
  const auto lane_bit = hn::Shl(hn::Set(du, 1), hn::Iota(du, 0));
  for_each_word(marks, n, [&](std::int64_t at, std::uint64_t word, std::int64_t m) HWY_ATTR {
    std::int64_t k = 0;
    for (; k + lanes <= m; k += lanes) {
      each(at + k, hn::RebindMask(df, hn::TestBit(hn::Set(du, static_cast<std::uint32_t>(word >> k)), lane_bit)));
    }
    for (; k < m; ++k) rest(at + k, (word >> k & 1) != 0);
  });
}

void KeepMarked(const float* x, const std::uint64_t* marks, float* HWY_RESTRICT kept, std::int64_t n) {
  const DFloat df;
  for_each_mask(
      marks, n, [&](std::int64_t i, auto mask) HWY_ATTR { hn::StoreU(hn::IfThenElseZero(mask, hn::LoadU(df, x + i)), df, kept + i); },
      [&](std::int64_t i, bool marked) HWY_ATTR { kept[i] = marked ? x[i] : 0.0f; });
}

// The sums of all terms and of the marked ones: of vector(i) for DWide's elements from i on, and of one(i) past the last whole word.
template <typename Vector, typename One>
HWY_INLINE MarkedNorms sum_terms(const std::uint64_t* marks, std::int64_t n, const Vector& vector, const One& one) {
  const DWide d;
  const hn::RebindToUnsigned<DWide> du;
  using V = VWide;
  V all[kSumVectors];
  V marked[kSumVectors];
  for (std::size_t v = 0; v < kSumVectors; ++v) all[v] = marked[v] = hn::Zero(d);
  const auto lane_bit = hn::Shl(hn::Set(du, 1), hn::Iota(du, 0));
  std::int64_t at = 0;
  for (; at + kWord <= n; at += kWord) {
    for (int part = 0; part < kWord; part += kLanes) {
      const auto word = hn::Set(du, marks[at / kWord] >> part);
      for (std::size_t v = 0; v < kSumVectors; ++v) {
        const V term = vector(at + part + static_cast<std::int64_t>(v * kSumWidth));
        const auto mask = hn::RebindMask(d, hn::TestBit(hn::ShiftRightSame(word, static_cast<int>(v * kSumWidth)), lane_bit));
        all[v] = hn::Add(all[v], term);
        marked[v] = hn::Add(marked[v], hn::IfThenElseZero(mask, term));
      }
    }
  }
  double lanes[2][kLanes];
  store_sums(all, lanes[0]);
  store_sums(marked, lanes[1]);
  for (; at < n; ++at) {
    const double term = one(at);
    lanes[0][at % kLanes] += term;
    if ((marks[at / kWord] >> (at % kWord) & 1) != 0) lanes[1][at % kLanes] += term;
  }
  return {add_lanes(lanes[0]), add_lanes(lanes[1])};
}

MarkedNorms SumMarked(const float* x, const std::uint64_t* marks, std::int64_t n) {
  return sum_terms(
      marks, n, [x](std::int64_t i) HWY_ATTR { return hn::Abs(load_wide(x + i)); },
      [x](std::int64_t i) HWY_ATTR { return static_cast<double>(std::bit_cast<float>(magnitude_of(x[i]))); });
}

double MarkedSquareDifference(const float* x, const float* y, const std::uint64_t* marks, std::int64_t n) {
  return sum_terms(
             marks, n,
             [x, y](std::int64_t i) HWY_ATTR {
               const auto difference = hn::Sub(load_wide(x + i), load_wide(y + i));
               return hn::Mul(difference, difference);
             },
             [x, y](std::int64_t i) HWY_ATTR {
               const double difference = static_cast<double>(x[i]) - static_cast<double>(y[i]);
               return difference * difference;
             })
      .marked;
}

std::int64_t MarkBelow(const std::uint16_t* upper, std::uint64_t threshold, std::uint64_t* HWY_RESTRICT marks,
                       std::uint64_t* HWY_RESTRICT equal, std::int64_t n) {
  const DU16 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto decisive = static_cast<std::uint32_t>(threshold >> 16);
  // A threshold of 2^32 is above all; it does not fit the comparison of 16 bits.
  const bool all = decisive > 0xFFFFu;
  const auto limit = hn::Set(d, static_cast<std::uint16_t>(decisive));
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < n; at += kWord) {
    const std::int64_t m = std::min(kWord, n - at);
    std::uint64_t below_word = 0;
    std::uint64_t equal_word = 0;
    std::int64_t k = 0;
    for (; k + lanes <= m; k += lanes) {
      const auto u = hn::LoadU(d, upper + at + k);
      below_word |= bits_of_mask(d, hn::Lt(u, limit)) << k;
      equal_word |= bits_of_mask(d, hn::Eq(u, limit)) << k;
    }
    for (; k < m; ++k) {
      below_word |= static_cast<std::uint64_t>(upper[at + k] < decisive) << k;
      equal_word |= static_cast<std::uint64_t>(upper[at + k] == decisive) << k;
    }
    if (all) {
      below_word = ~std::uint64_t{0} >> (kWord - m);
      equal_word = 0;
    }
    marks[at / kWord] = below_word;
    equal[at / kWord] = equal_word;
    count += std::popcount(below_word);
  }
  return count;
}

// A cut within one word of elements whose ties all go the same way: what is greater lies inside.
struct SettledCut {
  std::int32_t above;
  std::int32_t tie;
};
HWY_INLINE SettledCut settled(const MagnitudeCut& cut) {
  if (cut.magnitude > 0x7FFFFFFFu) return {std::numeric_limits<std::int32_t>::max(), -1};
  const auto m = static_cast<std::int32_t>(cut.magnitude);
  return {cut.ties > 0 ? m - 1 : m, m};
}
// Is there a limit to the ties, and is it not reached yet?
HWY_INLINE bool is_counted(const MagnitudeCut& cut) { return cut.ties > 0 && cut.ties < kAllTies; }
HWY_INLINE bool inside(MagnitudeCut& cut, std::uint32_t magnitude) {
  if (magnitude != cut.magnitude) return magnitude > cut.magnitude;
  if (is_counted(cut)) return cut.ties-- > 0;
  return cut.ties > 0;
}
HWY_INLINE bool is_open(const MagnitudeCut& cut) { return cut.ties > 0 && cut.ties < kWord; }

// The band element by element: around the last tie, and past the last whole word.
HWY_INLINE std::uint64_t band_word(const float* x, MagnitudeCut& outer, MagnitudeCut& inner, std::int64_t m) {
  std::uint64_t word = 0;
  for (std::int64_t k = 0; k < m; ++k) {
    const std::uint32_t magnitude = magnitude_of(x[k]);
    const bool skipped = inside(inner, magnitude);
    word |= static_cast<std::uint64_t>(inside(outer, magnitude) && !skipped) << k;
  }
  return word;
}

// The band of one whole word, where neither cut is open. kCounted: a cut's ties are limited, so they are taken from the number.
template <bool kCounted>
HWY_INLINE std::uint64_t settled_word(const float* x, MagnitudeCut& outer, MagnitudeCut& inner, float* HWY_RESTRICT kept) {
  const D32 d;
  const DFloat df;
  const std::int64_t lanes = lane_count();
  const SettledCut o = settled(outer);
  const SettledCut i = settled(inner);
  std::uint64_t word = 0;
  std::uint64_t outer_ties = 0;
  std::uint64_t inner_ties = 0;
  for (std::int64_t k = 0; k < kWord; k += lanes) {
    const auto magnitude = load_magnitudes(x + k);
    const auto keep = hn::AndNot(hn::Gt(magnitude, hn::Set(d, i.above)), hn::Gt(magnitude, hn::Set(d, o.above)));
    word |= bits_of_mask(d, keep) << k;
    if constexpr (kCounted) {
      outer_ties |= bits_of_mask(d, hn::Eq(magnitude, hn::Set(d, o.tie))) << k;
      inner_ties |= bits_of_mask(d, hn::Eq(magnitude, hn::Set(d, i.tie))) << k;
    }
    if (kept != nullptr) hn::StoreU(hn::IfThenElseZero(hn::RebindMask(df, keep), hn::LoadU(df, x + k)), df, kept + k);
  }
  if constexpr (kCounted) {
    if (is_counted(outer)) outer.ties -= std::popcount(outer_ties);
    if (is_counted(inner)) inner.ties -= std::popcount(inner_ties);
  }
  return word;
}

std::int64_t Band(const float* x, MagnitudeCut& outer, MagnitudeCut& inner, float* HWY_RESTRICT kept, std::uint64_t* HWY_RESTRICT marks,
                  std::int64_t n) {
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < n; at += kWord) {
    const std::int64_t m = std::min(kWord, n - at);
    float* here = kept == nullptr ? nullptr : kept + at;
    std::uint64_t word = 0;
    if (m < kWord || is_open(outer) || is_open(inner)) {
      word = band_word(x + at, outer, inner, m);
      for (std::int64_t k = 0; here != nullptr && k < m; ++k) here[k] = (word >> k & 1) != 0 ? x[at + k] : 0.0f;
    } else if (is_counted(outer) || is_counted(inner)) {
      word = settled_word<true>(x + at, outer, inner, here);
    } else {
      word = settled_word<false>(x + at, outer, inner, here);
    }
    if (marks != nullptr) marks[at / kWord] = word;
    count += std::popcount(word);
  }
  return count;
}

std::int64_t CountMarks(const std::uint64_t* marks, std::int64_t n) {
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < n; at += kWord) count += std::popcount(marks[at / kWord]);
  return count;
}

std::int64_t CountMagnitude(const float* x, std::uint32_t magnitude, std::int64_t n) {
  const D32 d;
  const std::int64_t lanes = lane_count();
  const auto wanted = hn::Set(d, static_cast<std::int32_t>(magnitude));
  std::int64_t count = 0;
  std::int64_t i = 0;
  // In blocks, so that the lanes' counters cannot overflow.
  constexpr std::int64_t kCounted = std::int64_t{1} << 20;
  while (i + lanes <= n) {
    const std::int64_t end = std::min(n, i + kCounted);
    auto equal = hn::Zero(d);
    for (; i + lanes <= end; i += lanes) equal = count_down(d, equal, hn::Eq(load_magnitudes(x + i), wanted));
    count += times_counted(equal);
  }
  for (; i < n; ++i) count += magnitude_of(x[i]) == magnitude ? 1 : 0;
  return count;
}

void MagnitudeDigits(const float* x, int shift, std::uint16_t* HWY_RESTRICT digits, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) digits[i] = static_cast<std::uint16_t>(magnitude_of(x[i]) >> shift);
}

// Writes the lanes of the mask, one after the other, to `found`, and past them up to a vector of anything. Returns how many.
template <typename M>
HWY_INLINE std::int64_t store_lanes(hn::Vec<D32> v, M mask, std::uint32_t* found) {
  const D32 d;
  const DU32 du;
  const std::uint64_t set = bits_of_mask(d, mask);
  if constexpr (hn::MaxLanes(D32()) <= 8) {
    // Highway's own compression copies its table to the stack for each vector when compiled by GCC 12.
    const auto lanes = hn::PromoteTo(du, hn::LoadU(hn::Rebind<std::uint8_t, DU32>(), kLanesOfSet[set].data()));
    hn::StoreU(hn::TableLookupLanes(hn::BitCast(du, v), hn::IndicesFromVec(du, lanes)), du, found);
  } else {
    hn::StoreU(hn::Compress(hn::BitCast(du, v), hn::RebindMask(du, mask)), du, found);
  }
  return std::popcount(set);
}

std::int64_t PickMagnitudes(const float* x, std::uint32_t low, std::uint32_t high, std::uint32_t* HWY_RESTRICT found, std::int64_t& above,
                            std::int64_t n) {
  const D32 d;
  const std::int64_t lanes = lane_count();
  const auto below = hn::Set(d, static_cast<std::int32_t>(low) - 1);
  const auto last = hn::Set(d, static_cast<std::int32_t>(high));
  auto greater = hn::Zero(d);  // -1 for each, in lanes
  std::int64_t count = 0;
  std::int64_t at = 0;
  // Without a branch on what is found. There is room for whole vectors: no more was found than looked at.
  for (; at + lanes <= n; at += lanes) {
    const auto magnitude = load_magnitudes(x + at);
    const auto over = hn::Gt(magnitude, last);
    greater = count_down(d, greater, over);
    count += store_lanes(magnitude, hn::AndNot(over, hn::Gt(magnitude, below)), found + count);
  }
  above = times_counted(greater);
  for (; at < n; ++at) {
    const std::uint32_t magnitude = magnitude_of(x[at]);
    if (magnitude >= low && magnitude <= high) found[count++] = magnitude;
    above += magnitude > high ? 1 : 0;
  }
  return count;
}

void MarkKey(const std::uint16_t* keys, std::uint16_t key, std::uint64_t* HWY_RESTRICT marks, std::int64_t n) {
  const DU16 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(d, key);
  for (std::int64_t at = 0; at < n; at += kWord) {
    const std::int64_t m = std::min(kWord, n - at);
    std::uint64_t word = 0;
    std::int64_t k = 0;
    for (; k + lanes <= m; k += lanes) word |= bits_of_mask(d, hn::Eq(hn::LoadU(d, keys + at + k), wanted)) << k;
    for (; k < m; ++k) word |= static_cast<std::uint64_t>(keys[at + k] == key) << k;
    marks[at / kWord] = word;
  }
}

std::uint32_t LargestCount(const std::uint32_t* counts, std::int64_t n) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) largest = counts[i] > largest ? counts[i] : largest;
  return largest;
}

void DecideByRank(const std::uint32_t* rank, const std::uint16_t* upper, const RankLine& line, std::int32_t margin,
                  std::uint64_t* HWY_RESTRICT marks, std::uint64_t* HWY_RESTRICT near, std::int64_t n) {
  const D32 d;
  const DU32 du;
  const DFloat df;
  const std::int64_t lanes = lane_count();
  const auto first = hn::Set(df, line.first);
  const auto step = hn::Set(df, line.step);
  const auto lowest = hn::Set(df, line.lowest);
  const auto highest = hn::Set(df, line.highest);
  const auto widest = hn::Set(d, margin);
  const auto middle = hn::Set(d, middle_draw(0));
  const hn::Rebind<std::uint16_t, D32> dh;
  for (std::int64_t at = 0; at < n; at += kWord) {
    const std::int64_t m = std::min(kWord, n - at);
    std::uint64_t drawn_word = 0;
    std::uint64_t near_word = 0;
    std::int64_t k = 0;
    for (; k + lanes <= m; k += lanes) {
      const auto r = hn::ConvertTo(df, hn::BitCast(d, hn::LoadU(du, rank + at + k)));
      const auto on_line = hn::Add(first, hn::Mul(step, r));
      const auto threshold = hn::ConvertTo(d, hn::Min(hn::Max(on_line, lowest), highest));
      const auto u = hn::Or(hn::ShiftLeft<15>(hn::PromoteTo(d, hn::LoadU(dh, upper + at + k))), middle);
      drawn_word |= bits_of_mask(d, hn::Gt(threshold, u)) << k;
      near_word |= bits_of_mask(d, hn::Not(hn::Gt(hn::Abs(hn::Sub(u, threshold)), widest))) << k;
    }
    for (; k < m; ++k) {
      const std::int32_t threshold = threshold_of(line, rank[at + k]);
      const std::int32_t u = middle_draw(upper[at + k]);
      drawn_word |= static_cast<std::uint64_t>(u < threshold) << k;
      near_word |= static_cast<std::uint64_t>((u < threshold ? threshold - u : u - threshold) <= margin) << k;
    }
    marks[at / kWord] = drawn_word;
    near[at / kWord] = near_word;
  }
}

// Counts for kBoundsAtOnce bounds.
void CountMarkedFrom(const std::uint32_t* rank, const std::uint64_t* marks, const std::uint32_t* bounds, std::int64_t* counts,
                     std::int64_t n) {
  const D32 d;
  hn::Vec<D32> last_below[kBoundsAtOnce];
  hn::Vec<D32> found[kBoundsAtOnce];  // -1 for each, in lanes
  for (std::size_t b = 0; b < kBoundsAtOnce; ++b) {
    last_below[b] = hn::Set(d, static_cast<std::int32_t>(bounds[b]) - 1);
    found[b] = hn::Zero(d);
  }
  for_each_mask(
      marks, n,
      [&](std::int64_t i, auto mask) HWY_ATTR {
        const auto r = hn::IfThenElse(hn::RebindMask(d, mask), hn::BitCast(d, hn::LoadU(DU32(), rank + i)), hn::Set(d, -1));
        for (std::size_t b = 0; b < kBoundsAtOnce; ++b) found[b] = count_down(d, found[b], hn::Gt(r, last_below[b]));
      },
      [&](std::int64_t i, bool marked) HWY_ATTR {
        for (std::size_t b = 0; b < kBoundsAtOnce; ++b) counts[b] += marked && rank[i] >= bounds[b] ? 1 : 0;
      });
  for (std::size_t b = 0; b < kBoundsAtOnce; ++b) {
    counts[b] += times_counted(found[b]);
  }
}

void FindRange(const float* x, std::int64_t n, MagnitudeRange& range) {
  // So many exponents cannot overflow their sum.
  const std::int64_t some = std::min(n, std::int64_t{1} << 20);
  std::uint32_t largest = 0;
  std::uint32_t exponents = 0;
  std::uint32_t zeros = 0;
  for (std::int64_t i = 0; i < some; ++i) {
    const std::uint32_t magnitude = magnitude_of(x[i]);
    largest = magnitude > largest ? magnitude : largest;
    exponents += magnitude >> 23;
    zeros += magnitude == 0 ? 1u : 0u;
  }
  for (std::int64_t i = some; i < n; ++i) largest = magnitude_of(x[i]) > largest ? magnitude_of(x[i]) : largest;
  range.largest = largest;
  range.exponent = exponents / std::max(static_cast<std::uint32_t>(some) - zeros, 1u);
}

// The bits of a magnitude that its key is taken from, and bits that are set where the sum less the origin is not |x|.
struct KeyBits {
  std::uint32_t sum;
  std::uint32_t lost;
};
template <bool kOrigin>
HWY_INLINE KeyBits key_bits(float x, float origin) {
  const std::uint32_t magnitude = magnitude_of(x);
  if (!kOrigin) return {magnitude, 0};  // without a float operation, which might change a NaN
  const float sum = std::bit_cast<float>(magnitude) + origin;
  return {std::bit_cast<std::uint32_t>(sum), std::bit_cast<std::uint32_t>(sum - origin) ^ magnitude};
}

template <bool kOrigin>
HWY_INLINE std::uint32_t keys_of(const float* x, const KeyScale& scale, std::uint16_t* HWY_RESTRICT keys, std::int64_t n) {
  const std::uint32_t low = (1u << scale.shift) - 1;
  const int shift = scale.shift;
  const float origin = scale.origin;
  const std::uint32_t first = std::bit_cast<std::uint32_t>(origin) >> shift;
  std::uint32_t lost = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const KeyBits bits = key_bits<kOrigin>(x[i], origin);
    lost |= bits.lost | (bits.sum & low);
    const std::uint32_t key = (bits.sum >> shift) - first + 1;
    keys[i] = static_cast<std::uint16_t>(magnitude_of(x[i]) == 0 ? 0u : key);
  }
  return lost;
}
std::uint32_t MagnitudeKeys(const float* x, const KeyScale& scale, std::uint16_t* HWY_RESTRICT keys, std::int64_t n) {
  return scale.origin == 0 ? keys_of<false>(x, scale, keys, n) : keys_of<true>(x, scale, keys, n);
}

std::int64_t MarkRounded(const float* x, const KeyScale& scale, std::uint64_t* HWY_RESTRICT marks, std::int64_t n) {
  const D32 d;
  const DFloat df;
  const std::int64_t lanes = lane_count();
  const std::uint32_t low = (1u << scale.shift) - 1;
  const auto low_bits = hn::Set(d, static_cast<std::int32_t>(low));
  const auto origin = hn::Set(df, scale.origin);
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < n; at += kWord) {
    const std::int64_t m = std::min(kWord, n - at);
    std::uint64_t word = 0;
    std::int64_t k = 0;
    for (; k + lanes <= m; k += lanes) {
      const auto magnitude = load_magnitudes(x + at + k);
      auto rounded = hn::And(magnitude, low_bits);
      if (scale.origin != 0) {
        const auto sum = hn::Add(hn::BitCast(df, magnitude), origin);
        rounded = hn::Or(hn::And(hn::BitCast(d, sum), low_bits), hn::Xor(hn::BitCast(d, hn::Sub(sum, origin)), magnitude));
      }
      word |= bits_of_mask(d, hn::Gt(rounded, hn::Zero(d))) << k;
    }
    for (; k < m; ++k) {
      const KeyBits bits = scale.origin == 0 ? key_bits<false>(x[at + k], 0) : key_bits<true>(x[at + k], scale.origin);
      word |= static_cast<std::uint64_t>(((bits.sum & low) | bits.lost) != 0) << k;
    }
    marks[at / kWord] = word;
    count += std::popcount(word);
  }
  return count;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(KeepMarked);
HWY_EXPORT(SumMarked);
HWY_EXPORT(MarkedSquareDifference);
HWY_EXPORT(CountMarks);
HWY_EXPORT(MarkBelow);
HWY_EXPORT(Band);
HWY_EXPORT(CountMagnitude);
HWY_EXPORT(MagnitudeDigits);
HWY_EXPORT(PickMagnitudes);
HWY_EXPORT(DecideByRank);
HWY_EXPORT(CountMarkedFrom);
HWY_EXPORT(MarkKey);
HWY_EXPORT(LargestCount);
HWY_EXPORT(MarkRounded);
HWY_EXPORT(FindRange);
HWY_EXPORT(MagnitudeKeys);

void keep_marked(const float* x, const std::uint64_t* marks, float* kept, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(KeepMarked)(x, marks, kept, n);
}
MarkedNorms marked_norms(const float* x, const std::uint64_t* marks, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumMarked)(x, marks, n);
}
double marked_square_difference(const float* x, const float* y, const std::uint64_t* marks, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(MarkedSquareDifference)(x, y, marks, n);
}
std::int64_t count_marks(const std::uint64_t* marks, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(CountMarks)(marks, n); }
std::int64_t mark_below(const std::uint16_t* upper, std::uint64_t threshold, std::uint64_t* marks, std::uint64_t* equal,
                        std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(MarkBelow)(upper, threshold, marks, equal, n);
}
std::int64_t keep_band(const float* x, MagnitudeCut& outer, MagnitudeCut& inner, float* kept, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(Band)(x, outer, inner, kept, nullptr, n);
}
std::int64_t mark_band(const float* x, MagnitudeCut& outer, MagnitudeCut& inner, std::uint64_t* marks, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(Band)(x, outer, inner, nullptr, marks, n);
}
std::int64_t count_magnitude(const float* x, std::uint32_t magnitude, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(CountMagnitude)(x, magnitude, n);
}
void magnitude_digits(const float* x, int shift, std::uint16_t* digits, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(MagnitudeDigits)(x, shift, digits, n);
}
std::int64_t pick_magnitudes(const float* x, std::uint32_t low, std::uint32_t high, std::uint32_t* found, std::int64_t& above,
                             std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(PickMagnitudes)(x, low, high, found, above, n);
}
void mark_key(const std::uint16_t* keys, std::uint16_t key, std::uint64_t* marks, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(MarkKey)(keys, key, marks, n);
}
std::uint32_t largest_count(const std::uint32_t* counts, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(LargestCount)(counts, n); }
std::int64_t mark_rounded(const float* x, const KeyScale& scale, std::uint64_t* marks, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(MarkRounded)(x, scale, marks, n);
}
std::int32_t threshold_of(const RankLine& line, std::uint32_t rank) noexcept {
  const float on_line = line.first + line.step * static_cast<float>(static_cast<std::int32_t>(rank));
  return static_cast<std::int32_t>(std::min(std::max(on_line, line.lowest), line.highest));
}
void decide_by_rank(const std::uint32_t* rank, const std::uint16_t* upper, const RankLine& line, std::int32_t margin, std::uint64_t* marks,
                    std::uint64_t* near, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(DecideByRank)(rank, upper, line, margin, marks, near, n);
}
void count_marked_from(const std::uint32_t* rank, const std::uint64_t* marks, std::span<const std::uint32_t> bounds, std::int64_t* counts,
                       std::int64_t n) noexcept {
  for (std::size_t at = 0; at < bounds.size(); at += kBoundsAtOnce) {
    const std::size_t some = std::min(kBoundsAtOnce, bounds.size() - at);
    std::uint32_t here[kBoundsAtOnce] = {};
    std::int64_t found[kBoundsAtOnce] = {};
    std::copy_n(bounds.data() + at, some, here);
    HWY_DYNAMIC_DISPATCH(CountMarkedFrom)(rank, marks, here, found, n);
    std::copy_n(found, some, counts + at);
  }
}
MagnitudeRange magnitude_range(const float* x, std::int64_t n) noexcept {
  MagnitudeRange range;
  HWY_DYNAMIC_DISPATCH(FindRange)(x, n, range);
  return range;
}
bool magnitude_keys(const float* x, const KeyScale& scale, std::uint16_t* keys, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(MagnitudeKeys)(x, scale, keys, n) != 0;
}

}  // namespace crucible::simd
#endif
