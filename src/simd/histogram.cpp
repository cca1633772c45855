#include "simd/histogram.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/histogram.cpp"
#include <hwy/foreach_target.h>  // includes this file again for each level
#include <hwy/highway.h>

// Plain loops, which the compiler vectorizes for the level of the enclosing region.
HWY_BEFORE_NAMESPACE();
namespace crucible::simd {
namespace HWY_NAMESPACE {

constexpr std::int64_t kBlock = 256;
// Neighbours often fall into one bucket, and increments of one counter wait for each other.
constexpr std::int64_t kTables = 4;
static_assert(kBlock / kTables <= 255, "counters are bytes");

std::int64_t CountExponents(const float* base, const float* x, int first, std::uint32_t* HWY_RESTRICT counts, std::int64_t n) {
  std::int64_t zeros = 0;
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t m = std::min(kBlock, n - at);
    std::uint8_t bucket[kBlock];
    // Zeros have a bucket of their own behind the others: where they stand looks random, so nothing may branch on them.
    const auto see = [&](std::int64_t i, float y) HWY_ATTR {
      const auto bits = std::bit_cast<std::int32_t>(y) & 0x7FFFFFFF;
      const std::int32_t exponent = (bits >> 23) - 127 - first;
      const std::int32_t low = exponent < 0 ? 0 : exponent;
      const std::int32_t inside = low < kExponentBuckets ? low : kExponentBuckets - 1;
      bucket[i] = static_cast<std::uint8_t>(bits == 0 ? kExponentBuckets : inside);
    };
    if (base == nullptr) {
      for (std::int64_t i = 0; i < m; ++i) see(i, x[at + i]);
    } else {
      for (std::int64_t i = 0; i < m; ++i) see(i, x[at + i] - base[at + i]);
    }
    std::uint8_t tables[kTables][kExponentBuckets + 1] = {};
    for (std::int64_t i = 0; i < m; ++i) ++tables[i % kTables][bucket[i]];
    for (const auto& table : tables) {
      for (int k = 0; k < kExponentBuckets; ++k) counts[k] += table[k];
      zeros += table[kExponentBuckets];
    }
  }
  return zeros;
}

}  // namespace HWY_NAMESPACE
}  // namespace crucible::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace crucible::simd {

HWY_EXPORT(CountExponents);

std::int64_t count_exponents(const float* base, const float* x, int first, std::uint32_t* counts, std::int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(CountExponents)(base, x, first, counts, n);
}

}  // namespace crucible::simd
#endif
