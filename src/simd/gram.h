// Inner products of several spans, and sums with coefficients that come from them. In all of them y_i is x_i, or x_i - base where a
// base is given: taken in f64, so that a task vector loses no digits. Sums run in the fixed lanes of ops.h; there
// is at least one x.
#pragma once

#include <cstdint>
#include <span>

namespace crucible::simd {

// Adds <y_i, y_j> to gram[i * (i + 1) / 2 + j] for every j <= i. `base` may be null.
void add_gram(const float* base, std::span<const float* const> x, double* gram, std::int64_t n) noexcept;

// The sum of the squares of sum_i weights[i] * y_i.
double sum_squares_of_sum(const float* base, std::span<const float* const> x, std::span<const double> weights, std::int64_t n) noexcept;

// out = (base +) sum_i weights[i] * y_i, in f64, rounded once. Where the sum is zero, out is base (its sign of zero kept).
void weighted_deltas(const float* base, std::span<const float* const> x, std::span<const double> weights, float* out,
                     std::int64_t n) noexcept;

// Element by element: adds y_0^2, y_1 * y_0 and y_1^2 to the three spans of n sums.
void add_products(const float* base, const float* x0, const float* x1, double* s00, double* s10, double* s11, std::int64_t n) noexcept;

// out = (base +) w0 * y_0 + w1 * y_1 with weights for each element, rounded once; zero sums as above.
void weighted_pairs(const float* base, const float* x0, const float* x1, const double* w0, const double* w1, float* out,
                    std::int64_t n) noexcept;

}  // namespace crucible::simd
