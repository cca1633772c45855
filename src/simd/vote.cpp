#include "simd/vote.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/vote.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/add_to_base-inl.h"
#include "simd/magnitudes-inl.h"

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

using D = DWide;
using DCount = hn::RebindToSigned<D>;
using V = VWide;

constexpr std::int64_t kBlock = 256;  // elements whose f64 intermediates stay in the first cache level

// One element: for the few past the last full vector, and for what is not finite.
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
  return moved_base(base, mixed);
}

// What a model votes with at the elements of a vector from i on; where marks count, that vector does not cross a word of them.
template <Ballot kBallot>
HWY_INLINE V value_of(const float* base, const float* x, const VoteCall& c, V scale, std::int64_t i) {
  const D d;
  const DCount di;
  const V v = load_wide(x + i);
  if constexpr (kBallot == Ballot::kScaled) return hn::Mul(scale, v);
  const V moved = hn::Sub(v, load_wide(base + i));
  if (c.marks == nullptr) return moved;
  const auto word = hn::Set(di, static_cast<std::int64_t>(c.marks[i / kWord] >> (i % kWord)));
  return hn::IfThenElseZero(hn::RebindMask(d, hn::TestBit(word, hn::Shl(hn::Set(di, 1), hn::Iota(di, 0)))), moved);
}

// Is + the winning side?
HWY_INLINE hn::Mask<D> wins_up(V sum, bool zero_is_plus) {
  const V zero = hn::Zero(D());
  return zero_is_plus ? hn::Ge(sum, zero) : hn::Gt(sum, zero);
}

// The lanes whose bits are set; the lowest bit is the first lane's.
HWY_INLINE hn::Mask<D> mask_of_bits(D d, std::uint64_t bits) {
  const auto byte = static_cast<std::uint8_t>(bits);
  return hn::LoadMaskBits(d, &byte);
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

// A model's signs over up to one word of elements, one bit for each.
struct Signs {
  std::uint64_t nonzero = 0;  // votes
  std::uint64_t negative = 0;
};

// A few models, whose numbers stay in registers. Who votes and who loses is counted by words of bits.
template <Ballot kBallot, int kModels>
class FewVote {
 public:
  static constexpr auto kHeld = static_cast<std::size_t>(kModels);
  // A product by a smaller scale may be 0 where its factors are not.
  static constexpr double kSmallestScale = 0x1p-600;

  FewVote(const float* base, const float* const* x, const VoteCall& call) : c_(call), base_(base), x_(x) {
    for (std::size_t set = 0; set < kSets; ++set) {
      double weights = 0;
      for (std::size_t j = 0; j < kHeld; ++j) weights += (set >> j & 1) != 0 ? c_.weights[j] : 0.0;
      shares_[set] = share_of_winners(c_, weights);
    }
    // Where nobody wins nothing is shared.
    const bool all_finite = std::all_of(shares_ + 1, shares_ + kSets, [](double share) { return std::isfinite(share); });
    if (!all_finite) return;
    if (std::all_of(shares_ + 1, shares_ + kSets, [this](double share) { return share == shares_[1]; })) {
      sharing_ = Sharing::kConstant;
    } else if (kIsPair && shares_[1] == shares_[2]) {
      sharing_ = Sharing::kPair;
    }
  }

  // Do signs tell how a model votes?
  bool fits() const {
    if (kBallot != Ballot::kScaled) return !kEmulated;
    const auto fits_one = [](double scale) { return scale == 0 || (scale >= kSmallestScale || scale <= -kSmallestScale); };
    return !kEmulated && std::all_of(c_.scales, c_.scales + kHeld, fits_one);
  }

  void run(float* HWY_RESTRICT out, std::int64_t n) {
    switch (sharing_) {
      case Sharing::kConstant: return run_sharing<Sharing::kConstant>(out, n);
      case Sharing::kPair:
        if constexpr (kIsPair) return run_sharing<Sharing::kPair>(out, n);
        break;
      case Sharing::kBySet: return run_sharing<Sharing::kBySet>(out, n);
    }
  }

 private:
  // What the winners' sum is multiplied by.
  enum class Sharing {
    kConstant,
    kPair,   // by one number where one of two models wins, whichever it is, and another where both do
    kBySet,  // by that of the set of the winners
  };

  template <Sharing kSharing>
  void run_sharing(float* HWY_RESTRICT out, std::int64_t n) {
    std::int64_t conflicts = 0, votes[kHeld] = {}, lost[kHeld] = {};
    for (std::int64_t at = 0; at < n; at += kWord) {
      const std::int64_t m = std::min(kWord, n - at) / step() * step();
      Signs signs[kHeld];
      see_signs(at, m, signs);
      std::uint64_t up = 0;
      bool finite = false;
      if constexpr (kIsPair && kSharing != Sharing::kBySet) {
        finite = merge_pair<kSharing>(at, m, signs, out + at, up);
      } else {
        finite = merge_word<kSharing>(at, m, out + at, up);
      }
      if (!finite) {
        // A NaN or an infinity.
        for (std::int64_t i = at; i < at + m; ++i) out[i] = vote_one<kBallot>(base_[i], x_, kModels, c_, i);
      } else {
        std::uint64_t any_lost = 0;
        for (std::size_t j = 0; j < kHeld; ++j) {
          const std::uint64_t loses = signs[j].nonzero & ~(signs[j].negative ^ up);
          any_lost |= loses;
          votes[j] += std::popcount(signs[j].nonzero);
          lost[j] += std::popcount(loses);
        }
        conflicts += std::popcount(any_lost);
      }
      for (std::int64_t i = at + m; i < std::min(at + kWord, n); ++i) out[i] = vote_one<kBallot>(base_[i], x_, kModels, c_, i);
    }
    c_.counts->conflicts += conflicts;
    for (std::size_t j = 0; j < kHeld; ++j) {
      c_.counts->votes[j] += votes[j];
      c_.counts->votes_lost[j] += lost[j];
    }
  }

  static constexpr std::size_t kSets = std::size_t{1} << kModels;              // of winners
  static constexpr bool kIsPair = kBallot == Ballot::kScaled && kModels == 2;  // where signs tell who wins
  // Of the sum of numbers times 0.
  static HWY_INLINE bool is_finite(V sum) { return hn::AllTrue(D(), hn::Eq(sum, hn::Zero(D()))); }
  static std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(D())); }
  static std::int64_t step() { return static_cast<std::int64_t>(hn::Lanes(DFloat())); }

  HWY_INLINE std::uint64_t marks_of(std::int64_t at) const { return c_.marks == nullptr ? ~std::uint64_t{0} : c_.marks[at / kWord]; }

  HWY_INLINE void see_signs(std::int64_t at, std::int64_t m, Signs* signs) const {
    const DFloat f;
    for (std::size_t j = 0; j < kHeld; ++j) {
      if (kBallot == Ballot::kScaled && c_.scales[j] == 0) continue;
      for (std::int64_t k = 0; k < m; k += step()) {
        const auto v = hn::LoadU(f, x_[j] + at + k);
        const auto other = kBallot == Ballot::kScaled ? hn::Zero(f) : hn::LoadU(f, base_ + at + k);
        signs[j].nonzero |= bits_of_mask(f, hn::Ne(v, other)) << k;
        signs[j].negative |= bits_of_mask(f, hn::Lt(v, other)) << k;
      }
      if (kBallot == Ballot::kScaled && c_.scales[j] < 0) signs[j].negative = ~signs[j].negative;
      if (kBallot == Ballot::kDifferences) signs[j].nonzero &= marks_of(at);
    }
  }

  // Merges m elements, and marks in `up` those whose winning side is +. False: something is not finite.
  template <Sharing kSharing>
  HWY_INLINE bool merge_word(std::int64_t at, std::int64_t m, float* HWY_RESTRICT out, std::uint64_t& up) const {
    const D d;
    const V zero = hn::Zero(d);
    const V minus_zero = hn::Set(d, -0.0);
    const float* const base = base_;
    const bool zero_is_plus = c_.zero_is_plus;
    const float* x[kHeld];
    V scale[kHeld], weight[kHeld], shares[kSets];
    for (std::size_t j = 0; j < kHeld; ++j) {
      x[j] = x_[j];
      scale[j] = hn::Set(d, kBallot == Ballot::kScaled ? c_.scales[j] : 1.0);
      weight[j] = hn::Set(d, c_.weights[j]);
    }
    for (std::size_t set = 0; set < kSets; ++set) shares[set] = hn::Set(d, shares_[set]);
    V not_finite = zero;
    for (std::int64_t k = 0; k < m; k += lanes()) {
      V held[kHeld];
      for (std::size_t j = 0; j < kHeld; ++j) held[j] = value_of<kBallot>(base, x[j], c_, scale[j], at + k);
      V sum = held[0];
      for (std::size_t j = 1; j < kHeld; ++j) sum = hn::Add(sum, held[j]);
      not_finite = hn::MulAdd(sum, zero, not_finite);
      const auto is_up = wins_up(sum, zero_is_plus);
      up |= bits_of_mask(d, is_up) << k;
      // Turned by this sign, the winners are what lies above zero.
      const V turn = hn::IfThenZeroElse(is_up, minus_zero);
      V turned[kHeld];
      V mixed = zero;
      for (std::size_t j = 0; j < kHeld; ++j) {
        turned[j] = hn::Xor(held[j], turn);
        V won = hn::Max(turned[j], zero);
        if (kBallot != Ballot::kScaled) won = hn::Mul(weight[j], won);
        mixed = j == 0 ? won : hn::Add(mixed, won);
      }
      V share = shares[1];
      if constexpr (kSharing == Sharing::kBySet) {
        hn::Mask<D> wins[kHeld];
        for (std::size_t j = 0; j < kHeld; ++j) wins[j] = hn::Gt(turned[j], zero);
        share = share_of<kModels>(wins, shares);
      }
      mixed = hn::Mul(hn::Xor(mixed, turn), share);
      store_moved(base + at + k, mixed, out + k);
    }
    return is_finite(not_finite);
  }

  // merge_word for two models whose signs are known: where they agree both win, elsewhere the greater one or the smaller one.
  template <Sharing kSharing>
  HWY_INLINE bool merge_pair(std::int64_t at, std::int64_t m, const Signs* signs, float* HWY_RESTRICT out, std::uint64_t& up) const {
    const std::uint64_t agree = signs[0].nonzero & signs[1].nonzero & ~(signs[0].negative ^ signs[1].negative);
    const D d;
    const V zero = hn::Zero(d);
    const float* const base = base_;
    const bool zero_is_plus = c_.zero_is_plus;
    const float* const x[2] = {x_[0], x_[1]};
    const V scale[2] = {hn::Set(d, c_.scales[0]), hn::Set(d, c_.scales[1])};
    const V share_of_one = hn::Set(d, shares_[1]);
    const V share_of_both = hn::Set(d, shares_[3]);
    V not_finite = zero;
    for (std::int64_t k = 0; k < m; k += lanes()) {
      const V first = value_of<kBallot>(base, x[0], c_, scale[0], at + k);
      const V second = value_of<kBallot>(base, x[1], c_, scale[1], at + k);
      const V sum = hn::Add(first, second);
      not_finite = hn::MulAdd(sum, zero, not_finite);
      const auto is_up = wins_up(sum, zero_is_plus);
      up |= bits_of_mask(d, is_up) << k;
      const V one = hn::IfThenElse(is_up, hn::Max(first, second), hn::Min(first, second));
      const auto both = mask_of_bits(d, agree >> k);
      const V share = kSharing == Sharing::kPair ? hn::IfThenElse(both, share_of_both, share_of_one) : share_of_one;
      store_moved(base + at + k, hn::Mul(hn::IfThenElse(both, sum, one), share), out + k);
    }
    return is_finite(not_finite);
  }

  const VoteCall& c_;
  const float* base_;
  const float* const* x_;
  double shares_[kSets];
  Sharing sharing_ = Sharing::kBySet;
};

// Any number of models. Where the winners share by a division, it waits for all of the count, and the processor sees no further than a few
// elements ahead: so in blocks, and in two loops.
template <Ballot kBallot>
HWY_INLINE void vote_many(const float* base, const float* const* x, std::int64_t models, const VoteCall& c, float* HWY_RESTRICT out,
                          std::int64_t n) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  const V minus_zero = hn::Set(d, -0.0);
  double mixed_of[kBlock];
  double weights_of[kBlock];
  std::int64_t i = 0;
  while (!kEmulated && i + lanes <= n) {
    const std::int64_t block = std::min(kBlock, (n - i) / lanes * lanes);
    for (std::int64_t k = 0; k < block; k += lanes) {
      const auto value = [&](std::int64_t j) HWY_ATTR {
        const V scale = hn::Set(d, kBallot == Ballot::kScaled ? c.scales[j] : 1.0);
        return value_of<kBallot>(base, x[j], c, scale, i + k);
      };
      V sum = value(0);
      for (std::int64_t j = 1; j < models; ++j) sum = hn::Add(sum, value(j));
      const auto up = wins_up(sum, c.zero_is_plus);
      const V turn = hn::IfThenZeroElse(up, minus_zero);
      auto any_lost = hn::Lt(zero, zero);
      V mixed = zero;
      V weights = zero;
      for (std::int64_t j = 0; j < models; ++j) {
        const V v = value(j);
        const V turned = hn::Xor(v, turn);
        const auto wins = hn::Gt(turned, zero);
        const auto loses = hn::Lt(turned, zero);
        const V w = hn::Set(d, c.weights[j]);
        mixed = hn::Add(mixed, hn::IfThenElseZero(wins, kBallot == Ballot::kScaled ? v : hn::Mul(w, v)));
        any_lost = hn::Or(any_lost, loses);
        weights = hn::Add(weights, hn::IfThenElseZero(wins, w));
        const auto losing = static_cast<std::int64_t>(hn::CountTrue(d, loses));
        c.counts->votes[static_cast<std::size_t>(j)] += losing + static_cast<std::int64_t>(hn::CountTrue(d, wins));
        c.counts->votes_lost[static_cast<std::size_t>(j)] += losing;
      }
      c.counts->conflicts += static_cast<std::int64_t>(hn::CountTrue(d, any_lost));
      // A NaN is on no side; dropping it would hide a damaged input.
      hn::StoreU(hn::IfThenElse(hn::IsNaN(sum), sum, mixed), d, mixed_of + k);
      hn::StoreU(weights, d, weights_of + k);
    }
    for (std::int64_t k = 0; k < block; k += lanes) {
      V divisor = hn::LoadU(d, weights_of + k);
      const V limit = hn::Set(d, c.limit);
      if (c.divide == Divide::kUnlessTiny) divisor = hn::IfThenElse(hn::Le(hn::Abs(divisor), limit), hn::Set(d, 1.0), divisor);
      if (c.divide == Divide::kByAtLeast) divisor = hn::IfThenElse(hn::Gt(divisor, limit), divisor, limit);
      V share = hn::Set(d, c.factor);
      if (c.divide != Divide::kNot) share = hn::Div(share, divisor);
      store_moved(base + i + k, hn::Mul(hn::LoadU(d, mixed_of + k), share), out + i + k);
    }
    i += block;
  }
  for (; i < n; ++i) out[i] = vote_one<kBallot>(base[i], x, models, c, i);
}

template <Ballot kBallot, int kModels>
HWY_INLINE void vote_few(const float* base, const float* const* x, const VoteCall& c, float* HWY_RESTRICT out, std::int64_t n) {
  FewVote<kBallot, kModels> few(base, x, c);
  if (few.fits()) return few.run(out, n);
  vote_many<kBallot>(base, x, kModels, c, out, n);
}

template <Ballot kBallot>
HWY_INLINE void vote(const float* base, const float* const* x, std::int64_t models, const VoteCall& c, float* HWY_RESTRICT out,
                     std::int64_t n) {
  switch (models) {
    case 1: return vote_few<kBallot, 1>(base, x, c, out, n);
    case 2: return vote_few<kBallot, 2>(base, x, c, out, n);
    case 3: return vote_few<kBallot, 3>(base, x, c, out, n);
    default: return vote_many<kBallot>(base, x, models, c, out, n);
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
