// One bit per element of a tensor, kept between passes: which elements a pass chose, so that the next one need not choose again.
// The bits of a tile begin with a word of their own (as simd/select.h lays them out), so tiles are written without regard to each other.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/checked.h"
#include "methods/kernel.h"

namespace crucible {

class TileMarks {
 public:
  TileMarks() = default;  // none
  explicit TileMarks(const Tiling& tiling)
      : tile_elems_(tiling.tile_elems), words_(words_of(tiling)), marks_(static_cast<std::size_t>(words_ * tiling.tiles)) {}

  bool empty() const noexcept { return marks_.empty(); }
  std::uint64_t* of(const Tile& tile) noexcept { return marks_.data() + tile.index * words_; }
  // One element of the tensor, from any thread.
  void set(std::int64_t elem) noexcept {
    const std::int64_t bit = elem % tile_elems_;
    std::atomic_ref<std::uint64_t>(marks_[static_cast<std::size_t>(elem / tile_elems_ * words_ + bit / 64)])
        .fetch_or(std::uint64_t{1} << (bit % 64), std::memory_order_relaxed);
  }

  // Words of one tile.
  static std::int64_t words_of(const Tiling& tiling) noexcept { return ceil_div(tiling.tile_elems, 64); }
  static std::int64_t bytes_for(const Tiling& tiling) noexcept { return 8 * words_of(tiling) * tiling.tiles; }

  // Puts n marks at bit `at` of a tile's words. What comes first in the tile is put first.
  static void put(std::uint64_t* tile_words, std::int64_t at, const std::uint64_t* marks, std::int64_t n) noexcept {
    std::uint64_t* to = tile_words + at / 64;
    const auto shift = static_cast<int>(at % 64);
    const std::int64_t words = ceil_div(n, 64);
    if (shift == 0) {
      for (std::int64_t w = 0; w < words; ++w) to[w] = marks[w];
      return;
    }
    for (std::int64_t w = 0; w < words; ++w) {
      to[w] |= marks[w] << shift;
      // Past the end of this word: only then has the tile another one.
      if (shift + std::min<std::int64_t>(64, n - 64 * w) > 64) to[w + 1] = marks[w] >> (64 - shift);
    }
  }

 private:
  std::int64_t tile_elems_ = 1;
  std::int64_t words_ = 0;
  std::vector<std::uint64_t> marks_;
};

}  // namespace crucible
