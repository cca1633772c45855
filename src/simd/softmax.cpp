#include "simd/softmax.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/softmax.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/lane_sum-inl.h"

// Plain loops, which the compiler vectorizes for the level of the enclosing region. No branch, no table, no integer conversion.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

constexpr std::int64_t kBlock = 256;

HWY_INLINE std::uint64_t bits_of(double v) { return std::bit_cast<std::uint64_t>(v); }
HWY_INLINE double from_bits(std::uint64_t v) { return std::bit_cast<double>(v); }

// ln 2 in two parts: the first has 20 zero bits at its end, so that its product with an exponent is exact.
constexpr double kLn2High = 0x1.62e42fee00000p-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

constexpr double factorial(int n) { return n < 2 ? 1.0 : n * factorial(n - 1); }

// The terms of exp's Taylor series from the one of r^kFrom to that of r^kTo, divided by r^kFrom.
template <int kFrom, int kTo>
HWY_INLINE double exp_tail(double r) {
  constexpr double kFactor = 1.0 / factorial(kFrom);
  if constexpr (kFrom == kTo) {
    return kFactor;
  } else {
    return exp_tail<kFrom + 1, kTo>(r) * r + kFactor;
  }
}

// exp of x in [-708, 0]; what lies below counts as -708. NaN stays NaN.
HWY_INLINE double exp_of(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kToInteger = 0x1.8p+52;  // adding it rounds to an integer, which then stands in the lowest bits
  const double bounded = x < -708 ? -708.0 : x;
  const double shifted = bounded * kLog2E + kToInteger;
  const double k = shifted - kToInteger;
  const double r = (bounded - k * kLn2High) - k * kLn2Low;  // |r| <= ln 2 / 2
  const double p = exp_tail<2, 13>(r);                      // the rest is below 2^-57
  const double e = 1.0 + (r + r * r * p);
  const double scaled = from_bits(bits_of(e) + (bits_of(shifted) << 52));  // times 2^k
  return x == x ? scaled : x;
}

// exp of x in [-1/4, 0], without a reduction: exp(-1/8) times the Taylor series around -1/8; the rest is below 2^-57.
HWY_INLINE double exp_near_zero(double x) {
  constexpr double kMiddle = 0x1.c3d6a24ed8222p-1;  // exp(-1/8)
  const double r = x + 0.125;
  const double p = exp_tail<2, 10>(r);
  return kMiddle + kMiddle * (r + r * r * p);
}

// (1 + u) ln(1 + u) - u for |u| <= 2^-6: u^2/2 - u^3/6 + u^4/12 - ..., the rest is below 2^-54 of it. No digits cancel.
HWY_INLINE double entropy_of_ratio(double u) {
  double p = 1.0 / 90.0;
  p = 1.0 / 72.0 - p * u;
  p = 1.0 / 56.0 - p * u;
  p = 1.0 / 42.0 - p * u;
  p = 1.0 / 30.0 - p * u;
  p = 1.0 / 20.0 - p * u;
  p = 1.0 / 12.0 - p * u;
  p = 1.0 / 6.0 - p * u;
  p = 0.5 - p * u;
  return u * u * p;
}

// ln(1 + u) for u > -1 where 1 + u is normal; where 1 + u is near 1, u keeps all its digits.
HWY_INLINE double log_of_one_plus(double u) {
  constexpr std::uint64_t kSqrtHalf = 0x3FE6A09E667F3BCDu;
  constexpr std::uint64_t kOffset = std::uint64_t{1024} << 52;  // keeps the exponent positive
  constexpr std::uint64_t kTwo52 = 0x4330000000000000u;         // bits of 2^52: an integer put into its lowest bits is added to it
  const double f = 1.0 + u;
  // f = 2^k * m with m in [sqrt(1/2), sqrt(2)).
  const std::uint64_t biased = (bits_of(f) - kSqrtHalf + kOffset) >> 52;
  const double k = from_bits(kTwo52 + biased) - (0x1p+52 + 1024.0);
  const double m = from_bits(bits_of(f) - (biased << 52) + kOffset);
  const double v = k == 0 ? u : m - 1.0;
  const double s = v / (2.0 + v);
  const double z = s * s;
  // 2 artanh(s) = 2 s + s z (2/3 + 2/5 z + ...); |s| <= 0.172, the rest is below 2^-57.
  double p = 2.0 / 23.0;
  p = p * z + 2.0 / 21.0;
  p = p * z + 2.0 / 19.0;
  p = p * z + 2.0 / 17.0;
  p = p * z + 2.0 / 15.0;
  p = p * z + 2.0 / 13.0;
  p = p * z + 2.0 / 11.0;
  p = p * z + 2.0 / 9.0;
  p = p * z + 2.0 / 7.0;
  p = p * z + 2.0 / 5.0;
  p = p * z + 2.0 / 3.0;
  return k * kLn2High + (2.0 * s + (s * z * p + k * kLn2Low));
}

// Adds n values to fixed lanes; value i to lane i % 16.
template <typename T>
HWY_INLINE void add_to_lanes(const T* values, std::int64_t n, double* lanes) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) lanes[k] += static_cast<double>(values[i + k]);
  }
  for (int k = 0; i + k < n; ++k) lanes[k] += static_cast<double>(values[i + k]);
}

// The first in the order `before` of the values and of `none`; NaN is passed over.
template <typename T, typename Before>
HWY_INLINE T extreme(const T* x, std::int64_t n, T none, const Before& before) {
  T lanes[kLanes];
  for (T& lane : lanes) lane = none;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) lanes[k] = before(x[i + k], lanes[k]) ? x[i + k] : lanes[k];
  }
  for (int k = 0; i + k < n; ++k) lanes[k] = before(x[i + k], lanes[k]) ? x[i + k] : lanes[k];
  for (int k = 1; k < kLanes; ++k) lanes[0] = before(lanes[k], lanes[0]) ? lanes[k] : lanes[0];
  return lanes[0];
}

float Largest(const float* x, std::int64_t n) {
  return extreme(x, n, -std::numeric_limits<float>::infinity(), [](float a, float b) HWY_ATTR { return a > b; });
}

double ExpAndSum(const float* x, double shift, double* HWY_RESTRICT out, std::int64_t n) {
  double lanes[kLanes] = {};
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    // NaN is passed over here, and stays NaN in both series.
    const auto lowest =
        static_cast<double>(extreme(x + at, m, std::numeric_limits<float>::infinity(), [](float a, float b) HWY_ATTR { return a < b; }));
    if (lowest - shift >= -0.25) {
      for (std::int64_t k = 0; k < m; ++k) out[at + k] = exp_near_zero(static_cast<double>(x[at + k]) - shift);
    } else {
      for (std::int64_t k = 0; k < m; ++k) out[at + k] = exp_of(static_cast<double>(x[at + k]) - shift);
    }
    add_to_lanes(out + at, m, lanes);
  }
  return add_lanes(lanes);
}

double Divergence(const double* e, double e_sum, const double* f, double f_sum, double floor, std::int64_t n) {
  double lanes[kLanes] = {};
  double terms[kBlock];
  const double e_factor = 1.0 / e_sum;
  const double f_factor = 1.0 / f_sum;
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    double q[kBlock];
    for (std::int64_t k = 0; k < m; ++k) {
      q[k] = f[at + k] * f_factor + floor;
      terms[k] = (e[at + k] * e_factor + floor - q[k]) / q[k];
    }
    // p ln(p / q) - (p - q) with p = q (1 + u).
    const auto greater = [](double a, double b) HWY_ATTR { return a > b; };
    const auto less = [](double a, double b) HWY_ATTR { return a < b; };
    if (extreme(terms, m, 0.0, greater) <= 0x1p-6 && extreme(terms, m, 0.0, less) >= -0x1p-6) {
      for (std::int64_t k = 0; k < m; ++k) terms[k] = q[k] * entropy_of_ratio(terms[k]);
    } else {
      for (std::int64_t k = 0; k < m; ++k) {
        const double p = e[at + k] * e_factor + floor;
        terms[k] = p * log_of_one_plus(terms[k]) - (p - q[k]);
      }
    }
    add_to_lanes(terms, m, lanes);
  }
  return add_lanes(lanes);
}

// Rows of f32 that are near each other, in vectors of no more lanes than a sum has.
using DRow = hn::CappedTag<float, kLanes>;
using VRow = hn::Vec<DRow>;
constexpr std::size_t kRowWidth = hn::MaxLanes(DRow());
constexpr std::size_t kRowVectors = kLanes / kRowWidth;

HWY_INLINE VRow row_of(float v) { return hn::Set(DRow(), v); }

// Horner's form of a polynomial, the coefficient of the highest power last.
HWY_INLINE VRow polynomial(VRow, float last) { return row_of(last); }
template <typename... Rest>
HWY_INLINE VRow polynomial(VRow x, float first, Rest... rest) {
  return hn::Add(row_of(first), hn::Mul(x, polynomial(x, rest...)));
}

// exp of x in [-16, 16], to about 1 unit in the last place; any number, but no trap, elsewhere.
HWY_INLINE VRow exp_of_row(VRow x) {
  const DRow d;
  const hn::RebindToUnsigned<DRow> bits;
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kHigh = 0x1.62e4p-1f;  // ln 2 in two parts: the first has 9 zero bits at its end
  constexpr float kLow = 0x1.7f7d1cp-20f;
  const VRow to_integer = row_of(0x1.8p+23f);
  const VRow shifted = hn::Add(hn::Mul(x, row_of(kLog2E)), to_integer);
  const VRow k = hn::Sub(shifted, to_integer);
  const VRow r = hn::Sub(hn::Sub(x, hn::Mul(k, row_of(kHigh))), hn::Mul(k, row_of(kLow)));  // |r| <= ln 2 / 2
  const VRow p = polynomial(r, 0.5f, 0x1.555556p-3f, 0x1.555556p-5f, 0x1.111112p-7f, 0x1.6c16c2p-10f);
  const VRow e = hn::Add(row_of(1.0f), hn::Add(r, hn::Mul(hn::Mul(r, r), p)));
  return hn::BitCast(d, hn::Add(hn::BitCast(bits, e), hn::ShiftLeft<23>(hn::BitCast(bits, shifted))));
}

// exp of x in [-1/4, 1/4], to about 1 unit in the last place: 1 + x times a polynomial fitted to (exp(x) - 1) / x, to 2^-25.
HWY_INLINE VRow exp_of_small_row(VRow x) {
  return hn::Add(row_of(1.0f), hn::Mul(x, polynomial(x, 1.0f, 0x1.ffff8ep-2f, 0x1.555534p-3f, 0x1.563924p-5f, 0x1.119336p-7f)));
}

// The sums over a pair of rows x and y that lie near each other, with w = exp(y) and d = x - y.
class NearSums {
 public:
  NearSums() {
    for (auto* sum : {weight_, moved_, curve_, d_, tail_}) std::fill(sum, sum + kSumVectors, hn::Zero(DWide()));
  }

  // m elements, a multiple of kLanes.
  HWY_INLINE void add(const float* x, const float* y, std::int64_t m) {
    constexpr float kSmallDistance = 0x1p-6f;
    constexpr float kSmall = 0x1p-2f;
    const DRow f;
    VRow far = hn::Zero(f), large = hn::Zero(f);
    for (std::int64_t i = 0; i < m; i += kRowStep) {
      const VRow at_y = hn::LoadU(f, y + i);
      far = hn::Max(far, hn::Abs(hn::Sub(hn::LoadU(f, x + i), at_y)));
      large = hn::Max(large, hn::Abs(at_y));
    }
    const float far_here = largest_lane(far), large_here = largest_lane(large);
    // A NaN is in the sums, whichever way they are taken.
    if (far_here <= kSmallDistance && large_here <= kSmall) {
      add_terms<true>(x, y, m);
    } else {
      add_terms<false>(x, y, m);
    }
    furthest = std::max(furthest, far_here);
    largest = std::max(largest, large_here);
  }

  float furthest = 0;                                  // |d|
  float largest = 0;                                   // |y|
  double weight() const { return total_of(weight_); }  // of w
  double moved() const { return total_of(moved_); }    // of w (exp(d) - 1)
  double curve() const { return total_of(curve_); }    // of w (d exp(d) - (exp(d) - 1))
  double distance() const { return total_of(d_); }     // of d
  double tail() const { return total_of(tail_); }      // of exp(d) - 1 - d

 private:
  static constexpr auto kRowStep = static_cast<std::int64_t>(kRowWidth);

  static float largest_lane(VRow lanes) { return hn::GetLane(hn::MaxOfLanes(DRow(), lanes)); }
  static double total_of(const VWide* sum) {
    double lanes[kLanes];
    store_sums(sum, lanes);
    return add_lanes(lanes);
  }
  // The lanes of v to those of a sum that stand behind `at` vectors of them.
  static HWY_INLINE void add_to(VWide* sum, std::size_t at, VRow v) {
    float each[kRowWidth];
    hn::StoreU(v, DRow(), each);
    for (std::size_t k = 0; k < kRowWidth; k += kSumWidth) {
      VWide& lane = sum[(at * kRowWidth + k) / kSumWidth];
      lane = hn::Add(lane, load_wide(each + k));
    }
  }

  template <bool kShort>
  HWY_INLINE void add_terms(const float* x, const float* y, std::int64_t m) {
    const DRow f;
    // These two only count times the floor: f32 holds enough of their part of a block.
    VRow distances[kRowVectors], tails[kRowVectors];
    for (std::size_t v = 0; v < kRowVectors; ++v) distances[v] = tails[v] = hn::Zero(f);
    for (std::int64_t i = 0; i < m; i += kLanes) {
      for (std::size_t v = 0; v < kRowVectors; ++v) {
        const std::int64_t k = i + static_cast<std::int64_t>(v * kRowWidth);
        const VRow at_y = hn::LoadU(f, y + k);
        const VRow d = hn::Sub(hn::LoadU(f, x + k), at_y);
        const VRow w = kShort ? exp_of_small_row(at_y) : exp_of_row(at_y);
        // (exp(d) - 1 - d) / d^2, to 2^-24.
        const VRow q = kShort ? polynomial(d, 0.5f, 0x1.555622p-3f, 0x1.555556p-5f)
                              : polynomial(d, 0.5f, 0x1.555534p-3f, 0x1.555668p-5f, 0x1.119336p-7f, 0x1.6ac69ap-10f);
        const VRow tail = hn::Mul(hn::Mul(d, d), q);
        const VRow grown = hn::Add(d, tail);  // exp(d) - 1
        add_to(weight_, v, w);
        add_to(moved_, v, hn::Mul(w, grown));
        add_to(curve_, v, hn::Mul(w, hn::Sub(hn::Mul(d, grown), tail)));
        distances[v] = hn::Add(distances[v], d);
        tails[v] = hn::Add(tails[v], tail);
      }
    }
    for (std::size_t v = 0; v < kRowVectors; ++v) {
      add_to(d_, v, distances[v]);
      add_to(tail_, v, tails[v]);
    }
  }

  VWide weight_[kSumVectors], moved_[kSumVectors], curve_[kSumVectors], d_[kSumVectors], tail_[kSumVectors];
};

// s - ln(1 + s) for s > -1.
HWY_INLINE double log_defect(double s) {
  if (!(s < 0x1p-6 && s > -0x1p-6)) return s - log_of_one_plus(s);
  double p = 1.0 / 9.0;
  p = 1.0 / 8.0 - p * s;
  p = 1.0 / 7.0 - p * s;
  p = 1.0 / 6.0 - p * s;
  p = 1.0 / 5.0 - p * s;
  p = 1.0 / 4.0 - p * s;
  p = 1.0 / 3.0 - p * s;
  p = 1.0 / 2.0 - p * s;
  return s * s * p;
}

// With w = exp(y), d = x - y and means <.> that are weighted by w: the sum of exp(x) is that of w times 1 + s, s = <exp(d) - 1>. So
//   KL(softmax(x), softmax(y)) = <d exp(d)> / (1 + s) - ln(1 + s) = (<d exp(d) - (exp(d) - 1)> - s^2) / (1 + s) + (s - ln(1 + s)),
// where nothing of the first order in d is left to cancel. The weights need no more digits than the result: other weights are another pair
// of rows that differ by the same d. A floor that is small beside q takes floor * sum(exp(u) - 1 - u) away, u = d - ln(1 + s), but for the
// square of floor / q; in the same way that is floor times (sum(exp(d) - 1 - d) - s sum(d) + n s^2) / (1 + s) - n (s - ln(1 + s)).
void NearDivergenceOf(const float* x, const float* y, double floor, std::int64_t n, NearDivergence& result) {
  constexpr float kFurthest = 0.25f;
  constexpr float kLargest = 16.0f;
  constexpr double kFloorShare = 0x1p-11;  // of the smallest q at most
  constexpr double kLeast = 0.125;         // of the divergence, of what it would be without the part that is constant
  NearSums sums;
  const std::int64_t whole = n / kLanes * kLanes;
  for (std::int64_t at = 0; at < whole; at += kBlock) sums.add(x + at, y + at, std::min(kBlock, whole - at));
  double beyond = 0;  // elements beyond the row: they weigh exactly 1 and move by 0
  if (whole < n) {
    float rest[2][kLanes] = {};
    std::copy(x + whole, x + n, rest[0]);
    std::copy(y + whole, y + n, rest[1]);
    sums.add(rest[0], rest[1], kLanes);
    beyond = static_cast<double>(whole + kLanes - n);
  }
  const double weight = sums.weight() - beyond;
  const double s = sums.moved() / weight;
  const double curve = sums.curve() / weight;
  const double defect = log_defect(s);
  const auto count = static_cast<double>(n);
  const double all = (curve - s * s) / (1 + s) + defect;
  const double floored = floor * ((sums.tail() - s * sums.distance() + count * s * s) / (1 + s) - count * defect);
  result.divergence = all - floored;
  result.distance = sums.furthest;
  const float least = hn::GetLane(exp_of_row(row_of(-sums.largest)));
  // Any comparison with NaN fails. exp(d) - 1 - d is about d^2 / 2, and so is the last sum.
  result.valid = sums.furthest <= kFurthest && sums.largest <= kLargest && floor * weight <= kFloorShare * static_cast<double>(least) &&
                 all >= kLeast * curve;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(Largest);
HWY_EXPORT(ExpAndSum);
HWY_EXPORT(Divergence);
HWY_EXPORT(NearDivergenceOf);

float largest(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(Largest)(x, n); }
double exp_and_sum(const float* x, double shift, double* out, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(ExpAndSum)(x, shift, out, n);
}
double divergence(const double* e, double e_sum, const double* f, double f_sum, double floor, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(Divergence)(e, e_sum, f, f_sum, floor, n);
}
NearDivergence near_divergence(const float* x, const float* y, double floor, std::int64_t n) noexcept {
  NearDivergence result;
  HWY_DYNAMIC_DISPATCH(NearDivergenceOf)(x, y, floor, n, result);
  return result;
}

}  // namespace crucible::simd
#endif
