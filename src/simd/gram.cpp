#include "simd/gram.h"

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/gram.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

#include "simd/add_to_base-inl.h"
#include "simd/lane_sum-inl.h"
#include "simd/ops.h"

// Plain loops, which the compiler vectorizes for the level of the enclosing region, where it does so well.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

constexpr std::int64_t kGramBlock = 1024;  // elements of every input that stay in the first cache level while all pairs are formed
constexpr std::int64_t kSumBlock = 256;    // elements whose f64 intermediates stay there

// The three sums of two vectors over one block, each in the order of lane_sum: the base (if kBase) is subtracted once for all of them.
template <bool kBase>
HWY_INLINE void add_gram_of_two(const float* base, const float* x0, const float* x1, double* HWY_RESTRICT gram, std::int64_t n) {
  const DWide d;
  using V = VWide;
  V sums[3][kSumVectors];
  for (auto& sum : sums) {
    for (V& lane : sum) lane = hn::Zero(d);
  }
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t v = 0; v < kSumVectors; ++v) {
      const std::int64_t at = i + static_cast<std::int64_t>(v * kSumWidth);
      V y0 = load_wide(x0 + at);
      V y1 = load_wide(x1 + at);
      if constexpr (kBase) {
        const V b = load_wide(base + at);
        y0 = hn::Sub(y0, b);
        y1 = hn::Sub(y1, b);
      }
      const auto add_to = [](V& sum, V a, V b) HWY_ATTR {
        sum = kBase ? hn::Add(sum, hn::Mul(a, b)) : add_exact_product(sum, a, b);  // a difference has more bits than an f32
      };
      add_to(sums[0][v], y0, y0);
      add_to(sums[1][v], y1, y0);
      add_to(sums[2][v], y1, y1);
    }
  }
  double lanes[3][kLanes];
  for (std::size_t pair = 0; pair < 3; ++pair) store_sums(sums[pair], lanes[pair]);
  for (int k = 0; i < n; ++i, ++k) {
    const double b = kBase ? wide(base[i]) : 0.0;
    const double y0 = wide(x0[i]) - b;
    const double y1 = wide(x1[i]) - b;
    lanes[0][k] += y0 * y0;
    lanes[1][k] += y1 * y0;
    lanes[2][k] += y1 * y1;
  }
  for (int pair = 0; pair < 3; ++pair) gram[pair] += add_lanes(lanes[pair]);
}

void AddGram(const float* base, const float* const* x, std::int64_t vectors, double* HWY_RESTRICT gram, std::int64_t n) {
  if (vectors == 2) {
    for (std::int64_t at = 0; at < n; at += kGramBlock) {
      const std::int64_t m = n - at < kGramBlock ? n - at : kGramBlock;
      if (base != nullptr) {
        add_gram_of_two<true>(base + at, x[0] + at, x[1] + at, gram, m);
      } else {
        add_gram_of_two<false>(nullptr, x[0] + at, x[1] + at, gram, m);
      }
    }
    return;
  }
  for (std::int64_t at = 0; at < n; at += kGramBlock) {
    const std::int64_t m = n - at < kGramBlock ? n - at : kGramBlock;
    const float* b = base == nullptr ? nullptr : base + at;
    double* sum = gram;
    for (std::int64_t i = 0; i < vectors; ++i) {
      const float* xi = x[i] + at;
      for (std::int64_t j = 0; j <= i; ++j) {
        const float* xj = x[j] + at;
        *sum++ += b == nullptr ? sum_of_products(xi, xj, m) : lane_sum(m, [xi, xj, b](std::int64_t k) HWY_ATTR {
          return (wide(xi[k]) - wide(b[k])) * (wide(xj[k]) - wide(b[k]));
        });
      }
    }
  }
}

// sum = sum_i w[i] * y_i over one block. The first product starts the sum, so that negative zeros stay what they are.
HWY_INLINE void sum_block(const float* base, const float* const* x, const double* w, std::int64_t vectors, std::int64_t at, std::int64_t m,
                          double* HWY_RESTRICT sum) {
  const auto each = [=](std::int64_t i, const auto& put) HWY_ATTR {
    const float* xi = x[i] + at;
    const double wi = w[i];
    if (base == nullptr) {
      for (std::int64_t k = 0; k < m; ++k) put(sum[k], wi * wide(xi[k]));
    } else {
      const float* b = base + at;
      for (std::int64_t k = 0; k < m; ++k) put(sum[k], wi * (wide(xi[k]) - wide(b[k])));
    }
  };
  each(0, [](double& to, double v) HWY_ATTR { to = v; });
  for (std::int64_t i = 1; i < vectors; ++i) each(i, [](double& to, double v) HWY_ATTR { to += v; });
}

double SumSquaresOfSum(const float* base, const float* const* x, const double* w, std::int64_t vectors, std::int64_t n) {
  double sum[kSumBlock];
  double squares = 0;
  for (std::int64_t at = 0; at < n; at += kSumBlock) {
    const std::int64_t m = n - at < kSumBlock ? n - at : kSumBlock;
    sum_block(base, x, w, vectors, at, m, sum);
    squares += lane_sum(m, [&sum](std::int64_t k) HWY_ATTR { return sum[k] * sum[k]; });
  }
  return squares;
}

void WeightedDeltas(const float* base, const float* const* x, const double* w, std::int64_t vectors, float* HWY_RESTRICT out,
                    std::int64_t n) {
  if (vectors == 2) {  // in one loop, without memory for what is between
    const float* const x0 = x[0];
    const float* const x1 = x[1];
    const VWide w0 = hn::Set(DWide(), w[0]), w1 = hn::Set(DWide(), w[1]);
    const auto sums = [&](std::int64_t k) HWY_ATTR {
      const VWide b = load_wide(base + k);
      return hn::Add(hn::Mul(w0, hn::Sub(load_wide(x0 + k), b)), hn::Mul(w1, hn::Sub(load_wide(x1 + k), b)));
    };
    const auto sum = [&](std::int64_t k) HWY_ATTR { return w[0] * (wide(x0[k]) - wide(base[k])) + w[1] * (wide(x1[k]) - wide(base[k])); };
    return write_sums(base, out, n, sums, sum);
  }
  double sum[kSumBlock];
  for (std::int64_t at = 0; at < n; at += kSumBlock) {
    const std::int64_t m = n - at < kSumBlock ? n - at : kSumBlock;
    sum_block(base, x, w, vectors, at, m, sum);
    add_to_base(base + at, sum, out + at, m);
  }
}

void AddProducts(const float* base, const float* x0, const float* x1, double* HWY_RESTRICT s00, double* HWY_RESTRICT s10,
                 double* HWY_RESTRICT s11, std::int64_t n) {
  for (std::int64_t k = 0; k < n; ++k) {
    const double b = base == nullptr ? 0.0 : wide(base[k]);
    const double y0 = wide(x0[k]) - b;
    const double y1 = wide(x1[k]) - b;
    s00[k] += y0 * y0;
    s10[k] += y1 * y0;
    s11[k] += y1 * y1;
  }
}

void WeightedPairs(const float* base, const float* x0, const float* x1, const double* w0, const double* w1, float* HWY_RESTRICT out,
                   std::int64_t n) {
  double sum[kSumBlock];
  for (std::int64_t at = 0; at < n; at += kSumBlock) {
    const std::int64_t m = n - at < kSumBlock ? n - at : kSumBlock;
    for (std::int64_t k = 0; k < m; ++k) {
      const double b = base == nullptr ? 0.0 : wide(base[at + k]);
      sum[k] = w0[at + k] * (wide(x0[at + k]) - b) + w1[at + k] * (wide(x1[at + k]) - b);
    }
    add_to_base(base == nullptr ? nullptr : base + at, sum, out + at, m);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(AddGram);
HWY_EXPORT(SumSquaresOfSum);
HWY_EXPORT(WeightedDeltas);
HWY_EXPORT(AddProducts);
HWY_EXPORT(WeightedPairs);

void add_gram(const float* base, std::span<const float* const> x, double* gram, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(AddGram)(base, x.data(), static_cast<std::int64_t>(x.size()), gram, n);
}

double sum_squares_of_sum(const float* base, std::span<const float* const> x, std::span<const double> weights, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumSquaresOfSum)(base, x.data(), weights.data(), static_cast<std::int64_t>(x.size()), n);
}

void weighted_deltas(const float* base, std::span<const float* const> x, std::span<const double> weights, float* out,
                     std::int64_t n) noexcept {
  if (base == nullptr) return weighted_sum(nullptr, x, weights, 1, 1, out, n);
  HWY_DYNAMIC_DISPATCH(WeightedDeltas)(base, x.data(), weights.data(), static_cast<std::int64_t>(x.size()), out, n);
}

void add_products(const float* base, const float* x0, const float* x1, double* s00, double* s10, double* s11, std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(AddProducts)(base, x0, x1, s00, s10, s11, n);
}

void weighted_pairs(const float* base, const float* x0, const float* x1, const double* w0, const double* w1, float* out,
                    std::int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(WeightedPairs)(base, x0, x1, w0, w1, out, n);
}

}  // namespace crucible::simd
#endif
