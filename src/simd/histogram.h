// Counts of magnitudes by powers of two. Compiled per CPU level as simd/ops.h is.
#pragma once

#include <cstdint>

namespace crucible::simd {

inline constexpr int kExponentBuckets = 64;

// Adds to counts[k] the number of the n values x - base (x itself without a base) whose magnitude lies in [2^(first + k), 2^(first + k +
// 1)); the first and the last of the kExponentBuckets take what lies beyond, NaN included. Zeros are not counted but returned.
std::int64_t count_exponents(const float* base, const float* x, int first, std::uint32_t* counts, std::int64_t n) noexcept;

}  // namespace crucible::simd
