// Exponentials and divergences of rows. Compiled per CPU level as simd/ops.h is, with the same promise: every level gives the
// same bits, since exp and log are polynomials of plain multiplications and additions, without fused ones.
#pragma once

#include <cstdint>

namespace crucible::simd {

// The largest of n values; NaN is passed over. -infinity where there is none.
float largest(const float* x, std::int64_t n) noexcept;

// out[i] = exp(x[i] - shift) for x[i] <= shift, to 2 units in the last place; below exp(-708) it stays there. Returns the sum.
double exp_and_sum(const float* x, double shift, double* out, std::int64_t n) noexcept;

// Sum of p ln(p / q) - (p - q) over p = e[i] / e_sum + floor, q = f[i] / f_sum + floor: the Kullback-Leibler divergence of two
// distributions of equal sum, or a part of it. No term is negative but for rounding, so small divergences keep their digits.
double divergence(const double* e, double e_sum, const double* f, double f_sum, double floor, std::int64_t n) noexcept;

// The whole divergence of a row x from a row y that lies near it, from one exponential in f32 and a short series an element, reduced in
// f64; p = softmax of x + floor, q = softmax of y + floor. Right to 2^-20 of itself where `valid`: where no difference is above 1/4 and no
// y above 16, the smallest q is far above the floor, and the rows differ by more than a constant. Elsewhere, and with NaN, not valid.
struct NearDivergence {
  double divergence = 0;
  float distance = 0;  // the largest |x - y|
  bool valid = false;
};
NearDivergence near_divergence(const float* x, const float* y, double floor, std::int64_t n) noexcept;

}  // namespace crucible::simd
