// MagPrune inside rows that fit a tile, and inside scopes that do not (a whole tensor, or rows longer than a tile may be).
//
// In a tile each row is drawn from as tensor/ranks.h does. A scope that spans tiles is ranked in windows: each reduce pass gathers the
// magnitudes of as many whole scopes as the budget holds, seal sorts them and keeps one bit per element. A scope larger than the
// window is cut by magnitude, with the help of two counting passes, into parts that fit.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "methods/shared/keep_ramp.h"
#include "methods/shared/sparsifier.h"
#include "methods/shared/tile_marks.h"
#include "simd/random.h"
#include "simd/select.h"
#include "tensor/ranks.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

// How many ranks of a scope of n fall into each tenth: the same for every row.
struct DecileSizes {
  std::array<std::int64_t, kDeciles> elems{};

  DecileSizes() = default;
  explicit DecileSizes(std::int64_t n) {
    for (int d = 0; d < kDeciles; ++d) elems[static_cast<std::size_t>(d)] = decile_begin(d + 1, n) - decile_begin(d, n);
  }
  void add_to(ModelMeasure& m, std::int64_t scopes) const {
    for (std::size_t d = 0; d < kDeciles; ++d) m.decile_elems[d] += elems[d] * scopes;
  }
};

// Where each tenth of n ranks ends.
std::vector<std::int64_t> decile_ends(std::int64_t n) {
  std::vector<std::int64_t> ends;
  for (std::int64_t d = 1; d <= kDeciles; ++d) ends.push_back(decile_begin(static_cast<int>(d), n));
  return ends;
}

class RowMagPrune final : public Sparsifier {
 public:
  explicit RowMagPrune(const MagPruneSpec& spec)
      : row_(spec.tiling.row), tiling_(spec.tiling), ramp_(spec.density, spec.epsilon, row_), key_(spec.key), survivors_(spec.survivors) {
    // Ranking again costs more than a bit per element, where there is room for the bits.
    const std::int64_t need = TileMarks::bytes_for(tiling_);
    if (survivors_ == Survivors::kAsTheyAre && need <= spec.keep_budget_bytes) marks_bytes_ = need;
  }

  void prepare() override {
    plan_ = DecileSizes(ramp_.size());
    std::vector<std::uint64_t> thresholds(static_cast<std::size_t>(row_));
    for (std::int64_t r = 0; r < row_; ++r) thresholds[static_cast<std::size_t>(r)] = ramp_.threshold(r);
    draw_.emplace(thresholds, decile_ends(row_));
    if (marks_bytes_ > 0) marks_ = TileMarks(tiling_);
  }

  const float* apply(const Tile& tile, const float* delta, float* room, ModelMeasure* measure, Scratch& scratch) noexcept override {
    if (const std::uint64_t* marks = mark(tile, delta, measure, scratch)) {
      simd::keep_marked(delta, marks, room, tile.count);
      return room;
    }
    draw_rows(tile, delta, measure, scratch, [&](std::int64_t at, const std::uint64_t* row_marks, std::byte* work) {
      divide(delta + at, draw_->order(delta + at, work), row_marks, room + at);
    });
    return room;
  }
  const std::uint64_t* mark(const Tile& tile, const float* delta, ModelMeasure* measure, Scratch& scratch) noexcept override {
    if (survivors_ != Survivors::kAsTheyAre) return nullptr;
    std::uint64_t* marks = marks_.empty() ? scratch.longs(3, TileMarks::words_of(tiling_)) : marks_.of(tile);
    if (measure == nullptr && !marks_.empty()) return marks;
    draw_rows(tile, delta, measure, scratch,
              [&](std::int64_t at, const std::uint64_t* row_marks, std::byte*) { TileMarks::put(marks, at, row_marks, row_); });
    return marks;
  }
  std::int64_t kept_bytes() const noexcept override { return marks_bytes_ + RankDraw::bytes(row_); }
  std::int64_t scratch_bytes() const noexcept override {
    return row_ * 2 + RankDraw::work_bytes(row_) + 8 * (ceil_div(row_, 64) + TileMarks::words_of(tiling_));
  }
  std::vector<Kernel::Note> notes() const override { return {{"c", ramp_.center()}}; }

 private:
  // Draws from each row and calls use(offset in the tile, its marks, work memory).
  template <typename Use>
  void draw_rows(const Tile& tile, const float* delta, ModelMeasure* measure, Scratch& scratch, const Use& use) noexcept {
    std::uint16_t* upper = scratch.halves(0, row_);
    auto* work = reinterpret_cast<std::byte*>(scratch.bytes(1, RankDraw::work_bytes(row_)));
    std::uint64_t* row_marks = scratch.longs(2, ceil_div(row_, 64));
    std::array<std::int64_t, kDeciles> kept_in{};
    std::int64_t kept = 0, ranked = 0;
    for (std::int64_t at = 0; at < tile.count; at += row_) {
      const RandomDraws draws{upper, key_, static_cast<std::uint64_t>(tile.begin + at)};
      simd::fill_draws(draws.key, draws.first, upper, row_);
      const bool by_tenth = measure != nullptr && is_counted_by_tenth(tile.begin + at, row_, tiling_.elems);
      draw_->draw(delta + at, draws, row_marks, by_tenth ? kept_in.data() : nullptr, work);
      if (measure != nullptr) kept += simd::count_marks(row_marks, row_);
      ranked += by_tenth ? 1 : 0;
      use(at, row_marks, work);
    }
    if (measure == nullptr) return;
    measure->elems += tile.count;
    measure->kept += kept;
    plan_.add_to(*measure, ranked);
    for (std::size_t d = 0; d < kDeciles; ++d) measure->decile_kept[d] += kept_in[d];
  }

  void divide(const float* delta, const std::uint32_t* order, const std::uint64_t* marks, float* kept) const noexcept {
    for (std::int64_t rank = 0; rank < row_; ++rank) {
      const std::uint32_t i = order[rank];
      const bool keep = (marks[i / 64] >> (i % 64) & 1) != 0;
      kept[i] = keep ? static_cast<float>(static_cast<double>(delta[i]) / ramp_.probability(rank)) : 0.0f;
    }
  }

  std::int64_t row_;
  Tiling tiling_;
  KeepRamp ramp_;
  DecileSizes plan_;
  RandomKey key_;
  Survivors survivors_;
  std::optional<RankDraw> draw_;
  TileMarks marks_;
  std::int64_t marks_bytes_ = 0;
};

// A part of the ranking that one pass can settle.
struct Part {
  enum class Kind {
    kScopes,  // whole scopes: elements [begin, end)
    kWindow,  // of one scope, the magnitudes in [low, high]
    kTies,    // of one scope, all elements of magnitude low: more than a window holds
  };
  Kind kind = Kind::kScopes;
  std::int64_t begin = 0, end = 0;  // elements
  std::uint32_t low = 0, high = 0;  // magnitudes
  std::int64_t first_rank = 0;
};

class ScopeMagPrune final : public Sparsifier {
 public:
  explicit ScopeMagPrune(const MagPruneSpec& spec)
      : spec_(spec),
        scope_(spec.whole_tensor ? spec.tiling.elems : spec.tiling.row),
        ramp_(spec.density, spec.epsilon, scope_),
        window_(window_for(spec)) {}

  void prepare() override {
    plan_ = DecileSizes(ramp_.size());
    gathered_.reserve(static_cast<std::size_t>(window_));
    if (divides()) {
      ranks_.assign(static_cast<std::size_t>(spec_.tiling.elems), 0);
    } else {
      marks_ = TileMarks(spec_.tiling);
    }
    if (scope_ > window_) {
      phase_ = Phase::kCoarse;
      return;
    }
    const std::int64_t step = window_ / scope_ * scope_;
    for (std::int64_t b = 0; b < spec_.tiling.elems; b += step) {
      parts_.push_back({Part::Kind::kScopes, b, std::min(spec_.tiling.elems, b + step), 0, 0, 0});
    }
  }

  Next first() const noexcept override { return Next::kReduce; }

  std::int64_t count_size(int) const noexcept override {
    switch (phase_) {
      case Phase::kCoarse: return kCoarseBuckets;
      case Phase::kFine: return static_cast<std::int64_t>(heavy_.size()) * kFineBuckets;
      case Phase::kCountTies: return spec_.tiling.chunks();
      case Phase::kSettleTies: return kDeciles;
      case Phase::kGather: return 0;
    }
    return 0;
  }

  void reduce(int, const Tile& tile, const float* delta, std::uint64_t* counts, Scratch&) noexcept override {
    const std::int64_t from = std::max(tile.begin, current().begin);
    const std::int64_t to = std::min(tile.begin + tile.count, current().end);
    if (from >= to) return;
    const float* x = delta + (from - tile.begin);
    const std::int64_t n = to - from;
    switch (phase_) {
      case Phase::kCoarse: return count_coarse(x, n, counts);
      case Phase::kFine:
        for (std::size_t h = 0; h < heavy_.size(); ++h) count_fine(x, n, heavy_[h], counts + static_cast<std::int64_t>(h) * kFineBuckets);
        return;
      case Phase::kCountTies: counts[spec_.tiling.chunk_of(tile)] += count_equal(x, n, current().low); return;
      case Phase::kSettleTies: return settle_ties(before_[static_cast<std::size_t>(spec_.tiling.chunk_of(tile))], x, from, n, counts);
      case Phase::kGather: return gather(x, from, n);
    }
  }

  Next seal(int, std::span<const std::uint64_t> counts) noexcept override {
    switch (phase_) {
      case Phase::kCoarse: return plan_windows(counts);
      case Phase::kFine: return refine_windows(counts);
      case Phase::kCountTies:
        before_.assign(counts.size(), 0);
        for (std::size_t i = 1; i < counts.size(); ++i) before_[i] = before_[i - 1] + static_cast<std::int64_t>(counts[i - 1]);
        phase_ = Phase::kSettleTies;
        return Next::kReduce;
      case Phase::kSettleTies:
        for (std::size_t d = 0; d < kDeciles; ++d) kept_in_[d] += static_cast<std::int64_t>(counts[d]);
        return advance();
      case Phase::kGather: settle_window(); return advance();
    }
    return Next::kMap;
  }

  const float* apply(const Tile& tile, const float* delta, float* room, ModelMeasure* measure, Scratch&) noexcept override {
    if (divides()) {
      for (std::int64_t i = 0; i < tile.count; ++i) {
        const std::uint32_t after = ranks_[static_cast<std::size_t>(tile.begin + i)];
        room[i] = after == 0 ? 0.0f : static_cast<float>(static_cast<double>(delta[i]) / ramp_.probability(std::int64_t{after} - 1));
      }
    } else {
      simd::keep_marked(delta, marks_.of(tile), room, tile.count);
    }
    if (measure == nullptr) return room;
    measure->elems += tile.count;
    if (tile.index != 0) return room;  // the ranking was counted as a whole: its first tile reports it
    plan_.add_to(*measure, spec_.tiling.elems / scope_);
    for (std::size_t d = 0; d < kDeciles; ++d) {
      measure->decile_kept[d] += kept_in_[d];
      measure->kept += kept_in_[d];
    }
    return room;
  }

  std::int64_t kept_bytes() const noexcept override { return state_bytes(spec_) + window_ * kBytesPerGathered; }
  std::vector<Kernel::Note> notes() const override { return {{"c", ramp_.center()}}; }

 private:
  enum class Phase { kGather, kCoarse, kFine, kCountTies, kSettleTies };
  struct Gathered {
    std::uint32_t magnitude;
    std::int64_t index;
  };
  static constexpr std::int64_t kBytesPerGathered = sizeof(Gathered);

  // Elements that one pass may hold. The result does not depend on it.
  static std::int64_t window_for(const MagPruneSpec& spec) {
    const std::int64_t room = (spec.keep_budget_bytes - state_bytes(spec)) / kBytesPerGathered;
    return std::min(std::max<std::int64_t>(room, std::int64_t{1} << 16), spec.tiling.elems);
  }
  // A survivor that is divided by its own probability needs its rank in the last pass; otherwise one bit is enough.
  static std::int64_t state_bytes(const MagPruneSpec& spec) {
    return spec.survivors == Survivors::kDividedByProbability ? spec.tiling.elems * 4 : TileMarks::bytes_for(spec.tiling);
  }
  bool divides() const noexcept { return spec_.survivors == Survivors::kDividedByProbability; }

  Part current() const noexcept {
    if (phase_ == Phase::kCoarse || phase_ == Phase::kFine) return {Part::Kind::kWindow, scope_begin_, scope_begin_ + scope_, 0, 0, 0};
    return parts_[part_];
  }

  void gather(const float* x, std::int64_t first, std::int64_t n) noexcept {
    const Part& part = parts_[part_];
    std::vector<Gathered> mine;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint32_t m = magnitude_bits(x[i]);
      if (part.kind == Part::Kind::kScopes || (m >= part.low && m <= part.high)) mine.push_back({m, first + i});
    }
    const std::lock_guard lock(mutex_);
    gathered_.insert(gathered_.end(), mine.begin(), mine.end());
  }

  void keep_if_drawn(std::int64_t index, std::int64_t rank, std::array<std::int64_t, kDeciles>& kept_in) noexcept {
    if (random_draw(spec_.key, static_cast<std::uint64_t>(index)) >= ramp_.threshold(rank)) return;
    if (divides()) {
      ranks_[static_cast<std::size_t>(index)] = static_cast<std::uint32_t>(rank + 1);
    } else {
      marks_.set(index);
    }
    ++kept_in[static_cast<std::size_t>(decile_of(rank, scope_))];
  }

  void settle_window() noexcept {
    const Part& part = parts_[part_];
    const std::int64_t scope = scope_;
    const bool whole = part.kind == Part::Kind::kScopes;
    std::sort(gathered_.begin(), gathered_.end(), [whole, scope](const Gathered& a, const Gathered& b) {
      if (whole && a.index / scope != b.index / scope) return a.index < b.index;
      return a.magnitude != b.magnitude ? a.magnitude < b.magnitude : a.index < b.index;
    });
    for (std::size_t k = 0; k < gathered_.size(); ++k) {
      const auto at = static_cast<std::int64_t>(k);
      keep_if_drawn(gathered_[k].index, whole ? at % scope : part.first_rank + at, kept_in_);
    }
    gathered_.clear();
  }

  // `before`: of the part's ties, those in earlier tiles of the scope. The tiles of a chunk come in order.
  void settle_ties(std::int64_t& before, const float* x, std::int64_t first, std::int64_t n, std::uint64_t* counts) noexcept {
    const Part& part = parts_[part_];
    std::array<std::int64_t, kDeciles> kept_in{};
    for (std::int64_t i = 0; i < n; ++i) {
      if (magnitude_bits(x[i]) == part.low) keep_if_drawn(first + i, part.first_rank + before++, kept_in);
    }
    for (std::size_t d = 0; d < kDeciles; ++d) counts[d] += static_cast<std::uint64_t>(kept_in[d]);
  }

  // Packs ascending runs of counters into windows. `low_of(i)` is the smallest magnitude of counter i, `high_of(i)` the largest.
  template <typename LowOf, typename HighOf, typename TooMany>
  void pack(std::span<const std::uint64_t> counts, std::int64_t& rank, const LowOf& low_of, const HighOf& high_of,
            const TooMany& too_many) {
    std::int64_t held = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const auto here = static_cast<std::int64_t>(counts[i]);
      if (here == 0) continue;
      if (here > window_) {
        held = 0;
        too_many(i, here, rank);
      } else if (held > 0 && held + here <= window_) {
        parts_.back().high = high_of(i);
        held += here;
      } else {
        parts_.push_back({Part::Kind::kWindow, scope_begin_, scope_begin_ + scope_, low_of(i), high_of(i), rank});
        held = here;
      }
      rank += here;
    }
  }

  static std::uint32_t low_of_bucket(std::size_t i) { return static_cast<std::uint32_t>(i) << kCoarseShift; }
  static std::uint32_t high_of_bucket(std::size_t i) { return low_of_bucket(i) | static_cast<std::uint32_t>(kFineBuckets - 1); }

  Next plan_windows(std::span<const std::uint64_t> counts) noexcept {
    coarse_.assign(counts.begin(), counts.end());
    heavy_.clear();
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (static_cast<std::int64_t>(counts[i]) > window_) heavy_.push_back(static_cast<std::uint32_t>(i));
    }
    if (!heavy_.empty()) {
      phase_ = Phase::kFine;
      return Next::kReduce;
    }
    return refine_windows({});
  }

  Next refine_windows(std::span<const std::uint64_t> fine) noexcept {
    parts_.clear();
    part_ = 0;
    std::int64_t rank = 0;
    std::size_t next_heavy = 0;
    pack(coarse_, rank, low_of_bucket, high_of_bucket, [&](std::size_t bucket, std::int64_t, std::int64_t at) {
      const auto counts = fine.subspan(next_heavy++ * static_cast<std::size_t>(kFineBuckets), static_cast<std::size_t>(kFineBuckets));
      const auto magnitude = [bucket](std::size_t k) { return low_of_bucket(bucket) | static_cast<std::uint32_t>(k); };
      pack(counts, at, magnitude, magnitude, [&](std::size_t k, std::int64_t, std::int64_t first) {
        parts_.push_back({Part::Kind::kTies, scope_begin_, scope_begin_ + scope_, magnitude(k), magnitude(k), first});
      });
    });
    return begin_part();
  }

  Next begin_part() noexcept {
    phase_ = parts_[part_].kind == Part::Kind::kTies ? Phase::kCountTies : Phase::kGather;
    return Next::kReduce;
  }

  Next advance() noexcept {
    if (++part_ < parts_.size()) return begin_part();
    scope_begin_ += scope_;
    if (scope_ > window_ && scope_begin_ < spec_.tiling.elems) {
      phase_ = Phase::kCoarse;
      return Next::kReduce;
    }
    gathered_ = {};
    return Next::kMap;
  }

  MagPruneSpec spec_;
  std::int64_t scope_;
  KeepRamp ramp_;
  DecileSizes plan_;
  TileMarks marks_;
  std::vector<std::uint32_t> ranks_;  // 1 + rank of each survivor, where it is needed
  std::int64_t window_;
  Phase phase_ = Phase::kGather;
  std::vector<Part> parts_;
  std::size_t part_ = 0;
  std::int64_t scope_begin_ = 0;
  std::vector<std::uint64_t> coarse_;
  std::vector<std::uint32_t> heavy_;
  std::vector<std::int64_t> before_;  // each chunk, of the ties that are settled
  std::array<std::int64_t, kDeciles> kept_in_{};
  std::mutex mutex_;
  std::vector<Gathered> gathered_;
};

}  // namespace

std::unique_ptr<Sparsifier> make_magprune(const MagPruneSpec& spec) {
  if (spec.density >= 1) return make_keep_all();
  if (spec.density <= 0 || spec.tiling.elems == 0) return make_keep_none();
  if (!spec.whole_tensor && spec.tiling.whole_rows) return std::make_unique<RowMagPrune>(spec);
  CHECK(spec.tiling.elems < (std::int64_t{1} << 32) || spec.survivors == Survivors::kAsTheyAre);
  return std::make_unique<ScopeMagPrune>(spec);
}

}  // namespace crucible
