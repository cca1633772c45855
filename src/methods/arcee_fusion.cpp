// Arcee Fusion: takes from the model the parameters that matter most, by how far they moved and how much their row changed.
//
// Where tiles are whole rows, the passes that find the quartiles of the scores take the divergence of a row when they first meet it. Where
// a row spans tiles, three passes (largest values, sums of exponentials, divergences) come before them.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "methods/method.h"
#include "simd/blend.h"
#include "simd/ops.h"
#include "simd/softmax.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

struct Global {};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table;
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

constexpr double kFloor = 1e-8;   // added to every probability
constexpr double kNotTaken = -1;  // in place of a divergence
// Scores are f32, rounded three times, and the threshold is a sum of three of them: what is this close to it, in units of that sum,
// counts as equal. So scores that equal the threshold in exact arithmetic are all treated alike.
constexpr double kRounding = 0x1p-21;

// Scores are multiplied by a power of two before they are rounded to f32, so that small ones do not vanish. Where the largest one is not
// known before the first score is taken, it is this power; the largest must then come to at least 1 and stay finite.
constexpr int kFirstScale = 80;

// Scratch slots.
constexpr int kScoreSlot = 0;
constexpr int kExpSlot = 1;  // and the next

// The element at trunc(q * (n - 1)) in ascending order, for q = 1/4, 1/2, 3/4, is the last of so many from the top.
std::vector<std::int64_t> quartile_takes(std::int64_t n) {
  const std::int64_t last = std::max<std::int64_t>(n - 1, 0);
  return {n - last / 4, n - last / 2, n - last * 3 / 4};
}

// The first of each pair is the model's, the second the base's.
struct RowFacts {
  float largest[2] = {-std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  double sum[2] = {0, 0};  // of the exponentials
};
// The part of a long row that lies in one tile.
struct PartFacts {
  RowFacts row;
  double divergence = 0;
  double distance = 0;  // the largest |x - base|
};

class ArceeFusionKernel final : public Kernel {
 public:
  explicit ArceeFusionKernel(const KernelSpec& spec)
      : tiling_(spec.tiling),
        rows_(spec.tiling.elems / spec.tiling.row),
        rank_pass_(spec.tiling.whole_rows ? 0 : 3),
        keep_budget_bytes_(spec.keep_budget_bytes),
        ranking_(spec.tiling.whole_rows),
        cuts_(new_cuts()) {
    CHECK(spec.has_base && spec.models.size() == 1);
  }

  void prepare() override {
    divergences_.resize(static_cast<std::size_t>(rows_), tiling_.whole_rows ? kNotTaken : 0);
    if (tiling_.whole_rows) {
      peaks_.resize(static_cast<std::size_t>(tiling_.tiles));
    } else {
      row_facts_.resize(static_cast<std::size_t>(rows_));
      parts_.resize(static_cast<std::size_t>(2 * tiling_.tiles));
    }
  }

  Next first() const noexcept override { return Next::kReduce; }
  std::int64_t count_size(int pass) const noexcept override { return pass < rank_pass_ ? 0 : cuts_.count_size(); }
  bool wants(const Tile& tile) const noexcept override { return !ranking_ || cuts_.wants(tile.index); }

  void reduce(int pass, const Tile& tile, const TileInputs& in, double*, std::uint64_t* counts, Measure&,
              Scratch& scratch) noexcept override {
    if (pass < rank_pass_) return see_parts(pass, tile, in, scratch);
    if (tiling_.whole_rows) see_rows(tile, in, scratch);
    cuts_.reduce(tile.index, scores(tile, in, scratch), tile.count, counts);
  }

  Next seal(int pass, const Totals& totals) noexcept override {
    if (pass < rank_pass_) {
      join_parts(pass);
      return pass + 1 < rank_pass_ ? Next::kReduce : rank_below_peak();
    }
    if (cuts_.seal(totals.counts)) return Next::kReduce;
    if (tiling_.whole_rows && peak_ == 0) {  // all tiles have been seen now
      for (const double peak : peaks_) peak_ = std::max(peak_, peak);
      if (!(peak_ * scale_ >= 1 && peak_ * scale_ < 0x1p+127)) return rank_below_peak();
    }
    find_threshold();
    return Next::kMap;
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch&) noexcept override {
    std::int64_t taken = tile.count;
    if (peak_ == 0) {
      std::memcpy(out, in.models[0], static_cast<std::size_t>(tile.count) * sizeof(float));
      if (simd::sum_square_difference(in.models[0], in.base, tile.count) > 0) differs_.store(true, std::memory_order_relaxed);
    } else {
      taken = 0;
      for_each_row(tile, [&](std::size_t row, std::int64_t from, std::int64_t n) {
        taken += simd::take_far(in.models[0] + from, in.base + from, factor(row), limit_, out + from, n);
      });
    }
    taken_.fetch_add(taken, std::memory_order_relaxed);
  }

  std::int64_t kept_bytes() const noexcept override {
    const auto parts = static_cast<std::int64_t>(2 * sizeof(PartFacts));
    const std::int64_t rows = tiling_.whole_rows ? rows_ * 8 + tiling_.tiles * 8
                                                 : rows_ * static_cast<std::int64_t>(8 + sizeof(RowFacts)) + tiling_.tiles * parts;
    return rows + cuts_.kept_bytes();
  }
  std::int64_t scratch_bytes() const noexcept override {
    // Scores, and two times the exponentials of a row.
    return tiling_.tile_elems * 4 + std::min(tiling_.row, tiling_.tile_elems) * 16;
  }
  std::vector<Note> notes() const override {
    std::vector<Note> all;
    if (std::isfinite(threshold_)) all.push_back({"threshold", threshold_ / scale_});
    all.push_back({"share taken", static_cast<double>(taken_.load()) / static_cast<double>(std::max<std::int64_t>(tiling_.elems, 1))});
    return all;
  }
  std::string remark() const override {
    return peak_ == 0 && differs_.load()
               ? "no row has a divergence (rows of one element never have): all scores are 0, so the tensor is the model's"
               : "";
  }

 private:
  // Calls see(row, offset in the tile, length) for each row, or part of one, that the tile holds.
  template <typename See>
  void for_each_row(const Tile& tile, const See& see) const noexcept {
    for (std::int64_t from = 0; from < tile.count;) {
      const std::int64_t row = (tile.begin + from) / tiling_.row;
      const std::int64_t end = std::min((row + 1) * tiling_.row - tile.begin, tile.count);
      see(static_cast<std::size_t>(row), from, end - from);
      from = end;
    }
  }

  RankCuts new_cuts() const {
    return RankCuts({.takes = quartile_takes(tiling_.elems),
                     .elems = tiling_.elems,
                     .tiles = tiling_.tiles,
                     .tile_elems = tiling_.tile_elems,
                     .chunk_tiles = tiling_.chunk_tiles,
                     .ties = RankCuts::Ties::kNotSeen,
                     .keep_budget_bytes = keep_budget_bytes_});
  }

  // Ranks scores that are scaled so that the largest comes close to the largest f32.
  Next rank_below_peak() noexcept {
    if (peak_ == 0) return Next::kMap;  // every score is 0, so all of them are on the threshold
    scale_ = std::ldexp(1.0, 126 - std::ilogb(peak_));
    cuts_ = new_cuts();
    ranking_ = true;
    return Next::kReduce;
  }

  // The exponentials of the model's and of the base's elements, in scratch memory until the next call, and their sums.
  static std::array<const double*, 2> exponentials(const float* const (&x)[2], std::int64_t n, const float (&largest)[2], double (&sums)[2],
                                                   Scratch& scratch) noexcept {
    std::array<const double*, 2> exps{};
    for (int k = 0; k < 2; ++k) {
      double* out = scratch.doubles(kExpSlot + k, n);
      sums[k] = simd::exp_and_sum(x[k], static_cast<double>(largest[k]), out, n);
      exps[static_cast<std::size_t>(k)] = out;
    }
    return exps;
  }
  // Rounding may leave a divergence a little below 0. NaN stays.
  static double not_below_zero(double divergence) noexcept { return divergence < 0 ? 0 : divergence; }

  static double divergence_of_row(const float* const (&x)[2], std::int64_t n, Scratch& scratch) noexcept {
    RowFacts facts{{simd::largest(x[0], n), simd::largest(x[1], n)}, {0, 0}};
    const auto exps = exponentials(x, n, facts.largest, facts.sum, scratch);
    return not_below_zero(simd::divergence(exps[0], facts.sum[0], exps[1], facts.sum[1], kFloor, n));
  }

  // Takes the divergences of a tile's rows, unless an earlier pass has done so.
  void see_rows(const Tile& tile, const TileInputs& in, Scratch& scratch) noexcept {
    double peak = 0;
    bool taken = false;
    for_each_row(tile, [&](std::size_t row, std::int64_t from, std::int64_t n) {
      taken = taken || divergences_[row] != kNotTaken;
      if (taken) return;
      const float* const x[2] = {in.models[0] + from, in.base + from};
      const simd::NearDivergence near = simd::near_divergence(x[0], x[1], kFloor, n);
      divergences_[row] = near.valid ? near.divergence : divergence_of_row(x, n, scratch);
      peak = std::max(peak, divergences_[row] * (near.valid ? static_cast<double>(near.distance) : simd::largest_distance(x[0], x[1], n)));
    });
    if (!taken) peaks_[static_cast<std::size_t>(tile.index)] = peak;
  }

  // A long row meets a tile in one part, and a tile holds parts of two rows at most.
  PartFacts& part_of(std::int64_t tile, std::size_t row) noexcept {
    const auto first = static_cast<std::size_t>(tiling_.tile(tile).begin / tiling_.row);
    return parts_[static_cast<std::size_t>(2 * tile) + (row - first)];
  }

  void see_parts(int pass, const Tile& tile, const TileInputs& in, Scratch& scratch) noexcept {
    for_each_row(tile, [&](std::size_t row, std::int64_t from, std::int64_t n) {
      const float* const x[2] = {in.models[0] + from, in.base + from};
      PartFacts& part = part_of(tile.index, row);
      if (pass == 0) {
        part.row = {{simd::largest(x[0], n), simd::largest(x[1], n)}, {0, 0}};
        part.distance = simd::largest_distance(x[0], x[1], n);
        return;
      }
      const RowFacts& whole = row_facts_[row];
      const auto exps = exponentials(x, n, whole.largest, part.row.sum, scratch);
      if (pass == 2) part.divergence = simd::divergence(exps[0], whole.sum[0], exps[1], whole.sum[1], kFloor, n);
    });
  }

  void join_parts(int pass) noexcept {
    std::vector<double> distances(static_cast<std::size_t>(rows_));
    for (std::int64_t t = 0; t < tiling_.tiles; ++t) {
      for_each_row(tiling_.tile(t), [&](std::size_t row, std::int64_t, std::int64_t) {
        const PartFacts& part = part_of(t, row);
        for (int k = 0; k < 2; ++k) {
          if (pass == 0) row_facts_[row].largest[k] = std::max(row_facts_[row].largest[k], part.row.largest[k]);
          if (pass == 1) row_facts_[row].sum[k] += part.row.sum[k];
        }
        if (pass == 2) divergences_[row] += part.divergence;
        distances[row] = std::max(distances[row], part.distance);
      });
    }
    if (pass < 2) return;
    for (std::size_t row = 0; row < divergences_.size(); ++row) {
      divergences_[row] = not_below_zero(divergences_[row]);
      peak_ = std::max(peak_, divergences_[row] * distances[row]);
    }
  }

  // What the distances of a row are multiplied by.
  double factor(std::size_t row) const noexcept { return divergences_[row] * scale_; }

  // The scores of a tile, times scale_.
  const float* scores(const Tile& tile, const TileInputs& in, Scratch& scratch) const noexcept {
    float* out = scratch.floats(kScoreSlot, tile.count);
    for_each_row(tile, [&](std::size_t row, std::int64_t from, std::int64_t n) {
      simd::scaled_distance(in.models[0] + from, in.base + from, factor(row), out + from, n);
    });
    return out;
  }

  void find_threshold() noexcept {
    const auto quartile = [this](std::size_t i) { return static_cast<double>(std::bit_cast<float>(cuts_[i].magnitude())); };
    threshold_ = quartile(1) + 1.5 * (quartile(2) - quartile(0));
    limit_ = threshold_ - kRounding * (quartile(1) + 1.5 * (quartile(2) + quartile(0)));
  }

  Tiling tiling_;
  std::int64_t rows_;
  int rank_pass_;  // the first pass that counts scores
  std::int64_t keep_budget_bytes_;
  bool ranking_;
  RankCuts cuts_;
  std::vector<double> divergences_;  // of each row
  std::vector<double> peaks_;        // the largest score of each tile, where tiles are whole rows
  std::vector<RowFacts> row_facts_;  // where they are not
  std::vector<PartFacts> parts_;     // two for each tile
  double peak_ = 0;                  // the largest score, once all tiles have been seen
  double scale_ = std::ldexp(1.0, kFirstScale);
  double threshold_ = 0;  // times scale_
  double limit_ = 0;
  std::atomic<std::int64_t> taken_{0};
  std::atomic<bool> differs_{false};
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<ArceeFusionKernel>(spec); }

}  // namespace

const Method& method_arcee_fusion() {
  static const Method method = {
      .name = "arcee_fusion",
      .title = "Arcee Fusion",
      .summary = "Takes from the model the parameters that moved far in rows that changed much, and leaves the rest to the base.",
      .formula = R"(P = softmax of each row (last axis) of x, + 1e-8;  Q = the same of base
KL = sum of P ln(P / Q) over the row;  score = |x - base| * KL
q1, q2, q3 = the elements trunc((n - 1) / 4), trunc((n - 1) / 2), trunc((n - 1) * 3 / 4) of the n scores in ascending order
out = x where score >= q2 + 1.5 (q3 - q1), base elsewhere)",
      .deviations =
          R"(mergekit draws two random samples of a million scores for the quartiles of larger tensors, anew in every run (D55); here all scores count.
mergekit computes in the tensors' type (D32): in bf16 the divergences are rounding noise, in f32 about one parameter in a thousand is decided wrongly. Here divergences are right to 2^-20 of themselves, however small; scores are f32, and a score within rounding (2^-21 of the quartiles' sum) of the threshold counts as equal to it, so is taken.
mergekit writes float32 for half-precision inputs unless out_dtype is given (D3), and fails on a tensor without axes; here that is one row.
Where all scores are 0 (rows of one element, models that do not differ) the formula takes the model's tensor; a remark says so where it differs.)",
      .paper = "",
      .base = BaseRule::kRequired,
      .min_models = 1,
      .max_models = 1,
      .grain = Grain::kRow,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kBaseIsFixedPoint, Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"what matters most of a fine-tuned model", R"(merge_method: arcee_fusion
base_model: ./base
models:
- model: ./model_a
dtype: bfloat16
)"}},
      .make_kernel = make,
  };
  return method;
}

}  // namespace crucible
