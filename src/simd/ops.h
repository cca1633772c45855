// Loops over spans of numbers, compiled once per CPU level and chosen at run time (Highway's dispatch). Every level gives the same
// bits: no contraction, and sums run in 16 fixed f64 lanes that are added in a fixed order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"

namespace crucible::simd {

// Conversions to f32. Exact, except f64 which rounds to nearest even. Where `less` is given, out is what they give less that, rounded to
// f32: a task vector without a loop of its own.
void load_f16(const void* in, float* out, std::int64_t n, const float* less = nullptr) noexcept;
void load_bf16(const void* in, float* out, std::int64_t n, const float* less = nullptr) noexcept;
void load_f32(const void* in, float* out, std::int64_t n, const float* less = nullptr) noexcept;
void load_f64(const void* in, float* out, std::int64_t n, const float* less = nullptr) noexcept;

// Conversions from f32, round to nearest even; NaN becomes one canonical NaN. Return how many of the results have at least the largest
// finite magnitude of their type, so those that are not finite too (f64 holds every f32: only those).
std::int64_t store_f16(const float* in, void* out, std::int64_t n) noexcept;
std::int64_t store_bf16(const float* in, void* out, std::int64_t n) noexcept;
std::int64_t store_f32(const float* in, void* out, std::int64_t n) noexcept;
std::int64_t store_f64(const float* in, void* out, std::int64_t n) noexcept;

std::int64_t count_nonfinite(const float* x, std::int64_t n) noexcept;

double sum_abs(const float* x, std::int64_t n) noexcept;
double sum_squares(const float* x, std::int64_t n) noexcept;
double sum_square_difference(const float* x, const float* y, std::int64_t n) noexcept;
double dot(const float* x, const float* y, std::int64_t n) noexcept;

// out = x - y, rounded once to f32.
void subtract(const float* x, const float* y, float* out, std::int64_t n) noexcept;

// out = scale * x in f64, rounded once.
void scale(const float* x, double factor, float* out, std::int64_t n) noexcept;

// out = (base +) (sum_i weights[i] * x[i]) * factor / divisor, all in f64, rounded once. `base` may be null; there is at least one x.
// Where the sum is zero, out is base (its sign of zero kept).
void weighted_sum(const float* base, std::span<const float* const> x, std::span<const double> weights, double factor, double divisor,
                  float* out, std::int64_t n) noexcept;

// The upper halves of draws first .. first + n - 1 (base/random.h).
void fill_draws(RandomKey key, std::uint64_t first, std::uint16_t* out, std::int64_t n) noexcept;

// The CPU levels this machine can run, best first ("AVX3", "AVX2", "SSE2", ...), and the one in use.
std::vector<std::string> available_levels();
std::string level_in_use();
// Uses no level above the named one, for tests and comparisons; an empty name lifts the limit. Returns false for an unknown name.
bool limit_level(const std::string& name);

}  // namespace crucible::simd
