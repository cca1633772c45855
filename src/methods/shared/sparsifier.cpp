#include "methods/shared/sparsifier.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "simd/ops.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

class KeepAll final : public Sparsifier {
 public:
  void apply(const Tile& tile, const float* delta, float* kept, ModelMeasure* measure, Scratch&) noexcept override {
    std::memcpy(kept, delta, static_cast<std::size_t>(tile.count) * sizeof(float));
    if (measure == nullptr) return;
    measure->elems += tile.count;
    measure->kept += tile.count;
    measure->expected_kept += static_cast<double>(tile.count);
  }
  bool keeps_everything() const noexcept override { return true; }
};

class KeepNone final : public Sparsifier {
 public:
  void apply(const Tile& tile, const float*, float* kept, ModelMeasure* measure, Scratch&) noexcept override {
    std::memset(kept, 0, static_cast<std::size_t>(tile.count) * sizeof(float));
    if (measure != nullptr) measure->elems += tile.count;
  }
};

class Bernoulli final : public Sparsifier {
 public:
  Bernoulli(double density, RandomKey key, Survivors survivors)
      : density_(density), threshold_(static_cast<std::uint64_t>(density * 4294967296.0)), key_(key), survivors_(survivors) {}

  void apply(const Tile& tile, const float* delta, float* kept, ModelMeasure* measure, Scratch& scratch) noexcept override {
    std::uint32_t* random = scratch.words(0, tile.count);
    simd::fill_random(key_, static_cast<std::uint64_t>(tile.begin), random, tile.count);
    const std::int64_t count = simd::keep_below(delta, random, threshold_, kept, tile.count);
    if (survivors_ == Survivors::kDividedByProbability) {
      for (std::int64_t i = 0; i < tile.count; ++i) kept[i] = static_cast<float>(static_cast<double>(kept[i]) / density_);
    }
    if (measure == nullptr) return;
    measure->elems += tile.count;
    measure->kept += count;
    measure->expected_kept += static_cast<double>(tile.count) * density_;
    measure->expected_variance += static_cast<double>(tile.count) * density_ * (1 - density_);
  }
  std::int64_t scratch_bytes() const noexcept override { return kTileElems * 4; }

 private:
  double density_;
  std::uint64_t threshold_;
  RandomKey key_;
  Survivors survivors_;
};

// Entries whose rank by magnitude, from the largest, lies in [skip, skip + keep).
class MagnitudeBand final : public Sparsifier {
 public:
  MagnitudeBand(const Tiling& tiling, std::int64_t skip, std::int64_t keep)
      : keep_(keep),
        elems_(tiling.elems),
        cuts_(skip > 0 ? std::vector{skip + keep, skip} : std::vector{keep}, tiling.tiles, RankCuts::Ties::kByIndex) {}

  Next first() const noexcept override { return Next::kReduce; }
  std::int64_t count_size(int pass) const noexcept override { return cuts_.count_size(pass); }
  void reduce(int pass, const Tile& tile, const float* delta, std::uint64_t* counts, Scratch&) noexcept override {
    cuts_.reduce(pass, tile.index, delta, tile.count, counts);
  }
  Next seal(int pass, std::span<const std::uint64_t> counts) noexcept override {
    return cuts_.seal(pass, counts) ? Next::kReduce : Next::kMap;
  }
  void apply(const Tile& tile, const float* delta, float* kept, ModelMeasure* measure, Scratch&) noexcept override {
    std::int64_t count = 0;
    if (cuts_.size() > 1) {
      CutWalk outer(cuts_[0], tile.index);
      CutWalk inner(cuts_[1], tile.index);
      for (std::int64_t i = 0; i < tile.count; ++i) {
        const std::uint32_t m = magnitude_bits(delta[i]);
        const bool skipped = inner.inside(m);
        const bool keep = outer.inside(m) && !skipped;
        kept[i] = keep ? delta[i] : 0.0f;
        count += keep ? 1 : 0;
      }
    } else {
      count = keep_inside(cuts_[0], tile.index, delta, kept, tile.count);
    }
    if (measure == nullptr) return;
    measure->elems += tile.count;
    measure->kept += count;
    measure->expected_kept += static_cast<double>(keep_) * static_cast<double>(tile.count) / static_cast<double>(elems_);
  }
  std::int64_t kept_bytes() const noexcept override { return cuts_.kept_bytes(); }

 private:
  std::int64_t keep_;
  std::int64_t elems_;
  RankCuts cuts_;  // the outer one, and the inner one where entries are skipped
};

// The same band in each row. Keys order (magnitude descending, index ascending), as the cuts of whole tensors do.
class RowBand final : public Sparsifier {
 public:
  RowBand(std::int64_t row, std::int64_t skip, std::int64_t keep) : row_(row), skip_(skip), keep_(keep) {}

  void apply(const Tile& tile, const float* delta, float* kept, ModelMeasure* measure, Scratch& scratch) noexcept override {
    std::uint64_t* keys = scratch.longs(0, row_);
    for (std::int64_t at = 0; at < tile.count; at += row_) {
      for (std::int64_t i = 0; i < row_; ++i) keys[i] = std::uint64_t{~magnitude_bits(delta[at + i])} << 32 | static_cast<std::uint32_t>(i);
      std::fill_n(kept + at, row_, 0.0f);
      std::nth_element(keys, keys + skip_, keys + row_);
      if (skip_ + keep_ < row_) std::nth_element(keys + skip_, keys + skip_ + keep_, keys + row_);
      for (std::int64_t r = skip_; r < skip_ + keep_; ++r) {
        const auto i = static_cast<std::int64_t>(keys[r] & 0xFFFFFFFFu);
        kept[at + i] = delta[at + i];
      }
    }
    if (measure == nullptr) return;
    const std::int64_t count = tile.count / row_ * keep_;
    measure->elems += tile.count;
    measure->kept += count;
    measure->expected_kept += static_cast<double>(count);
  }
  std::int64_t scratch_bytes() const noexcept override { return row_ * 8; }

 private:
  std::int64_t row_;
  std::int64_t skip_;
  std::int64_t keep_;
};

}  // namespace

std::int64_t keep_inside(const RankCut& cut, std::int64_t tile, const float* x, float* kept, std::int64_t n) noexcept {
  CutWalk walk(cut, tile);
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const bool keep = walk.inside(magnitude_bits(x[i]));
    kept[i] = keep ? x[i] : 0.0f;
    count += keep ? 1 : 0;
  }
  return count;
}

std::unique_ptr<Sparsifier> make_keep_all() { return std::make_unique<KeepAll>(); }
std::unique_ptr<Sparsifier> make_keep_none() { return std::make_unique<KeepNone>(); }
std::unique_ptr<Sparsifier> make_bernoulli(double density, RandomKey key, Survivors survivors) {
  return std::make_unique<Bernoulli>(density, key, survivors);
}
std::unique_ptr<Sparsifier> make_magnitude_band(const Tiling& tiling, std::int64_t skip, std::int64_t keep) {
  if (keep <= 0) return make_keep_none();
  return std::make_unique<MagnitudeBand>(tiling, skip, keep);
}
std::unique_ptr<Sparsifier> make_row_band(const Tiling& tiling, std::int64_t skip, std::int64_t keep) {
  CHECK(tiling.whole_rows);
  if (keep <= 0) return make_keep_none();
  return std::make_unique<RowBand>(tiling.row, skip, keep);
}

}  // namespace crucible
