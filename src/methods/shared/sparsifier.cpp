#include "methods/shared/sparsifier.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "methods/shared/tile_marks.h"
#include "simd/random.h"
#include "simd/select.h"
#include "tensor/marks.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

class KeepAll final : public Sparsifier {
 public:
  const float* apply(const Tile& tile, const float* delta, float*, ModelMeasure* measure, Scratch&) noexcept override {
    if (measure == nullptr) return delta;
    measure->elems += tile.count;
    measure->kept += tile.count;
    return delta;
  }
  bool keeps_everything() const noexcept override { return true; }
};

class KeepNone final : public Sparsifier {
 public:
  const float* apply(const Tile& tile, const float*, float* room, ModelMeasure* measure, Scratch&) noexcept override {
    std::memset(room, 0, static_cast<std::size_t>(tile.count) * sizeof(float));
    if (measure != nullptr) measure->elems += tile.count;
    return room;
  }
};

class Bernoulli final : public Sparsifier {
 public:
  explicit Bernoulli(const BernoulliSpec& spec) : spec_(spec), threshold_(static_cast<std::uint64_t>(spec.density * 4294967296.0)) {
    const std::int64_t need = TileMarks::bytes_for(spec.tiling);
    if (spec.survivors == Survivors::kAsTheyAre && need <= spec.keep_budget_bytes) marks_bytes_ = need;
  }

  void prepare() override {
    if (marks_bytes_ > 0) marks_ = TileMarks(spec_.tiling);
  }
  const float* apply(const Tile& tile, const float* delta, float* room, ModelMeasure* measure, Scratch& scratch) noexcept override {
    simd::keep_marked(delta, draw(tile, measure, scratch), room, tile.count);
    if (spec_.survivors == Survivors::kAsTheyAre) return room;
    for (std::int64_t i = 0; i < tile.count; ++i) room[i] = static_cast<float>(static_cast<double>(room[i]) / spec_.density);
    return room;
  }
  const std::uint64_t* mark(const Tile& tile, const float*, ModelMeasure* measure, Scratch& scratch) noexcept override {
    return spec_.survivors == Survivors::kAsTheyAre ? draw(tile, measure, scratch) : nullptr;
  }
  std::int64_t kept_bytes() const noexcept override { return marks_bytes_; }
  std::int64_t scratch_bytes() const noexcept override { return spec_.tiling.tile_elems * 2 + 2 * TileMarks::words_of(spec_.tiling) * 8; }

 private:
  const std::uint64_t* draw(const Tile& tile, ModelMeasure* measure, Scratch& scratch) noexcept {
    std::uint64_t* marks = marks_.empty() ? scratch.longs(1, TileMarks::words_of(spec_.tiling)) : marks_.of(tile);
    if (measure == nullptr && !marks_.empty()) return marks;
    std::uint16_t* upper = scratch.halves(0, tile.count);
    std::uint64_t* equal = scratch.longs(2, TileMarks::words_of(spec_.tiling));
    const RandomDraws draws{upper, spec_.key, static_cast<std::uint64_t>(tile.begin)};
    simd::fill_draws(draws.key, draws.first, upper, tile.count);
    std::int64_t count = simd::mark_below(upper, threshold_, marks, equal, tile.count);
    for_each_mark(equal, tile.count, [&](std::int64_t i) {
      if (!draws.below(i, threshold_)) return;
      marks[i / 64] |= std::uint64_t{1} << (i % 64);
      ++count;
    });
    if (measure == nullptr) return marks;
    measure->elems += tile.count;
    measure->kept += count;
    return marks;
  }

  BernoulliSpec spec_;
  std::uint64_t threshold_;
  TileMarks marks_;
  std::int64_t marks_bytes_ = 0;
};

// Entries whose rank by magnitude, from the largest, lies in [skip, skip + keep).
class MagnitudeBand final : public Sparsifier {
 public:
  MagnitudeBand(const Tiling& tiling, std::int64_t skip, std::int64_t keep, std::int64_t keep_budget_bytes)
      : cuts_({.takes = skip > 0 ? std::vector{skip + keep, skip} : std::vector{keep},
               .elems = tiling.elems,
               .tiles = tiling.tiles,
               .tile_elems = tiling.tile_elems,
               .chunk_tiles = tiling.chunk_tiles,
               .keep_budget_bytes = keep_budget_bytes}) {}

  Next first() const noexcept override { return Next::kReduce; }
  std::int64_t count_size(int) const noexcept override { return cuts_.count_size(); }
  bool wants(const Tile& tile) const noexcept override { return cuts_.wants(tile.index); }
  void reduce(int, const Tile& tile, const float* delta, std::uint64_t* counts, Scratch&) noexcept override {
    cuts_.reduce(tile.index, delta, tile.count, counts);
  }
  Next seal(int, std::span<const std::uint64_t> counts) noexcept override { return cuts_.seal(counts) ? Next::kReduce : Next::kMap; }
  const float* apply(const Tile& tile, const float* delta, float* room, ModelMeasure* measure, Scratch&) noexcept override {
    simd::MagnitudeCut outer = cuts_[0].in_tile(tile.index);
    simd::MagnitudeCut inner;
    if (cuts_.size() > 1) inner = cuts_[1].in_tile(tile.index);
    const std::int64_t count = simd::keep_band(delta, outer, inner, room, tile.count);
    if (measure == nullptr) return room;
    measure->elems += tile.count;
    measure->kept += count;
    return room;
  }
  std::int64_t kept_bytes() const noexcept override { return cuts_.kept_bytes(); }

 private:
  RankCuts cuts_;  // the outer one, and the inner one where entries are skipped
};

// The same band in each row. Keys order (magnitude descending, index ascending), as the cuts of whole tensors do.
class RowBand final : public Sparsifier {
 public:
  RowBand(std::int64_t row, std::int64_t skip, std::int64_t keep) : row_(row), skip_(skip), keep_(keep) {}

  const float* apply(const Tile& tile, const float* delta, float* room, ModelMeasure* measure, Scratch& scratch) noexcept override {
    std::uint64_t* keys = scratch.longs(0, row_);
    for (std::int64_t at = 0; at < tile.count; at += row_) {
      for (std::int64_t i = 0; i < row_; ++i) keys[i] = std::uint64_t{~magnitude_bits(delta[at + i])} << 32 | static_cast<std::uint32_t>(i);
      std::fill_n(room + at, row_, 0.0f);
      std::nth_element(keys, keys + skip_, keys + row_);
      if (skip_ + keep_ < row_) std::nth_element(keys + skip_, keys + skip_ + keep_, keys + row_);
      for (std::int64_t r = skip_; r < skip_ + keep_; ++r) {
        const auto i = static_cast<std::int64_t>(keys[r] & 0xFFFFFFFFu);
        room[at + i] = delta[at + i];
      }
    }
    if (measure == nullptr) return room;
    measure->elems += tile.count;
    measure->kept += tile.count / row_ * keep_;
    return room;
  }
  std::int64_t scratch_bytes() const noexcept override { return row_ * 8; }

 private:
  std::int64_t row_;
  std::int64_t skip_;
  std::int64_t keep_;
};

}  // namespace

std::unique_ptr<Sparsifier> make_keep_all() { return std::make_unique<KeepAll>(); }
std::unique_ptr<Sparsifier> make_keep_none() { return std::make_unique<KeepNone>(); }
std::unique_ptr<Sparsifier> make_bernoulli(const BernoulliSpec& spec) { return std::make_unique<Bernoulli>(spec); }
std::unique_ptr<Sparsifier> make_magnitude_band(const Tiling& tiling, std::int64_t skip, std::int64_t keep,
                                                std::int64_t keep_budget_bytes) {
  if (keep <= 0) return make_keep_none();
  return std::make_unique<MagnitudeBand>(tiling, skip, keep, keep_budget_bytes);
}
std::unique_ptr<Sparsifier> make_row_band(const Tiling& tiling, std::int64_t skip, std::int64_t keep) {
  CHECK(tiling.whole_rows);
  if (keep <= 0) return make_keep_none();
  return std::make_unique<RowBand>(tiling.row, skip, keep);
}

}  // namespace crucible
