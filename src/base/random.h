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

}  // namespace crucible
