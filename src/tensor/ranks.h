// Exact ranks by magnitude inside a row.
#pragma once

#include <cstdint>

namespace crucible {

// Fills order[r] with the index of the element of rank r: |x| ascending, equal magnitudes by lower index. n < 2^32.
// `work` holds 2 * n values. Radix sort of the magnitude bits; never worse than linear.
void order_by_magnitude(const float* x, std::int64_t n, std::uint32_t* order, std::uint64_t* work) noexcept;

}  // namespace crucible
