// Conversions between f32 and the types of weights, the same bits at every CPU level.
#pragma once

#include <cstdint>

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

}  // namespace crucible::simd
