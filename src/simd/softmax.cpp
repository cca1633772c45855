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

// exp of x in [-16, 16] in f32, to about 1 unit in the last place; any number, but no trap, elsewhere.
HWY_INLINE float exp_f32(float x) {
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kHigh = 0x1.62e4p-1f;  // ln 2 in two parts: the first has 9 zero bits at its end
  constexpr float kLow = 0x1.7f7d1cp-20f;
  constexpr float kToInteger = 0x1.8p+23f;
  const float shifted = x * kLog2E + kToInteger;
  const float k = shifted - kToInteger;
  const float r = (x - k * kHigh) - k * kLow;  // |r| <= ln 2 / 2
  const float p = 0.5f + r * (0x1.555556p-3f + r * (0x1.555556p-5f + r * (0x1.111112p-7f + r * 0x1.6c16c2p-10f)));
  const float e = 1.0f + (r + r * r * p);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(e) + (std::bit_cast<std::uint32_t>(shifted) << 23));
}

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
  double sums[3][kLanes] = {};             // of w, w (exp(d) - 1), w (d exp(d) - (exp(d) - 1))
  double plain[2][kLanes] = {};            // of d, exp(d) - 1 - d
  float furthest = 0;
  float largest = 0;
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(n - at, kBlock);
    float terms[3][kBlock];
    float d[kBlock];
    float tail[kBlock];
    for (std::int64_t k = 0; k < m; ++k) {
      const float w = exp_f32(y[at + k]);
      const float t = x[at + k] - y[at + k];
      d[k] = t;
      tail[k] =
          t * t * (0.5f + t * (0x1.555556p-3f + t * (0x1.555556p-5f + t * (0x1.111112p-7f + t * (0x1.6c16c2p-10f + t * 0x1.a01a02p-13f)))));
      const float grown = t + tail[k];  // exp(d) - 1
      terms[0][k] = w;
      terms[1][k] = w * grown;
      terms[2][k] = w * (t * grown - tail[k]);
    }
    for (int j = 0; j < 3; ++j) add_to_lanes(terms[j], m, sums[j]);
    add_to_lanes(d, m, plain[0]);
    add_to_lanes(tail, m, plain[1]);
    const auto size = [](float v) HWY_ATTR { return v < 0 ? -v : v; };
    furthest = std::max(furthest, size(extreme(d, m, 0.0f, [&](float u, float v) HWY_ATTR { return size(u) > size(v); })));
    largest = std::max(largest, size(extreme(y + at, m, 0.0f, [&](float u, float v) HWY_ATTR { return size(u) > size(v); })));
  }
  const double weight = add_lanes(sums[0]);
  const double s = add_lanes(sums[1]) / weight;
  const double curve = add_lanes(sums[2]) / weight;
  const double defect = log_defect(s);
  const double moved = add_lanes(plain[0]);
  const auto count = static_cast<double>(n);
  const double all = (curve - s * s) / (1 + s) + defect;
  const double floored = floor * ((add_lanes(plain[1]) - s * moved + count * s * s) / (1 + s) - count * defect);
  result.divergence = all - floored;
  result.distance = furthest;
  // Any comparison with NaN fails. exp(d) - 1 - d is about d^2 / 2, and so is the last sum.
  result.valid = furthest <= kFurthest && largest <= kLargest && floor * weight <= kFloorShare * static_cast<double>(exp_f32(-largest)) &&
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
