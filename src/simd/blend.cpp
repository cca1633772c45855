#include "simd/blend.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/blend.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#ifndef CRUCIBLE_SIMD_BLEND_ONCE
#define CRUCIBLE_SIMD_BLEND_ONCE
namespace crucible::simd {
// What a vote takes and counts, apart from the tensors.
struct VoteCall {
  const double* weights;
  double floor;
  std::int64_t* conflicts;
  std::int64_t* votes;
  std::int64_t* votes_lost;
};
}  // namespace crucible::simd
#endif

// Plain loops, which the compiler vectorizes for the level of the enclosing region, over blocks whose f64 intermediates stay in the
// first cache level.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t kBlock = 256;
constexpr int kLanes = 16;

HWY_INLINE double wide(float v) { return static_cast<double>(v); }
HWY_INLINE double absolute(double v) { return v < 0 ? -v : v; }

void NearSwap(const float* base, const float* x, double t, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double a = wide(base[i]);
    const double b = wide(x[i]);
    const double distance = absolute(b - a);
    const double share = t / (distance > 1e-6 ? distance : 1e-6);
    const double w = share < 1 ? share : 1;
    const float moved = static_cast<float>(w * b + (1 - w) * a);
    out[i] = w == 0 && distance == distance ? base[i] : moved;
  }
}

// 1 where a task vector's entry is active, else 0.
HWY_INLINE double activity(double entry, double epsilon) { return absolute(entry) <= epsilon ? 0.0 : 1.0; }

void MergeActive(const float* base, const float* const* x, std::int64_t models, double epsilon, const double* scales,
                 float* HWY_RESTRICT out, std::int64_t n) {
  double sum[kBlock];
  double active[kBlock];
  double scale[kBlock];  // of the last active model: the one that counts where there is no other
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    for (std::int64_t k = 0; k < m; ++k) sum[k] = active[k] = scale[k] = 0;
    for (std::int64_t j = 0; j < models; ++j) {
      const float* xj = x[j] + at;
      const float* b = base + at;
      const double own = scales[j];
      for (std::int64_t k = 0; k < m; ++k) {
        const double entry = wide(xj[k]) - wide(b[k]);
        const double here = activity(entry, epsilon);
        sum[k] += here == 0 ? 0.0 : entry;
        active[k] += here;
        scale[k] = here == 0 ? scale[k] : own;
      }
    }
    for (std::int64_t k = 0; k < m; ++k) {
      const double mean = sum[k] / (active[k] > 1 ? active[k] : 1.0);
      const double mixed = mean * (active[k] == 1 ? scale[k] : 1.0);
      const float moved = static_cast<float>(wide(base[at + k]) + mixed);
      out[at + k] = mixed == 0 ? base[at + k] : moved;
    }
  }
}

void CountActive(const float* base, const float* const* x, std::int64_t models, double epsilon, std::uint64_t* unique,
                 std::uint64_t* shared, std::int64_t n) {
  double active[kBlock];
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    const float* b = base + at;
    for (std::int64_t k = 0; k < m; ++k) active[k] = 0;
    for (std::int64_t j = 0; j < models; ++j) {
      const float* xj = x[j] + at;
      for (std::int64_t k = 0; k < m; ++k) active[k] += activity(wide(xj[k]) - wide(b[k]), epsilon);
    }
    for (std::int64_t j = 0; j < models; ++j) {
      const float* xj = x[j] + at;
      std::uint64_t alone = 0;
      std::uint64_t all = 0;
      for (std::int64_t k = 0; k < m; ++k) {
        const std::uint64_t here = absolute(wide(xj[k]) - wide(b[k])) <= epsilon ? 0 : 1;
        const std::uint64_t single = active[k] == 1 ? 1 : 0;
        all += here;
        alone += here & single;
      }
      unique[j] += alone;
      shared[j] += all - alone;
    }
  }
}

// Of two models at distance d the formula below gives sqrt(2 d^2 - d^2), which is |d|: the square of a difference of two f32 neither
// overflows nor vanishes in f64, and the root of a rounded square rounds back. An infinite distance has none.
void SpreadOfTwo(const float* x, const float* y, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double distance = wide(y[i]) - wide(x[i]);
    out[i] = static_cast<float>(absolute(distance) + (distance - distance));
  }
}

void Spread(const float* const* x, std::int64_t models, float* HWY_RESTRICT out, std::int64_t n) {
  if (models == 2) return SpreadOfTwo(x[0], x[1], out, n);
  const hn::ScalableTag<double> d;
  double sum[kBlock] = {};
  double squares[kBlock] = {};
  const auto count = static_cast<double>(models);
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    for (std::int64_t k = 0; k < m; ++k) sum[k] = squares[k] = 0;
    // Distances from the first model: n * sum of squares - square of the sum loses no more than a factor 2n to cancellation then,
    // since one of the distances is 0, and is exactly 0 where all models agree.
    const float* first = x[0] + at;
    for (std::int64_t j = 1; j < models; ++j) {
      const float* xj = x[j] + at;
      for (std::int64_t k = 0; k < m; ++k) {
        const double distance = wide(xj[k]) - wide(first[k]);
        sum[k] += distance;
        squares[k] += distance * distance;
      }
    }
    for (std::int64_t k = 0; k < m; ++k) squares[k] = count * squares[k] - sum[k] * sum[k];
    // The whole block: what lies past its end is not used.
    for (std::int64_t k = 0; k < kBlock; k += static_cast<std::int64_t>(hn::Lanes(d)))
      hn::StoreU(hn::Sqrt(hn::LoadU(d, squares + k)), d, squares + k);
    for (std::int64_t k = 0; k < m; ++k) out[at + k] = static_cast<float>(squares[k]);
  }
}

// One element of a vote, for the few past the last full vector.
HWY_INLINE float majority_of_one(float base, const float* const* x, std::int64_t models, const VoteCall& c, std::int64_t i) {
  double sum = 0;
  bool plus = false;
  bool minus = false;
  for (std::int64_t j = 0; j < models; ++j) {
    const double entry = wide(x[j][i]) - wide(base);
    sum += entry;
    plus = plus || entry > 0;
    minus = minus || entry < 0;
  }
  double mixed = 0;
  double divisor = 0;
  for (std::int64_t j = 0; j < models; ++j) {
    const double entry = wide(x[j][i]) - wide(base);
    const bool wins = sum >= 0 ? entry > 0 : entry < 0;
    if (wins) {
      mixed += c.weights[j] * entry;
      divisor += c.weights[j];
    }
    const bool votes = entry > 0 || entry < 0;
    c.votes[j] += votes ? 1 : 0;
    c.votes_lost[j] += votes && !wins ? 1 : 0;
  }
  *c.conflicts += plus && minus ? 1 : 0;
  const double moved_by = mixed / (divisor > c.floor ? divisor : c.floor);
  // A NaN is on no side; dropping it would hide a damaged input.
  const double change = sum == sum ? moved_by : sum;
  return change == 0 ? base : static_cast<float>(wide(base) + change);
}

// kModels models, or any number where it is 0: the numbers of a few stay in registers.
template <int kModels>
HWY_INLINE void majority_of_some(const float* base, const float* const* x, std::int64_t any_models, const VoteCall& c,
                                 float* HWY_RESTRICT out, std::int64_t n) {
  const hn::ScalableTag<double> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<float, decltype(d)> df;
  using V = hn::Vec<decltype(d)>;
  using VCount = hn::Vec<decltype(di)>;
  constexpr bool kAny = kModels == 0;
  constexpr std::size_t kHeld = kAny ? 1 : kModels;
  const std::int64_t models = kAny ? any_models : kModels;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  const V floor = hn::Set(d, c.floor);
  V held[kHeld];
  // Lanes of counts, as -1 for each.
  VCount conflicts = hn::Zero(di), voted[kHeld], won[kHeld];
  for (std::size_t j = 0; j < kHeld; ++j) voted[j] = won[j] = conflicts;
  std::int64_t i = 0;
  // Highway's emulated levels demote what f32 cannot hold to the largest finite number, not to infinity: there the plain loop runs.
  constexpr bool kEmulated = HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128;
  for (; !kEmulated && i + lanes <= n; i += lanes) {
    const V b = hn::PromoteTo(d, hn::LoadU(df, base + i));
    const auto entry = [&](std::int64_t j) HWY_ATTR { return hn::Sub(hn::PromoteTo(d, hn::LoadU(df, x[j] + i)), b); };
    V sum = zero;
    auto plus = hn::Lt(zero, zero);
    auto minus = plus;
    for (std::int64_t j = 0; j < models; ++j) {
      const V v = entry(j);
      if constexpr (!kAny) held[j] = v;
      sum = hn::Add(sum, v);
      plus = hn::Or(plus, hn::Gt(v, zero));
      minus = hn::Or(minus, hn::Lt(v, zero));
    }
    conflicts = hn::Add(conflicts, hn::VecFromMask(di, hn::RebindMask(di, hn::And(plus, minus))));
    const auto up = hn::Ge(sum, zero);
    V mixed = zero;
    V divisor = zero;
    for (std::int64_t j = 0; j < models; ++j) {
      V v;
      if constexpr (kAny) {
        v = entry(j);
      } else {
        v = held[j];
      }
      const auto above = hn::Gt(v, zero);
      const auto below = hn::Lt(v, zero);
      const auto wins = hn::Or(hn::And(up, above), hn::AndNot(up, below));
      const V weight = hn::Set(d, c.weights[j]);
      mixed = hn::Add(mixed, hn::IfThenElseZero(wins, hn::Mul(weight, v)));
      divisor = hn::Add(divisor, hn::IfThenElseZero(wins, weight));
      if constexpr (kAny) {
        const auto votes = static_cast<std::int64_t>(hn::CountTrue(d, hn::Or(above, below)));
        c.votes[j] += votes;
        c.votes_lost[j] += votes - static_cast<std::int64_t>(hn::CountTrue(d, wins));
      } else {
        voted[j] = hn::Add(voted[j], hn::VecFromMask(di, hn::RebindMask(di, hn::Or(above, below))));
        won[j] = hn::Add(won[j], hn::VecFromMask(di, hn::RebindMask(di, wins)));
      }
    }
    const V moved_by = hn::Div(mixed, hn::IfThenElse(hn::Gt(divisor, floor), divisor, floor));
    const V change = hn::IfThenElse(hn::IsNaN(sum), sum, moved_by);
    const V moved = hn::IfThenElse(hn::Eq(change, zero), b, hn::Add(b, change));
    hn::StoreU(hn::DemoteTo(df, moved), df, out + i);
  }
  const auto total = [&](VCount counts) HWY_ATTR {
    std::int64_t each[hn::MaxLanes(hn::RebindToSigned<decltype(d)>())];
    hn::StoreU(counts, di, each);
    std::int64_t all = 0;
    for (std::int64_t k = 0; k < lanes; ++k) all -= each[k];
    return all;
  };
  *c.conflicts += total(conflicts);
  for (int j = 0; j < kModels; ++j) {
    c.votes[j] += total(voted[j]);
    c.votes_lost[j] += total(voted[j]) - total(won[j]);
  }
  for (; i < n; ++i) out[i] = majority_of_one(base[i], x, models, c, i);
}

void MergeMajority(const float* base, const float* const* x, std::int64_t models, const VoteCall& c, float* HWY_RESTRICT out,
                   std::int64_t n) {
  switch (models) {
    case 2: return majority_of_some<2>(base, x, models, c, out, n);
    case 3: return majority_of_some<3>(base, x, models, c, out, n);
    case 4: return majority_of_some<4>(base, x, models, c, out, n);
    default: return majority_of_some<0>(base, x, models, c, out, n);
  }
}

void ScaledDistance(const float* x, const float* y, double factor, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(factor * absolute(wide(x[i]) - wide(y[i])));
}

double LargestDistance(const float* x, const float* y, std::int64_t n) {
  double lanes[kLanes] = {};
  const auto see = [&](std::int64_t i, int k) HWY_ATTR {
    const double distance = absolute(wide(x[i]) - wide(y[i]));
    lanes[k] = distance > lanes[k] ? distance : lanes[k];
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) see(i + k, k);
  }
  for (int k = 0; i + k < n; ++k) see(i + k, k);
  return *std::max_element(lanes, lanes + kLanes);
}

std::int64_t TakeFrom(const float* score, double limit, const float* x, const float* y, float* HWY_RESTRICT out, std::int64_t n) {
  std::int64_t left = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const bool below = wide(score[i]) < limit;
    out[i] = below ? y[i] : x[i];
    left += below ? 1 : 0;
  }
  return n - left;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(NearSwap);
HWY_EXPORT(MergeActive);
HWY_EXPORT(CountActive);
HWY_EXPORT(Spread);
HWY_EXPORT(MergeMajority);
HWY_EXPORT(ScaledDistance);
HWY_EXPORT(LargestDistance);
HWY_EXPORT(TakeFrom);

void near_swap(const float* base, const float* x, double t, float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(NearSwap)(base, x, t, out, n);
}
void merge_active(const float* base, std::span<const float* const> x, double epsilon, std::span<const double> scales, float* out,
                  std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(MergeActive)(base, x.data(), static_cast<std::int64_t>(x.size()), epsilon, scales.data(), out, n);
}
void count_active(const float* base, std::span<const float* const> x, double epsilon, std::uint64_t* unique, std::uint64_t* shared,
                  std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(CountActive)(base, x.data(), static_cast<std::int64_t>(x.size()), epsilon, unique, shared, n);
}
void spread(std::span<const float* const> x, float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Spread)(x.data(), static_cast<std::int64_t>(x.size()), out, n);
}
void merge_majority(const float* base, std::span<const float* const> x, std::span<const double> weights, double floor, float* out,
                    std::int64_t n, VoteCounts& counts) noexcept {
  const VoteCall call{weights.data(), floor, &counts.conflicts, counts.votes.data(), counts.votes_lost.data()};
  HWY_DYNAMIC_DISPATCH(MergeMajority)(base, x.data(), static_cast<std::int64_t>(x.size()), call, out, n);
}
void scaled_distance(const float* x, const float* y, double factor, float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(ScaledDistance)(x, y, factor, out, n);
}
double largest_distance(const float* x, const float* y, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(LargestDistance)(x, y, n); }
std::int64_t take_from(const float* score, double limit, const float* x, const float* y, float* out, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(TakeFrom)(score, limit, x, y, out, n);
}

}  // namespace crucible::simd
#endif
