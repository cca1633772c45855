// Random numbers in vectors, the same at every CPU level.
#pragma once

#include <cstdint>

#include "base/random.h"

namespace crucible::simd {

// The upper halves of draws first .. first + n - 1 (base/random.h).
void fill_draws(RandomKey key, std::uint64_t first, std::uint16_t* out, std::int64_t n) noexcept;

}  // namespace crucible::simd
