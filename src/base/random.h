// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
// A number depends on its key and its index only, so any thread, tile or machine draws the same one.
#pragma once

#include <cstdint>
#include <string_view>

namespace crucible {

struct RandomKey {
  std::uint32_t words[2] = {0, 0};
};

// The key of one stream: one (seed, tensor, model) triple.
RandomKey make_random_key(std::uint64_t seed, std::string_view tensor, std::string_view model) noexcept;

// Number `index` of the stream: word index % 4 of the Philox block with counter index / 4.
std::uint32_t random_u32(RandomKey key, std::uint64_t index) noexcept;

// Draw `index`: 32 bits for a comparison with a threshold, nearly always decided by the upper 16. These are half index % 2 (0 is the lower)
// of number index / 2 of the stream; the lower 16 are the same half of a twin of the stream, whose counters have 1 in the third word.
std::uint32_t random_draw(RandomKey key, std::uint64_t index) noexcept;

// Many draws, of which the upper halves lie in memory (simd::fill_draws); draw i is random_draw(key, first + i).
struct RandomDraws {
  const std::uint16_t* upper = nullptr;
  RandomKey key;
  std::uint64_t first = 0;

  bool below(std::int64_t i, std::uint64_t threshold) const noexcept {
    const std::uint64_t decisive = threshold >> 16;
    if (upper[i] != decisive) return upper[i] < decisive;
    return random_draw(key, first + static_cast<std::uint64_t>(i)) < threshold;
  }
};

}  // namespace crucible
