// SCE (Wan et al. 2024): select the positions where the models differ, calculate a coefficient per model, erase minority signs.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/checked.h"
#include "methods/method.h"
#include "methods/shared/promises.h"
#include "methods/shared/task_arithmetic.h"
#include "methods/shared/tile_marks.h"
#include "simd/blend.h"
#include "simd/ops.h"
#include "simd/select.h"
#include "simd/vote.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

enum class Select { kDeltas, kCoefficients };

struct Global {
  double select_topk = 1.0;
  Select select = Select::kDeltas;
};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::select_topk, "select_topk",
            "share of the positions that are kept, those where the models differ most; 1 and above keep all")
          .at_least(0)
          .neutral(1.0),
      field(&Global::select, "select",
            "deltas: both the coefficients and the merge see the selected positions only (the paper's text); coefficients: the merge "
            "takes the whole task vectors (the authors' code)",
            {{"deltas", {}}, {"coefficients", {}}}),
  };
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

// Scratch slots: spreads, marks, and votes (two).
constexpr int kSpreadSlot = 0;
constexpr int kMarkSlot = 1;
constexpr int kVoteSlot = 2;

constexpr const char* kDiffering = "positions that differ";

class SceKernel final : public Kernel {
 public:
  explicit SceKernel(const KernelSpec& spec)
      : tiling_(spec.tiling),
        share_(spec.global->take(&Global::select_topk)),
        select_(spec.global->take(&Global::select)),
        weights_(spec.models.size()),
        cuts_({.share_of_nonzero = share_,
               .elems = spec.tiling.elems,
               .tiles = spec.tiling.tiles,
               .tile_elems = spec.tiling.tile_elems,
               .chunk_tiles = spec.tiling.chunk_tiles,
               .keep_budget_bytes = spec.keep_budget_bytes}) {
    CHECK(spec.has_base);
    if (!weights_.empty()) phase_ = selects() ? Phase::kSelect : Phase::kWeigh;
    const std::int64_t need = TileMarks::bytes_for(tiling_);
    if (selects() && select_ == Select::kDeltas && need + cuts_.kept_bytes() <= spec.keep_budget_bytes) marks_bytes_ = need;
  }

  void prepare() override {
    if (marks_bytes_ > 0) marks_ = TileMarks(tiling_);
  }

  Next first() const noexcept override { return phase_ == Phase::kMap ? Next::kMap : Next::kReduce; }
  int sum_count(int) const noexcept override { return phase_ == Phase::kWeigh ? static_cast<int>(weights_.size()) : 0; }
  std::int64_t count_size(int) const noexcept override { return phase_ == Phase::kSelect ? cuts_.count_size() : 0; }
  bool wants(const Tile& tile) const noexcept override { return phase_ != Phase::kSelect || cuts_.wants(tile.index); }

  void reduce(int, const Tile& tile, const TileInputs& in, double* sums, std::uint64_t* counts, Measure& measure,
              Scratch& scratch) noexcept override {
    if (phase_ == Phase::kSelect) {
      float* spread = scratch.floats(kSpreadSlot, tile.count);
      simd::spread(in.models, spread, tile.count);
      cuts_.reduce(tile.index, spread, tile.count, counts);
      return;
    }
    const std::uint64_t* marks = selected(tile, in, scratch, Marks::kFirstTime);
    if (marks != nullptr) {
      measure.models[0].elems += tile.count;
      measure.models[0].kept += simd::count_marks(marks, tile.count);
    }
    for (std::size_t i = 0; i < in.models.size(); ++i)
      sums[i] += marks == nullptr ? simd::sum_square_difference(in.models[i], in.base, tile.count)
                                  : simd::marked_square_difference(in.models[i], in.base, marks, tile.count);
  }

  Next seal(int, const Totals& totals) noexcept override {
    if (phase_ == Phase::kSelect) {
      if (cuts_.seal(totals.counts)) return Next::kReduce;
      differing_ = cuts_.nonzero();
      selected_ = cuts_[0].take();
      phase_ = Phase::kWeigh;
      if (selected_ > 0) return Next::kReduce;
      weights_.assign(weights_.size(), 1.0 / static_cast<double>(weights_.size()));
    } else {
      weigh(totals.sums);
    }
    phase_ = Phase::kMap;
    return Next::kMap;
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch& scratch) noexcept override {
    const std::size_t models = in.models.size();
    const bool drops_all = selects() && selected_ == 0 && select_ == Select::kDeltas;
    if (models == 0 || drops_all) {
      std::memcpy(out, in.base, static_cast<std::size_t>(tile.count) * sizeof(float));
    } else {
      const std::uint64_t* marks = select_ == Select::kDeltas ? selected(tile, in, scratch, Marks::kAgain) : nullptr;
      const auto votes = scratch.few<std::int64_t>(kVoteSlot, models);
      const auto lost = scratch.few<std::int64_t>(kVoteSlot + 1, models);
      simd::VoteCounts counts{0, votes, lost};
      constexpr double kSmallestDivisor = 1e-6;
      simd::merge_majority(in.base, in.models, marks, weights_, kSmallestDivisor, out, tile.count, counts);
      measure.sign_conflicts += counts.conflicts;
      for (std::size_t i = 0; i < models; ++i) {
        measure.models[i].votes += votes[i];
        measure.models[i].votes_lost += lost[i];
      }
    }
  }

  std::int64_t kept_bytes() const noexcept override { return selects() ? cuts_.kept_bytes() + marks_bytes_ : 0; }
  std::int64_t scratch_bytes() const noexcept override {
    return selects() ? tiling_.tile_elems * 4 + 8 * TileMarks::words_of(tiling_) + 8 : 0;
  }
  std::vector<Note> notes() const override {
    std::vector<Note> all;
    if (selects() && tiling_.elems > 0)
      all.push_back({"selected share", static_cast<double>(selected_) / static_cast<double>(tiling_.elems)});
    if (selects()) all.push_back({kDiffering, static_cast<double>(differing_)});
    for (std::size_t i = 0; i < weights_.size(); ++i) all.push_back({"eta[" + std::to_string(i) + "]", weights_[i]});
    return all;
  }
  std::string remark() const override {
    if (!selects() || selected_ > 0 || weights_.empty()) return {};
    return select_ == Select::kDeltas ? "select_topk selects no position (the models do not differ, or hardly): the output is the base"
                                      : "select_topk selects no position (the models do not differ, or hardly): all models weigh the same";
  }

 private:
  enum class Phase { kSelect, kWeigh, kMap };

  bool selects() const noexcept { return share_ < 1 && !weights_.empty(); }

  // Shares of the squared norms. Only models that are all equal to the base have no shares.
  void weigh(std::span<const double> squares) noexcept {
    double total = 0;
    for (const double s : squares) total += s;
    const bool usable = total > 0 && std::isfinite(total);
    for (std::size_t i = 0; i < weights_.size(); ++i)
      weights_[i] = usable ? squares[i] / total : 1.0 / static_cast<double>(weights_.size());
  }

  // Marks of the selected positions; null where all are. The pass of the weights selects for the first time.
  enum class Marks { kFirstTime, kAgain };
  const std::uint64_t* selected(const Tile& tile, const TileInputs& in, Scratch& scratch, Marks when) noexcept {
    if (!selects()) return nullptr;
    std::uint64_t* marks = marks_.empty() ? scratch.longs(kMarkSlot, TileMarks::words_of(tiling_)) : marks_.of(tile);
    if (when == Marks::kAgain && !marks_.empty()) return marks;
    float* spread = scratch.floats(kSpreadSlot, tile.count);
    simd::spread(in.models, spread, tile.count);
    simd::MagnitudeCut cut = cuts_[0].in_tile(tile.index);
    simd::MagnitudeCut none;
    simd::mark_band(spread, cut, none, marks, tile.count);
    return marks;
  }

  Tiling tiling_;
  double share_;
  Select select_;
  std::vector<double> weights_;  // eta
  RankCuts cuts_;
  TileMarks marks_;  // what is selected, where there is room to keep it
  std::int64_t marks_bytes_ = 0;
  std::int64_t differing_ = 0;
  std::int64_t selected_ = 0;
  Phase phase_ = Phase::kMap;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<SceKernel>(spec); }

void check(const JobFacts& job, Findings& findings) {
  const double share = job.global->peek(&Global::select_topk);
  const bool merges_all = job.global->peek(&Global::select) == Select::kCoefficients;
  if (job.models.empty() || share >= 1) return;
  if (job.models.size() == 1) {
    findings.notice(merges_all ? "select_topk has no effect with one model" : "select_topk below 1 with one model: the output is the base",
                    "positions are selected by how much the models differ");
  } else if (share == 0) {
    findings.notice(merges_all ? "select_topk is 0 for some tensors: all models weigh the same there"
                               : "select_topk is 0 for some tensors: there the output is the base");
  }
}

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note> notes, Promises& out) {
  const auto note = std::find_if(notes.begin(), notes.end(), [](const Kernel::Note& n) { return n.name == kDiffering; });
  if (note == notes.end()) return;
  const auto planned = share_of(job.global->peek(&Global::select_topk), static_cast<std::int64_t>(note->value));
  out.push_back(Promise::exact("select_topk", -1, "positions selected, of those where the models differ",
                               static_cast<double>(measure.models[0].kept), static_cast<double>(planned), note->value));
}

}  // namespace

const Method& method_sce() {
  static const Method method = {
      .name = "sce",
      .title = "SCE",
      .summary =
          "Selects the positions where the models differ most, weighs each model by the energy it has there, and erases minority signs.",
      .formula = R"(delta_i = x_i - base
d_i = delta_i at the trunc(select_topk * z) positions of largest variance over the models, the rest 0
      (z positions have a variance; equal variances by lower index; select_topk >= 1: d_i = delta_i)
eta_i = ||d_i||^2 / sum_j ||d_j||^2   (all equal where the sum is 0)
e_i = d_i, or delta_i with select: coefficients
m_i = 1 where e_i has the sign of sum_j e_j (zero counts as +), else 0
out = base + sum_i eta_i m_i e_i / max(sum_i eta_i m_i, 1e-6))",
      .deviations =
          R"(The paper's text selects before both later steps, its released code for the coefficients only: select: coefficients.
mergekit writes a tensor of wrong shape where no position is selected (D4: models that do not differ, one model, few elements); here that is the base, with a remark.
mergekit makes the coefficients equal where the mean squares add up to less than 1e-6, which is so for most fine-tuned models (D5); here only where they add up to 0.
mergekit takes the variances in the tensors' type (D32) and adds the models in an order that varies between runs (D60).)",
      .paper = "arXiv 2408.07990",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kOrderDoesNotMatter, Law::kScaleEquivariant,
               Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"a tenth of the positions", R"(merge_method: sce
base_model: ./base
models:
- model: ./model_a
- model: ./model_b
- model: ./model_c
parameters: {select_topk: 0.1}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = check,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
