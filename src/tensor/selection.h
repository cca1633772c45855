// Exact selection by magnitude in bounded memory: which elements are the first K of a tensor in the order (|x| descending, index
// ascending)? Two counting passes find the magnitude at the cut. The second also notes the values that each tile has near the cut, as
// long as they are few, which they are where many are equal; where a tile has more, a third pass counts the elements of exactly the cut's
// magnitude.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

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
  std::uint32_t coarse_bucket() const noexcept { return bucket_; }
  void see_fine(std::span<const std::uint64_t> counts) noexcept;
  // Do elements of the cut's magnitude fall on both sides?
  bool needs_ties() const noexcept { return take_equal_ > 0 && take_equal_ < equal_; }
  std::uint32_t magnitude() const noexcept { return magnitude_; }
  // Elements of the cut's magnitude per tile, in tile order.
  void see_ties(std::span<const std::uint64_t> per_tile);

  // How many elements of the cut's magnitude may still be taken in a tile. Valid after the passes above.
  std::int64_t ties_to_take(std::int64_t tile) const noexcept;
  simd::MagnitudeCut in_tile(std::int64_t tile) const noexcept { return {magnitude_, ties_to_take(tile)}; }

 private:
  std::int64_t take_;
  std::uint32_t bucket_ = 0;
  std::int64_t above_ = 0;            // elements in higher coarse buckets
  std::uint32_t magnitude_ = 0;       // of the cut
  std::int64_t take_equal_ = 0;       // how many of exactly this magnitude are taken
  std::int64_t equal_ = 0;            // how many there are
  std::vector<std::int64_t> before_;  // ties in earlier tiles
};

// Several cuts through the magnitudes of one tensor, found together: the counting passes over the tiles, in the order in which they
// are needed.
class RankCuts {
 public:
  enum class Ties {
    kByIndex,  // elements of a cut's magnitude are taken by lower index
    kNotSeen,  // only the cuts' magnitudes are wanted
  };
  // Cuts after the first takes[i] elements.
  RankCuts(const std::vector<std::int64_t>& takes, std::int64_t tiles, Ties ties);

  std::int64_t count_size(int pass) const noexcept;
  // Pass 0 counts the same for every cut.
  void reduce(int pass, std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) const noexcept;
  // Is one more pass needed?
  bool seal(int pass, std::span<const std::uint64_t> counts) noexcept;

  const RankCut& operator[](std::size_t i) const noexcept { return cuts_[i]; }
  std::size_t size() const noexcept { return cuts_.size(); }
  // Bytes kept for equal magnitudes at most.
  std::int64_t kept_bytes() const noexcept;

 private:
  // Counters of the second pass, for one cut: the fine buckets, then the values of each tile.
  std::int64_t second_size() const noexcept;
  bool notes_values() const noexcept;
  bool ties_from_values(RankCut& cut, std::span<const std::uint64_t> values) const;

  std::vector<RankCut> cuts_;
  std::int64_t tiles_;
  Ties ties_;
};

}  // namespace crucible
