#include "methods/kernel.h"

#include <algorithm>

#include "base/checked.h"

namespace crucible {

Tile Tiling::tile(std::int64_t index) const noexcept {
  const std::int64_t begin = index * tile_elems;
  return {index, begin, std::min(tile_elems, elems - begin)};
}

Tiling make_tiling(const Shape& shape, Grain grain) {
  Tiling t;
  t.elems = elem_count(shape);
  t.row = std::max<std::int64_t>(row_length(shape), 1);
  t.whole_rows = grain == Grain::kRow && t.row <= kLongestRow;
  t.tile_elems = kTileElems;
  // Whole rows, and still a multiple of 64 elements where rows allow it, so that tiles never share a word of a bit mask.
  if (t.whole_rows) {
    const std::int64_t rows = std::max<std::int64_t>(1, kTileElems / t.row);
    t.tile_elems = (rows >= 64 ? rows / 64 * 64 : rows) * t.row;
  }
  t.tiles = ceil_div(t.elems, t.tile_elems);
  return t;
}

void ModelMeasure::add(const ModelMeasure& o) {
  elems += o.elems;
  kept += o.kept;
  for (std::size_t d = 0; d < kDeciles; ++d) {
    decile_elems[d] += o.decile_elems[d];
    decile_kept[d] += o.decile_kept[d];
    decile_expected[d] += o.decile_expected[d];
  }
  expected_kept += o.expected_kept;
  expected_variance += o.expected_variance;
  l1_before += o.l1_before;
  l1_after += o.l1_after;
  votes += o.votes;
  votes_lost += o.votes_lost;
  delta_square += o.delta_square;
}

void Measure::add(const Measure& o) {
  if (models.size() < o.models.size()) models.resize(o.models.size());
  for (std::size_t i = 0; i < o.models.size(); ++i) models[i].add(o.models[i]);
  elems += o.elems;
  sign_conflicts += o.sign_conflicts;
  out_delta_square += o.out_delta_square;
  nonfinite += o.nonfinite;
}

}  // namespace crucible
