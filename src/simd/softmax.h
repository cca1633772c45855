// Exponentials and divergences of rows, in f64. Compiled per CPU level as simd/ops.h is, with the same promise: every level gives the
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

}  // namespace crucible::simd
