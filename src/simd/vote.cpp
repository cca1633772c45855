#include "simd/vote.h"

#include <algorithm>
#include <cmath>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/vote.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#ifndef CRUCIBLE_SIMD_VOTE_ONCE
#define CRUCIBLE_SIMD_VOTE_ONCE
namespace crucible::simd {

enum class Ballot {
  kScaled,       // a model votes with scales[j] * x[j], and a winner adds that
  kDifferences,  // ... with x[j] - base where marked, else with 0, and a winner adds weights[j] times that
};
enum class Divide {
  kNot,
  kUnlessTiny,  // by the winners' weights, unless their sum is no larger than limit: rounding around zero
  kByAtLeast,   // by the winners' weights, or by limit where that is more
};
struct VoteCall {
  const std::uint64_t* marks = nullptr;  // null: all are marked
  const double* scales = nullptr;
  const double* weights = nullptr;
  Divide divide = Divide::kNot;
  double limit = 0;
  double factor = 1;
  bool zero_is_plus = true;
  VoteCounts* counts = nullptr;
};

// What the sum of the winners' values is multiplied by.
inline double share_of_winners(const VoteCall& c, double weights) {
  switch (c.divide) {
    case Divide::kNot: return c.factor;
    case Divide::kUnlessTiny: return c.factor / (std::abs(weights) <= c.limit ? 1.0 : weights);
    case Divide::kByAtLeast: return c.factor / (weights > c.limit ? weights : c.limit);
  }
  return c.factor;
}

}  // namespace crucible::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<double>;
using DFloat = hn::Rebind<float, D>;
using DCount = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VCount = hn::Vec<DCount>;

constexpr std::int64_t kWord = 64;    // elements of a word of marks
constexpr std::int64_t kBlock = 256;  // elements whose f64 intermediates stay in the first cache level

HWY_INLINE double wide(float v) { return static_cast<double>(v); }

// One element, for the few past the last full vector.
template <Ballot kBallot>
HWY_INLINE float vote_one(float base, const float* const* x, std::int64_t models, const VoteCall& c, std::int64_t i) {
  const bool marked = c.marks == nullptr || (c.marks[i / kWord] >> (i % kWord) & 1) != 0;
  const auto value = [&](std::int64_t j) {
    if constexpr (kBallot == Ballot::kScaled) return c.scales[j] * wide(x[j][i]);
    return marked ? wide(x[j][i]) - wide(base) : 0.0;
  };
  double sum = value(0);
  for (std::int64_t j = 1; j < models; ++j) sum += value(j);
  const bool up = c.zero_is_plus ? sum >= 0 : sum > 0;
  double mixed = 0;
  double weights = 0;
  bool any_lost = false;
  for (std::int64_t j = 0; j < models; ++j) {
    const double v = value(j);
    const bool votes = v > 0 || v < 0;
    const bool wins = up ? v > 0 : v < 0;
    const bool loses = votes && !wins;
    if (wins) {
      mixed += kBallot == Ballot::kScaled ? v : c.weights[j] * v;
      weights += c.weights[j];
    }
    any_lost = any_lost || loses;
    c.counts->votes[static_cast<std::size_t>(j)] += votes ? 1 : 0;
    c.counts->votes_lost[static_cast<std::size_t>(j)] += loses ? 1 : 0;
  }
  c.counts->conflicts += any_lost ? 1 : 0;
  mixed *= share_of_winners(c, weights);
  if (std::isnan(sum)) mixed = sum;  // a NaN is on no side; dropping it would hide a damaged input
  return mixed == 0 ? base : static_cast<float>(wide(base) + mixed);
}

// shares[set] for the set of the winners, whose bit j stands for model j.
template <int kModels>
HWY_INLINE V share_of(const hn::Mask<D>* wins, const V* shares) {
  if constexpr (kModels == 0) {
    return shares[0];
  } else {
    return hn::IfThenElse(wins[kModels - 1], share_of<kModels - 1>(wins, shares + (std::size_t{1} << (kModels - 1))),
                          share_of<kModels - 1>(wins, shares));
  }
}

// kModels models, or any number where it is 0: the numbers of a few stay in registers.
template <Ballot kBallot, int kModels>
HWY_INLINE void vote_some(const float* base, const float* const* x, std::int64_t any_models, const VoteCall& c, float* HWY_RESTRICT out,
                          std::int64_t n) {
  const D d;
  const DFloat df;
  const DCount di;
  constexpr bool kAny = kModels == 0;
  constexpr std::size_t kHeld = std::max<std::size_t>(kModels, 1);
  constexpr std::size_t kSets = std::size_t{1} << kModels;  // of winners
  const std::int64_t models = kAny ? any_models : kModels;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  const V minus_zero = hn::Set(d, -0.0);
  const auto lane_bit = hn::Shl(hn::Set(di, 1), hn::Iota(di, 0));
  const bool zero_is_plus = c.zero_is_plus;
  V held[kHeld], scale[kHeld], weight[kHeld], shares[kSets];
  const float* from[kHeld];
  for (std::size_t j = 0; j < static_cast<std::size_t>(kModels); ++j) {
    from[j] = x[j];
    scale[j] = hn::Set(d, kBallot == Ballot::kScaled ? c.scales[j] : 1.0);
    weight[j] = hn::Set(d, c.weights[j]);
  }
  for (std::size_t set = 0; set < kSets && !kAny; ++set) {
    double weights = 0;
    for (std::size_t j = 0; j < static_cast<std::size_t>(kModels); ++j) weights += (set >> j & 1) != 0 ? c.weights[j] : 0.0;
    shares[set] = hn::Set(d, share_of_winners(c, weights));
  }
  // Lanes of counts, as -1 for each.
  VCount conflicts = hn::Zero(di), won[kHeld], lost[kHeld];
  for (std::size_t j = 0; j < kHeld; ++j) won[j] = lost[j] = conflicts;
  // Where the winners share by a division, it waits for all of the count, and the processor sees no further than a few elements ahead: so
  // in blocks, and in two loops.
  double mixed_of[kBlock];
  double weights_of[kBlock];
  const auto write = [&](std::int64_t at, V mixed) HWY_ATTR {
    const V b = hn::PromoteTo(d, hn::LoadU(df, base + at));
    // Where nothing moves the base stays as it is, its sign of zero included.
    const V moved = hn::IfThenElse(hn::Eq(mixed, zero), b, hn::Add(b, mixed));
    hn::StoreU(hn::DemoteTo(df, moved), df, out + at);
  };
  std::int64_t i = 0;
  // Highway's emulated levels demote what f32 cannot hold to the largest finite number, not to infinity: there the plain loop runs.
  constexpr bool kEmulated = HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128;
  while (!kEmulated && i + lanes <= n) {
    const std::int64_t block = std::min(kBlock, (n - i) / lanes * lanes);
    for (std::int64_t k = 0; k < block; k += lanes) {
      // A vector's lanes divide a word of marks.
      const std::uint64_t bits = c.marks == nullptr ? ~std::uint64_t{0} : c.marks[(i + k) / kWord] >> ((i + k) % kWord);
      const auto marked = hn::RebindMask(d, hn::TestBit(hn::Set(di, static_cast<std::int64_t>(bits)), lane_bit));
      const auto value = [&](std::int64_t j) HWY_ATTR {
        const V v = hn::PromoteTo(d, hn::LoadU(df, (kAny ? x[j] : from[j]) + i + k));
        if constexpr (kBallot == Ballot::kDifferences)
          return hn::IfThenElseZero(marked, hn::Sub(v, hn::PromoteTo(d, hn::LoadU(df, base + i + k))));
        return hn::Mul(kAny ? hn::Set(d, c.scales[j]) : scale[j], v);
      };
      V sum = value(0);
      if constexpr (!kAny) held[0] = sum;
      for (std::int64_t j = 1; j < models; ++j) {
        const V v = value(j);
        if constexpr (!kAny) held[j] = v;
        sum = hn::Add(sum, v);
      }
      const auto up = zero_is_plus ? hn::Ge(sum, zero) : hn::Gt(sum, zero);
      // Turned by this sign, the winners are what lies above zero.
      const V turn = hn::IfThenZeroElse(up, minus_zero);
      hn::Mask<D> winners[kHeld];
      auto any_lost = hn::Lt(zero, zero);
      V mixed = zero;
      V weights = zero;
      for (std::int64_t j = 0; j < models; ++j) {
        V v;
        if constexpr (kAny) {
          v = value(j);
        } else {
          v = held[j];
        }
        const V turned = hn::Xor(v, turn);
        const auto wins = hn::Gt(turned, zero);
        const auto loses = hn::Lt(turned, zero);
        const V w = kAny ? hn::Set(d, c.weights[j]) : weight[j];
        mixed = hn::Add(mixed, hn::IfThenElseZero(wins, kBallot == Ballot::kScaled ? v : hn::Mul(w, v)));
        any_lost = hn::Or(any_lost, loses);
        if constexpr (kAny) {
          weights = hn::Add(weights, hn::IfThenElseZero(wins, w));
          const auto losing = static_cast<std::int64_t>(hn::CountTrue(d, loses));
          c.counts->votes[static_cast<std::size_t>(j)] += losing + static_cast<std::int64_t>(hn::CountTrue(d, wins));
          c.counts->votes_lost[static_cast<std::size_t>(j)] += losing;
        } else {
          winners[j] = wins;
          won[j] = hn::Add(won[j], hn::VecFromMask(di, hn::RebindMask(di, wins)));
          lost[j] = hn::Add(lost[j], hn::VecFromMask(di, hn::RebindMask(di, loses)));
        }
      }
      conflicts = hn::Add(conflicts, hn::VecFromMask(di, hn::RebindMask(di, any_lost)));
      if constexpr (!kAny) mixed = hn::Mul(mixed, share_of<kModels>(winners, shares));
      // A NaN is on no side; dropping it would hide a damaged input.
      mixed = hn::IfThenElse(hn::IsNaN(sum), sum, mixed);
      if constexpr (kAny) {
        hn::StoreU(mixed, d, mixed_of + k);
        hn::StoreU(weights, d, weights_of + k);
      } else {
        write(i + k, mixed);
      }
    }
    for (std::int64_t k = 0; kAny && k < block; k += lanes) {
      V divisor = hn::LoadU(d, weights_of + k);
      const V limit = hn::Set(d, c.limit);
      if (c.divide == Divide::kUnlessTiny) divisor = hn::IfThenElse(hn::Le(hn::Abs(divisor), limit), hn::Set(d, 1.0), divisor);
      if (c.divide == Divide::kByAtLeast) divisor = hn::IfThenElse(hn::Gt(divisor, limit), divisor, limit);
      V share = hn::Set(d, c.factor);
      if (c.divide != Divide::kNot) share = hn::Div(share, divisor);
      write(i + k, hn::Mul(hn::LoadU(d, mixed_of + k), share));
    }
    i += block;
  }
  const auto total = [&](VCount counts) HWY_ATTR {
    std::int64_t each[hn::MaxLanes(DCount())];
    hn::StoreU(counts, di, each);
    std::int64_t all = 0;
    for (std::int64_t k = 0; k < lanes; ++k) all -= each[k];
    return all;
  };
  c.counts->conflicts += total(conflicts);
  for (std::size_t j = 0; j < static_cast<std::size_t>(kModels); ++j) {
    c.counts->votes[j] += total(won[j]) + total(lost[j]);
    c.counts->votes_lost[j] += total(lost[j]);
  }
  for (; i < n; ++i) out[i] = vote_one<kBallot>(base[i], x, models, c, i);
}

template <Ballot kBallot>
HWY_INLINE void vote(const float* base, const float* const* x, std::int64_t models, const VoteCall& c, float* HWY_RESTRICT out,
                     std::int64_t n) {
  switch (models) {
    case 1: return vote_some<kBallot, 1>(base, x, models, c, out, n);
    case 2: return vote_some<kBallot, 2>(base, x, models, c, out, n);
    case 3: return vote_some<kBallot, 3>(base, x, models, c, out, n);
    default: return vote_some<kBallot, 0>(base, x, models, c, out, n);
  }
}

void Elect(const float* base, const float* const* x, std::int64_t models, const VoteCall& c, float* HWY_RESTRICT out, std::int64_t n) {
  vote<Ballot::kScaled>(base, x, models, c, out, n);
}
void MergeMajority(const float* base, const float* const* x, std::int64_t models, const VoteCall& c, float* HWY_RESTRICT out,
                   std::int64_t n) {
  vote<Ballot::kDifferences>(base, x, models, c, out, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(Elect);
HWY_EXPORT(MergeMajority);

void elect(const float* base, std::span<const float* const> x, const Election& e, float* out, std::int64_t n, VoteCounts& counts) noexcept {
  double total = 0;
  for (const double w : e.weights) total += w < 0 ? -w : w;
  constexpr double kRounding = 1e-12;
  const VoteCall call{.scales = e.scales.data(),
                      .weights = e.weights.data(),
                      .divide = e.normalize ? Divide::kUnlessTiny : Divide::kNot,
                      .limit = kRounding * total,
                      .factor = e.factor,
                      .zero_is_plus = e.zero_is_plus,
                      .counts = &counts};
  HWY_DYNAMIC_DISPATCH(Elect)(base, x.data(), static_cast<std::int64_t>(x.size()), call, out, n);
}

void merge_majority(const float* base, std::span<const float* const> x, const std::uint64_t* marks, std::span<const double> weights,
                    double floor, float* out, std::int64_t n, VoteCounts& counts) noexcept {
  const VoteCall call{.marks = marks, .weights = weights.data(), .divide = Divide::kByAtLeast, .limit = floor, .counts = &counts};
  HWY_DYNAMIC_DISPATCH(MergeMajority)(base, x.data(), static_cast<std::int64_t>(x.size()), call, out, n);
}

}  // namespace crucible::simd
#endif
