// Exact selection by magnitude in bounded memory: which elements are the first K of a tensor in the order (|x| descending, index
// ascending)? A sample of the tiles tells about where the cut lies; one pass over all tiles then counts what lies above a window around
// that place and keeps the values inside, which decide. Where the window misses the cut, or the values are too many, counting passes find
// it: by the upper bits of the magnitudes, then by the lower bits of the one bucket, and where many different values lie near the
// cut, by a count of the elements of exactly its magnitude. The result is the same.
//
// Tiles are small, so what is kept of a pass is kept for chunks of tiles, or for groups of chunks where there are very many.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/checked.h"
#include "simd/select.h"

namespace crucible {

// The magnitude of a float as an integer that sorts the same way. NaN sorts above infinity.
inline std::uint32_t magnitude_bits(float x) noexcept { return std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu; }

inline constexpr int kCoarseShift = 15;  // 65,536 coarse buckets by the upper bits of the magnitude
inline constexpr std::int64_t kCoarseBuckets = 1 << (31 - kCoarseShift);
inline constexpr std::int64_t kFineBuckets = 1 << kCoarseShift;

void count_coarse(const float* x, std::int64_t n, std::uint64_t* counts) noexcept;                      // kCoarseBuckets
void count_fine(const float* x, std::int64_t n, std::uint32_t bucket, std::uint64_t* counts) noexcept;  // kFineBuckets, of one bucket
std::uint64_t count_equal(const float* x, std::int64_t n, std::uint32_t magnitude) noexcept;

// The cut after the first `take` elements.
class RankCut {
 public:
  explicit RankCut(std::int64_t take) : take_(take) {}

  void see_coarse(std::span<const std::uint64_t> counts) noexcept;
  // Instead: the coarse bucket of the cut, and how many elements lie in higher ones.
  void see_bucket(std::uint32_t bucket, std::int64_t above) noexcept;
  std::int64_t take() const noexcept { return take_; }
  std::uint32_t coarse_bucket() const noexcept { return bucket_; }
  void see_fine(std::span<const std::uint64_t> counts) noexcept;
  // Do elements of the cut's magnitude fall on both sides?
  bool needs_ties() const noexcept { return take_equal_ > 0 && take_equal_ < equal_; }
  std::uint32_t magnitude() const noexcept { return magnitude_; }
  // Elements of the cut's magnitude in each of some consecutive tiles (or groups of tiles), from `first` on; `before`: in those before.
  // Finds the one that takes the last.
  void see_ties(std::span<const std::uint64_t> each, std::int64_t first = 0, std::int64_t before = 0) noexcept;
  std::int64_t last_tile() const noexcept { return last_tile_; }
  std::int64_t ties_before_last() const noexcept { return take_equal_ - ties_of_last_; }

  // How many elements of the cut's magnitude may still be taken in a tile. Valid after the passes above.
  std::int64_t ties_to_take(std::int64_t tile) const noexcept;
  simd::MagnitudeCut in_tile(std::int64_t tile) const noexcept { return {magnitude_, ties_to_take(tile)}; }

 private:
  std::int64_t take_;
  std::uint32_t bucket_ = 0;
  std::int64_t above_ = 0;       // elements in higher coarse buckets
  std::uint32_t magnitude_ = 0;  // of the cut
  std::int64_t take_equal_ = 0;  // how many of exactly this magnitude are taken
  std::int64_t equal_ = 0;       // how many there are
  // Earlier tiles take all elements of the magnitude, this one some, later ones none. -1: all tiles are alike.
  std::int64_t last_tile_ = -1;
  std::int64_t ties_of_last_ = 0;
};

// A magnitude, and how often it was met.
struct ValueCount {
  std::uint32_t value = 0;
  std::uint32_t count = 0;
};

// How many of n are kept: trunc(share * n) as mergekit counts, within [0, n].
std::int64_t share_of(double share, std::int64_t n) noexcept;

// Several cuts through the magnitudes of one tensor, found together in passes over its tiles.
class RankCuts {
 public:
  enum class Ties {
    kByIndex,  // elements of a cut's magnitude are taken by lower index
    kNotSeen,  // only the cuts' magnitudes are wanted
  };
  struct Spec {
    std::vector<std::int64_t> takes = {};         // cut i comes after the first takes[i] elements
    std::optional<double> share_of_nonzero = {};  // instead: one cut, after this share of the elements that are not 0
    std::int64_t elems = 0;
    std::int64_t tiles = 0;
    std::int64_t tile_elems = 0;   // of a tile at most
    std::int64_t chunk_tiles = 1;  // the tiles of a chunk are reduced one after another, in order
    Ties ties = Ties::kByIndex;
    std::int64_t keep_budget_bytes = 0;  // of values around the cuts; with less than they need there is one pass more
  };
  explicit RankCuts(Spec spec);

  // Does the pass look at this tile? It may be left out of the pass if not, and is not counted in any case.
  bool wants(std::int64_t tile) const noexcept;
  std::int64_t count_size() const noexcept;
  // Thread-safe between chunks.
  void reduce(std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) noexcept;
  // Is one more pass needed?
  bool seal(std::span<const std::uint64_t> counts) noexcept;

  const RankCut& operator[](std::size_t i) const noexcept { return cuts_[i]; }
  std::size_t size() const noexcept { return cuts_.size(); }
  // Elements that are not 0, where the cut is a share of them. Known after the last pass.
  std::int64_t nonzero() const noexcept { return nonzero_; }
  // Bytes kept between passes at most.
  std::int64_t kept_bytes() const noexcept;
  // Bytes of the counters of any pass.
  static std::int64_t most_counter_bytes(std::int64_t cuts, std::int64_t tiles) noexcept;

 private:
  enum class Stage {
    kSample,    // upper bits, in some tiles
    kWindow,    // what lies above the windows, and the values inside
    kCoarse,    // upper bits
    kFine,      // lower bits of one bucket a cut
    kTies,      // elements of exactly a cut's magnitude in each group of tiles
    kTieTiles,  // ... and in each tile of the group that takes the last
  };
  // Consecutive coarse buckets around the place where a cut should lie.
  struct Window {
    std::uint32_t first = 0, last = 0;
    struct alignas(kCacheLine) Chunk {  // threads that count neighbouring chunks would wait for each other's line
      std::vector<ValueCount> values;   // of one tile after another, those of a tile in no order
      bool too_many = false;            // to be kept: they were counted
    };
    std::vector<Chunk> chunks;
    std::vector<std::uint32_t> ends;                                                   // of each tile's values in those of its chunk
    std::int64_t counters() const noexcept { return 2 + std::int64_t{last - first}; }  // what lies above, and each bucket
    std::uint32_t low() const noexcept { return first << kCoarseShift; }
    std::uint32_t high() const noexcept { return last << kCoarseShift | static_cast<std::uint32_t>(kFineBuckets - 1); }
  };

  std::int64_t window_bytes() const noexcept;
  // Counters of the second counting pass, for one cut: the fine buckets, then the values of each chunk.
  std::int64_t second_size() const noexcept;
  bool notes_values() const noexcept { return spec_.ties == Ties::kByIndex && group() == spec_.chunk_tiles; }
  bool ties_from_values(RankCut& cut, std::span<const std::uint64_t> values) const;

  void reduce_window(Window& window, std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) noexcept;
  void reduce_fine(const RankCut& cut, std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) const noexcept;
  void see_zeros(std::uint64_t zeros) noexcept;
  Stage place_windows(std::span<const std::uint64_t> counts) noexcept;
  // The stage after the windows; none where they decided everything.
  std::optional<Stage> see_windows(std::span<const std::uint64_t> counts) noexcept;
  void settle(RankCut& cut, const Window& window) const;
  std::optional<Stage> see_fine(std::span<const std::uint64_t> counts) noexcept;
  std::optional<Stage> see_ties(std::span<const std::uint64_t> counts) noexcept;
  std::int64_t chunks() const noexcept { return ceil_div(spec_.tiles, spec_.chunk_tiles); }
  std::int64_t chunk_elems() const noexcept { return spec_.tile_elems * spec_.chunk_tiles; }
  // Tiles that a sample takes together.
  std::int64_t sampled_tiles() const noexcept { return ceil_div(spec_.chunk_tiles, std::int64_t{4}); }
  // Tiles whose ties are counted together, and their number.
  std::int64_t group() const noexcept;
  std::int64_t groups() const noexcept { return ceil_div(spec_.tiles, group()); }

  Spec spec_;
  Stage stage_ = Stage::kCoarse;
  std::vector<RankCut> cuts_;
  std::vector<Window> windows_;
  std::int64_t nonzero_ = 0;
};

}  // namespace crucible
