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
  t.chunk_tiles = std::max<std::int64_t>(1, kChunkElems / t.tile_elems);
  return t;
}

void Histogram::add(const Histogram& o) noexcept {
  for (std::size_t k = 0; k < counts.size(); ++k) counts[k] += o.counts[k];
  zeros += o.zeros;
}

std::uint64_t Histogram::total() const noexcept {
  std::uint64_t all = zeros;
  for (const std::uint64_t c : counts) all += c;
  return all;
}

namespace {

void add_all(AlignedVector<double>& to, const AlignedVector<double>& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] += from[i];
}

}  // namespace

void Sketch::add(const Sketch& o) {
  elems += o.elems;
  add_all(gram, o.gram);
  base_square += o.base_square;
  out_square += o.out_square;
  base_out += o.base_out;
  add_all(input_square, o.input_square);
  add_all(input_out, o.input_out);
  if (histograms.size() < o.histograms.size()) histograms.resize(o.histograms.size());
  for (std::size_t i = 0; i < o.histograms.size(); ++i) histograms[i].add(o.histograms[i]);
}

void ModelMeasure::add(const ModelMeasure& o) {
  elems += o.elems;
  kept += o.kept;
  for (std::size_t d = 0; d < kDeciles; ++d) {
    decile_elems[d] += o.decile_elems[d];
    decile_kept[d] += o.decile_kept[d];
  }
  votes += o.votes;
  votes_lost += o.votes_lost;
  l1_before += o.l1_before;
  l1_survivors += o.l1_survivors;
  l1_kept += o.l1_kept;
  l1_after += o.l1_after;
  l2_before += o.l2_before;
  l2_after += o.l2_after;
  whole_l1_before += o.whole_l1_before;
  whole_l1_after += o.whole_l1_after;
}

void SpotCheck::add(const SpotCheck& o) {
  seen += o.seen;
  wrong += o.wrong;
  if (explained.size() < o.explained.size()) explained.resize(o.explained.size());
  for (std::size_t i = 0; i < o.explained.size(); ++i) explained[i] += o.explained[i];
}

void Measure::add(const Measure& o) {
  if (models.size() < o.models.size()) models.resize(o.models.size());
  for (std::size_t i = 0; i < o.models.size(); ++i) models[i].add(o.models[i]);
  elems += o.elems;
  sign_conflicts += o.sign_conflicts;
  nonfinite += o.nonfinite;
  saturated += o.saturated;
  spot.add(o.spot);
  sketch.add(o.sketch);
}

}  // namespace crucible
