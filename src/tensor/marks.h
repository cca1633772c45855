// Walks over marks, one bit per element, as simd/select.h lays them out.
#pragma once

#include <bit>
#include <cstdint>

#include "base/checked.h"

namespace crucible {

// Calls see(element) for every marked one of n elements, in order.
template <typename See>
void for_each_mark(const std::uint64_t* marks, std::int64_t n, const See& see) noexcept {
  for (std::int64_t w = 0; w < ceil_div(n, std::int64_t{64}); ++w) {
    for (std::uint64_t word = marks[w]; word != 0; word &= word - 1) see(w * 64 + std::countr_zero(word));
  }
}

}  // namespace crucible
