// Loops over spans of numbers, compiled once per CPU level and chosen at run time (Highway's dispatch). Every level gives the same
// bits: no contraction but of exact products, and sums run in 16 fixed f64 lanes that are added in a fixed order.
#pragma once

#include <cstdint>
#include <span>

namespace crucible::simd {

std::int64_t count_nonfinite(const float* x, std::int64_t n) noexcept;

double sum_abs(const float* x, std::int64_t n) noexcept;
double sum_squares(const float* x, std::int64_t n) noexcept;
double sum_square_difference(const float* x, const float* y, std::int64_t n) noexcept;
double dot(const float* x, const float* y, std::int64_t n) noexcept;

// out = x - y, and x + y, rounded once to f32.
void subtract(const float* x, const float* y, float* out, std::int64_t n) noexcept;
void add(const float* x, const float* y, float* out, std::int64_t n) noexcept;

// out = scale * x in f64, rounded once.
void scale(const float* x, double factor, float* out, std::int64_t n) noexcept;

// out = (base +) (sum_i weights[i] * x[i]) * factor / divisor, all in f64, rounded once. `base` may be null; there is at least one x.
// Where the sum is zero, out is base (its sign of zero kept).
void weighted_sum(const float* base, std::span<const float* const> x, std::span<const double> weights, double factor, double divisor,
                  float* out, std::int64_t n) noexcept;

}  // namespace crucible::simd
