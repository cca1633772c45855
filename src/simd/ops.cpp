#include "simd/ops.h"

#include <bit>
#include <cstddef>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/ops.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/add_to_base-inl.h"
#include "simd/lane_sum-inl.h"

// Plain loops where the compiler vectorizes them for the level of the enclosing region, Highway's operations where it does not.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

constexpr std::int64_t kBlock = 256;  // elements whose f64 intermediates stay in the first cache level

std::int64_t CountNonfinite(const float* x, std::int64_t n) {
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) bad += (std::bit_cast<std::uint32_t>(x[i]) & 0x7F800000u) == 0x7F800000u ? 1 : 0;
  return bad;
}

double SumAbs(const float* x, std::int64_t n) {
  return lane_sum(n, [x](std::int64_t i)
                         HWY_ATTR { return static_cast<double>(std::bit_cast<float>(std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu)); });
}

double SumSquares(const float* x, std::int64_t n) { return sum_of_products(x, x, n); }

double SumSquareDifference(const float* x, const float* y, std::int64_t n) {
  return lane_sum(n, [x, y](std::int64_t i) HWY_ATTR {
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    return d * d;
  });
}

double Dot(const float* x, const float* y, std::int64_t n) { return sum_of_products(x, y, n); }

void Subtract(const float* x, const float* y, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] - y[i];
}
void Add(const float* x, const float* y, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] + y[i];
}

void Scale(const float* x, double factor, float* HWY_RESTRICT out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(factor * static_cast<double>(x[i]));
}

// The sum over kModels models in one loop, without memory for what is between; factor and divisor are 1.
template <std::size_t kModels>
HWY_INLINE void plain_sum(const float* base, const float* const* x, const double* w, float* HWY_RESTRICT out, std::int64_t n) {
  const float* from[kModels];
  VWide weight[kModels];
  for (std::size_t j = 0; j < kModels; ++j) {
    from[j] = x[j];
    weight[j] = hn::Set(DWide(), w[j]);
  }
  const auto sums = [&](std::int64_t i) HWY_ATTR {
    VWide sum = hn::Mul(weight[0], load_wide(from[0] + i));
    for (std::size_t j = 1; j < kModels; ++j) sum = hn::Add(sum, hn::Mul(weight[j], load_wide(from[j] + i)));
    return sum;
  };
  const auto sum = [&](std::int64_t i) HWY_ATTR {
    double one = w[0] * wide(x[0][i]);
    for (std::size_t j = 1; j < kModels; ++j) one += w[j] * wide(x[j][i]);
    return one;
  };
  write_sums(base, out, n, sums, sum);
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
    for (std::int64_t k = 0; k < m; ++k) sum[k] = w[0] * wide(x[0][i + k]);
    for (std::int64_t j = 1; j < models; ++j) {
      const float* xj = x[j] + i;
      const double wj = w[j];
      std::int64_t k = 0;
      for (; k + kWideLanes <= m; k += kWideLanes)
        hn::StoreU(hn::Add(hn::LoadU(DWide(), sum + k), hn::Mul(hn::Set(DWide(), wj), load_wide(xj + k))), DWide(), sum + k);
      for (; k < m; ++k) sum[k] += wj * wide(xj[k]);
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

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(CountNonfinite);
HWY_EXPORT(SumAbs);
HWY_EXPORT(SumSquares);
HWY_EXPORT(SumSquareDifference);
HWY_EXPORT(Dot);
HWY_EXPORT(Subtract);
HWY_EXPORT(Add);
HWY_EXPORT(Scale);
HWY_EXPORT(WeightedSum);

std::int64_t count_nonfinite(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(CountNonfinite)(x, n); }
double sum_abs(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(SumAbs)(x, n); }
double sum_squares(const float* x, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(SumSquares)(x, n); }
double sum_square_difference(const float* x, const float* y, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumSquareDifference)(x, y, n);
}
double dot(const float* x, const float* y, std::int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(Dot)(x, y, n); }
void subtract(const float* x, const float* y, float* out, std::int64_t n) noexcept { HWY_DYNAMIC_DISPATCH(Subtract)(x, y, out, n); }
void add(const float* x, const float* y, float* out, std::int64_t n) noexcept { HWY_DYNAMIC_DISPATCH(Add)(x, y, out, n); }
void scale(const float* x, double factor, float* out, std::int64_t n) noexcept { HWY_DYNAMIC_DISPATCH(Scale)(x, factor, out, n); }

void weighted_sum(const float* base, std::span<const float* const> x, std::span<const double> weights, double factor, double divisor,
                  float* out, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(WeightedSum)(base, x.data(), weights.data(), static_cast<std::int64_t>(x.size()), factor, divisor, out, n);
}

}  // namespace crucible::simd
#endif
