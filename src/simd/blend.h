// Element loops of the merge methods that decide element by element what to take: nearswap, ram, ramplus_tl, sce, arcee_fusion.
// Compiled per CPU level as simd/ops.h is, with the same promise: every level gives the same bits.
#pragma once

#include <cstdint>
#include <span>

namespace crucible::simd {

// w = min(t / max(|x - base|, 1e-6), 1); out = w * x + (1 - w) * base in f64, rounded once; base where w is 0; NaN where an
// input is NaN. For t of at least 1e-6 that is x where |x - base| <= t, else base + t or base - t, base where the distance is infinite.
void near_swap(const float* base, const float* x, double t, float* out, std::int64_t n) noexcept;

// A model is active at an element where not |x - base| <= epsilon (taken in f64; so a NaN is active).
// out = base + (sum of the active task vectors) / (number of active models); where one model alone is active its task vector counts
// scales[model] times; base where the sum is 0.
void merge_active(const float* base, std::span<const float* const> x, double epsilon, std::span<const double> scales, float* out,
                  std::int64_t n) noexcept;
// Adds to unique[model] the number of elements where it alone is active, to shared[model] those where others are active too.
void count_active(const float* base, std::span<const float* const> x, double epsilon, std::uint64_t* unique, std::uint64_t* shared,
                  std::int64_t n) noexcept;

// out = number of models * standard deviation over the models, rounded once to f32. 0 where, and only where, all are equal.
void spread(std::span<const float* const> x, float* out, std::int64_t n) noexcept;

// out = factor * |x - y| in f32, each of the three rounded; in f64 and rounded once where f32 might not hold the factor.
void scaled_distance(const float* x, const float* y, double factor, float* out, std::int64_t n) noexcept;
// The largest |x - y|, in f64; NaN counts as 0.
double largest_distance(const float* x, const float* y, std::int64_t n) noexcept;
// out = x where the scaled distance of an element is at least the limit, or NaN, y elsewhere. Returns how many x were taken.
std::int64_t take_far(const float* x, const float* y, double factor, double limit, float* out, std::int64_t n) noexcept;

}  // namespace crucible::simd
