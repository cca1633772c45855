// Loops that decide draws by coarse ranks: the magnitudes of a row become keys of a few bits, and a key's place among the others decides
// nearly all of its elements. Marks are laid out as in simd/select.h. Compiled per CPU level as simd/ops.h is: keys and decisions are the
// same bits at every level.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace crucible::simd {

inline constexpr int kRowKeys = 128;

// The mean magnitude of the elements that are not 0; it is not finite where one of them is not, and 0 where all are 0. About right: the
// order of the sum is the level's.
float mean_magnitude(const float* x, std::int64_t n) noexcept;
// keys[i] = min(|x[i]| * factor, kRowKeys - 1), rounded down: they never fall where magnitudes rise. For finite x and factor.
void row_keys(const float* x, float factor, std::uint8_t* keys, std::int64_t n) noexcept;
// How many elements have each key.
void count_row_keys(const std::uint8_t* keys, std::int64_t n, std::uint32_t* counts) noexcept;

// For each key the upper eight bits of the draws that decide by themselves: below `drawn` an element is drawn, above `missed` it is not.
struct KeyLimits {
  alignas(64) std::array<std::uint8_t, kRowKeys> drawn{};
  alignas(64) std::array<std::uint8_t, kRowKeys> missed{};
};
// Marks what is drawn, and in `open` what neither limit decides. `upper` holds the upper 16 bits of the draws.
void decide_by_key(const std::uint8_t* keys, const std::uint16_t* upper, const KeyLimits& limits, std::uint64_t* marks, std::uint64_t* open,
                   std::int64_t n) noexcept;

// Writes the ranks of up to kRanksAtOnce elements, given in ascending order, among the n magnitudes (2^31 at most, all finite) of a row;
// equal ones by lower index. Looks at the whole row.
inline constexpr std::size_t kRanksAtOnce = 4;
void ranks_by_counting(const float* x, std::span<const std::uint32_t> elems, std::uint32_t* ranks, std::int64_t n) noexcept;
// Marks the elements with this half (see magnitude_digits), and returns the number of those with a smaller one. before[w] becomes the
// number of marked elements that are not rounded in the words before w; before has room for one more than there are words.
std::uint32_t mark_half(const std::uint16_t* halves, std::uint16_t half, const std::uint64_t* rounded, std::uint64_t* marks,
                        std::uint32_t* before, std::int64_t n) noexcept;

}  // namespace crucible::simd
