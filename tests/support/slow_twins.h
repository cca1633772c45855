// Element by element what the program does in vectors: the tests compare the two.
#pragma once

#include <cstdint>

#include "tensor/selection.h"

namespace crucible::test {

// Walks a tile in index order and answers for each magnitude whether it lies inside the cut.
class CutWalk {
 public:
  CutWalk(const RankCut& cut, std::int64_t tile) noexcept : CutWalk(cut.in_tile(tile)) {}
  explicit CutWalk(simd::MagnitudeCut cut) noexcept : magnitude_(cut.magnitude), left_(cut.ties) {}
  bool inside(std::uint32_t magnitude) noexcept {
    if (magnitude != magnitude_) return magnitude > magnitude_;
    return left_-- > 0;
  }

 private:
  std::uint32_t magnitude_;
  std::int64_t left_;
};

}  // namespace crucible::test
