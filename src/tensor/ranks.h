// Random draws that depend on magnitude ranks inside a row, without a sort of the row.
//
// A row's elements are counted by keys, the upper bits of their magnitudes; a second walk gives each element a place among those of its
// key, in index order. Where a key stands for one magnitude that place is the rank. Where it stands for several, the place is off by
// less than the key's number of elements, and only an element whose draw lies near its threshold can be decided wrongly: the
// elements of its key are then sorted. Differences of 16-bit numbers have few bits, so most of their keys stand for one magnitude.
//
// Where nobody asks for the number of draws by rank, 128 keys of equal width and the first eight bits of a draw decide most elements:
// the draw is below the thresholds of all ranks that the element's key stands for, or above them. Sixteen bits decide most of the others,
// and the rest are ranked one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "simd/select.h"

namespace crucible {

class RankDraw {
 public:
  // For rows of thresholds.size() elements, 2^31 at most. The element of rank r (0 is the smallest magnitude; equal ones by lower index)
  // is drawn where its draw is below thresholds[r]; thresholds never fall, and 2^32 draws always. Draws are counted in groups of
  // ranks, 16 at most: group g holds the ranks from group_ends[g - 1] to group_ends[g] - 1, the last one all that are left.
  RankDraw(const std::vector<std::uint64_t>& thresholds, const std::vector<std::int64_t>& group_ends);

  // Of one for such rows.
  static constexpr std::int64_t bytes(std::int64_t row) noexcept { return row * (8 + 2); }
  // Memory of one call, aligned to 8 bytes.
  static std::int64_t work_bytes(std::int64_t row) noexcept;

  // Marks (as simd/select.h does) the drawn elements of a row, and adds their numbers to drawn_in, one for each group, unless that is
  // null: without them most elements need no rank. Thread-safe.
  void draw(const float* row, const RandomDraws& draws, std::uint64_t* marks, std::int64_t* drawn_in, std::byte* work) const noexcept;
  // The elements of a row in the order of their ranks, in `work`. Thread-safe.
  const std::uint32_t* order(const float* row, std::byte* work) const noexcept;

 private:
  struct Row;
  struct Halves;

  void draw_short_row(const Row& row) const noexcept;
  bool draw_by_key(const Row& row) const noexcept;
  void settle_by_counting(const Row& row, std::size_t number) const noexcept;
  void settle_by_half(const Row& row, const Halves& halves, std::size_t number) const noexcept;
  void draw_long_row(const Row& row) const noexcept;
  void put(const Row& row, std::uint32_t rank, std::uint32_t element) const noexcept;

  std::vector<std::uint64_t> thresholds_;
  std::vector<std::uint16_t> upper_thresholds_;  // of rank r at r + 1, the upper 16 of 32 bits, all set for 2^32; 0 at both ends
  std::vector<std::uint32_t> bounds_;            // the first rank of each group but the first
  simd::RankLine line_;                          // about the thresholds
  std::uint64_t margin_ = 0;                     // between line and thresholds, at most, in units of the line
  std::uint64_t steepest_ = 0;                   // the largest step between two thresholds
};

}  // namespace crucible
