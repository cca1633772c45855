#include "methods/shared/task_arithmetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/fault.h"
#include "methods/shared/global_trim.h"
#include "methods/shared/task_twin.h"
#include "simd/ops.h"
#include "simd/select.h"
#include "simd/vote.h"

namespace crucible::task_arithmetic {
namespace {

constexpr int kTwinSlot = kSparsifierSlots;
constexpr int kListSlot = kSparsifierSlots + 1;
constexpr int kVoteSlot = kSparsifierSlots + 2;  // and the next
constexpr int kKeptSlot = kSparsifierSlots + 4;  // and one more per model

class TaskArithmeticKernel final : public Kernel {
 public:
  TaskArithmeticKernel(const KernelSpec& spec, const Design& design)
      : election_(design.election),
        tile_elems_(spec.tiling.tile_elems),
        elems_(spec.tiling.elems),
        lambda_(spec.global->take(&Global::lambda)),
        normalize_(spec.global->take(&Global::normalize)) {
    const bool can_rescale = spec.global->table().find("rescale").has_value();
    const Rescale rescale = can_rescale ? spec.global->take(&Global::rescale) : Rescale::kNone;
    const auto declares = [&spec](const char* name) { return spec.global->table().find(name).has_value(); };
    if (declares("elect")) counts_winners_ = spec.global->take(&Global::elect) == Elect::kPaper;
    if (counts_winners_ && spec.survey != nullptr) zero_is_plus_ = static_cast<const GlobalTrim&>(*spec.survey).zero_is_plus();
    // Only task vectors are ranked. A job that has none takes the scope all the same: the parameter does reach this arithmetic.
    if (spec.models.empty() && declares("rank_scope")) static_cast<void>(spec.global->take(&Global::rank_scope));
    if (spec.models.empty() && declares("trim_scope")) static_cast<void>(spec.global->take(&Global::trim_scope));
    for (std::size_t i = 0; i < spec.models.size(); ++i) {
      weights_.push_back(spec.models[i].take(&Model::weight));
      sparsifiers_.push_back(design.sparsify == nullptr ? make_keep_all() : design.sparsify(spec, i, rescale));
      restores_norm_ = restores_norm_ || (rescale == Rescale::kL1 && !sparsifiers_.back()->keeps_everything());
      waiting_.push_back(sparsifiers_.back()->first() == Next::kReduce);
    }
    if (planted(Fault::kWeightOfOtherModel) && !weights_.empty()) std::rotate(weights_.begin(), weights_.begin() + 1, weights_.end());
    if (planted(Fault::kLambdaIgnored)) lambda_ = 1;
    if (planted(Fault::kNormalizeIgnored)) normalize_ = !normalize_;
    scales_.assign(weights_.size(), 1.0);
    signed_scales_ = weights_;
    votes_.assign(weights_.size(), 1.0);
    if (!counts_winners_) votes_ = weights_;
    if (spec.audit != nullptr && !weights_.empty()) {
      twin_.emplace(*spec.audit, design);
      twin_->see_zero_side(zero_is_plus_);
    }
    if (std::none_of(waiting_.begin(), waiting_.end(), [](bool w) { return w; })) phase_ = after_selection();
  }

  void prepare() override {
    for (const auto& s : sparsifiers_) s->prepare();
  }

  Next first() const noexcept override { return phase_ == Phase::kMap ? Next::kMap : Next::kReduce; }

  InputForm input_form() const noexcept override { return InputForm::kTaskVectors; }
  int sum_count(int) const noexcept override { return phase_ == Phase::kNorms ? static_cast<int>(2 * weights_.size()) : 0; }
  std::int64_t count_size(int) const noexcept override {
    std::int64_t size = 0;
    if (phase_ == Phase::kSelect) {
      for (std::size_t i = 0; i < sparsifiers_.size(); ++i) size += counters_of(i);
    }
    return size;
  }

  bool wants(const Tile& tile) const noexcept override {
    if (phase_ != Phase::kSelect) return true;
    for (std::size_t i = 0; i < sparsifiers_.size(); ++i) {
      if (looks_at(i, tile)) return true;
    }
    return false;
  }

  void reduce(int pass, const Tile& tile, const TileInputs& in, double* sums, std::uint64_t* counts, Measure& measure,
              Scratch& scratch) noexcept override {
    for (std::size_t i = 0; i < sparsifiers_.size(); ++i) {
      const float* delta = in.task_vectors[i];
      if (phase_ == Phase::kSelect) {
        if (looks_at(i, tile)) sparsifiers_[i]->reduce(pass, tile, delta, counts, scratch);
        counts += counters_of(i);
        continue;
      }
      const simd::MarkedNorms norms = norms_of(*sparsifiers_[i], tile, delta, measure.models[i], scratch);
      sums[2 * i] += norms.all;
      sums[2 * i + 1] += norms.marked;
    }
  }

  Next seal(int pass, const Totals& totals) noexcept override {
    if (phase_ == Phase::kNorms) {
      std::vector<double> factors(scales_.size(), 1.0);
      norms_.assign(totals.sums.begin(), totals.sums.end());
      for (std::size_t i = 0; i < scales_.size(); ++i) {
        const double before = totals.sums[2 * i];
        const double after = totals.sums[2 * i + 1];
        if (before > 0 && after > 0) factors[i] = before / after;
      }
      if (!planted(Fault::kRescaleSkipped)) scales_ = factors;
      for (std::size_t i = 0; i < scales_.size(); ++i) signed_scales_[i] = weights_[i] * scales_[i];
      if (twin_) twin_->see_norms(std::move(factors));
      phase_ = Phase::kMap;
      measured_ = true;
      return Next::kMap;
    }
    std::size_t at = 0;
    bool more = false;
    for (std::size_t i = 0; i < sparsifiers_.size(); ++i) {
      if (!waiting_[i]) continue;
      const auto size = static_cast<std::size_t>(counters_of(i, pass));
      waiting_[i] = sparsifiers_[i]->seal(pass, totals.counts.subspan(at, size)) == Next::kReduce;
      at += size;
      more = more || waiting_[i];
    }
    pass_ = pass + 1;
    if (!more) phase_ = after_selection();
    return phase_ == Phase::kMap ? Next::kMap : Next::kReduce;
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch& scratch) noexcept override {
    const std::size_t models = weights_.size();
    if (models == 0) {
      std::memcpy(out, in.base, static_cast<std::size_t>(tile.count) * sizeof(float));
      return;
    }
    const std::span<const float*> kept = scratch.few<const float*>(kListSlot, models);
    for (std::size_t i = 0; i < models; ++i) {
      float* room = scratch.floats(kKeptSlot + static_cast<int>(i), tile.count);
      kept[i] = sparsifiers_[i]->apply(tile, in.task_vectors[i], room, measured_ ? nullptr : &measure.models[i], scratch);
      if (tile.index == 0 && !norms_.empty()) {
        measure.models[i].whole_l1_before += norms_[2 * i];
        measure.models[i].whole_l1_after += scales_[i] * norms_[2 * i + 1];
      }
    }
    combine(tile, in.base, kept, out, measure, scratch);
    if (twin_) twin_->check(tile, elems_, in, kept, scales_, out, measure, scratch, kTwinSlot);
  }

  std::int64_t kept_bytes() const noexcept override {
    std::int64_t bytes = 0;
    for (const auto& s : sparsifiers_) bytes += s->kept_bytes();
    return bytes;
  }
  std::int64_t scratch_bytes() const noexcept override {
    std::int64_t bytes = 0;
    for (const auto& s : sparsifiers_) bytes = std::max(bytes, s->scratch_bytes());
    return bytes + static_cast<std::int64_t>(1 + sparsifiers_.size()) * tile_elems_ * 4;
  }
  std::vector<Note> notes() const override {
    std::vector<Note> all;
    for (std::size_t i = 0; i < sparsifiers_.size(); ++i) {
      for (Note& n : sparsifiers_[i]->notes()) all.push_back({fmt_index(n.name, i), n.value});
      if (restores_norm_) all.push_back({fmt_index("scale", i), scales_[i]});
    }
    return all;
  }

 private:
  enum class Phase { kSelect, kNorms, kMap };

  static std::string fmt_index(const std::string& name, std::size_t i) { return name + "[" + std::to_string(i) + "]"; }
  Phase after_selection() const noexcept { return restores_norm_ ? Phase::kNorms : Phase::kMap; }
  bool looks_at(std::size_t i, const Tile& tile) const noexcept { return waiting_[i] && sparsifiers_[i]->wants(tile); }
  std::int64_t counters_of(std::size_t i) const noexcept { return counters_of(i, pass_); }
  std::int64_t counters_of(std::size_t i, int pass) const noexcept { return waiting_[i] ? sparsifiers_[i]->count_size(pass) : 0; }

  // The L1 norms of a task vector's tile: of all entries, and of those that are kept.
  static simd::MarkedNorms norms_of(Sparsifier& sparsifier, const Tile& tile, const float* delta, ModelMeasure& measure,
                                    Scratch& scratch) noexcept {
    if (const std::uint64_t* marks = sparsifier.mark(tile, delta, &measure, scratch)) return simd::marked_norms(delta, marks, tile.count);
    const float* kept = sparsifier.apply(tile, delta, scratch.floats(kKeptSlot, tile.count), &measure, scratch);
    return {simd::sum_abs(delta, tile.count), simd::sum_abs(kept, tile.count)};
  }

  void combine(const Tile& tile, const float* base, std::span<const float* const> kept, float* out, Measure& measure,
               Scratch& scratch) const noexcept {
    const std::size_t models = weights_.size();
    if (election_ == Election::kNone) {
      double divisor = 0;
      for (const double w : weights_) divisor += w;
      if (!normalize_ || std::abs(divisor) < kNoDivisor) divisor = 1;
      simd::weighted_sum(base, kept, signed_scales_, lambda_, divisor, out, tile.count);
      return;
    }
    const auto votes = scratch.few<std::int64_t>(kVoteSlot, models);
    const auto lost = scratch.few<std::int64_t>(kVoteSlot + 1, models);
    simd::VoteCounts counts{0, votes, lost};
    simd::elect(base, kept, {signed_scales_, votes_, normalize_, lambda_, zero_is_plus_}, out, tile.count, counts);
    measure.sign_conflicts += counts.conflicts;
    for (std::size_t i = 0; i < models; ++i) {
      measure.models[i].votes += votes[i];
      measure.models[i].votes_lost += lost[i];
    }
  }

  task_arithmetic::Election election_;
  std::int64_t tile_elems_;
  std::int64_t elems_;
  double lambda_;
  bool normalize_;
  bool restores_norm_ = false;
  bool counts_winners_ = false;  // the divisor of normalize, instead of their weights
  bool zero_is_plus_ = true;
  bool measured_ = false;  // the sparsifiers reported in the norm pass
  Phase phase_ = Phase::kSelect;
  int pass_ = 0;
  std::vector<double> weights_;
  std::vector<double> votes_;  // what a winner adds to the divisor
  std::vector<double> scales_;
  std::vector<double> signed_scales_;  // times the weights
  std::vector<double> norms_;          // L1 of each task vector, before sparsifying and after, where they were taken
  std::vector<std::unique_ptr<Sparsifier>> sparsifiers_;
  std::vector<bool> waiting_;
  std::optional<TaskTwin> twin_;
};

}  // namespace

Field normalize_field(bool default_value) {
  return field(&Global::normalize, "normalize", "divide the merged task vector by the sum of the weights that went into it")
      .with_default(default_value)
      .neutral(false);
}
Field lambda_field() { return field(&Global::lambda, "lambda", "scale of the merged task vector").neutral(1.0); }
Field rescale_field(Rescale default_value, bool per_element_exists) {
  std::vector<Choice> choices = {{"l1", {"true"}}, {"none", {"false"}}};
  if (per_element_exists) choices.push_back({"per_element", {}});
  return field(&Global::rescale, "rescale",
               per_element_exists ? "l1: one factor per tensor that restores the L1 norm of the task vector; per_element: divide each "
                                    "survivor by its own keep probability (the paper's form)"
                                  : "l1: one factor per tensor that restores the L1 norm of the task vector",
               std::move(choices))
      .with_default(static_cast<int>(default_value))
      .neutral(static_cast<int>(Rescale::kNone));
}
Field rank_scope_field(RankScope default_value) {
  return field(&Global::rank_scope, "rank_scope", "among which entries magnitudes are ranked: the row (last axis), or the whole tensor",
               {{"row", {}}, {"tensor", {}}})
      .with_default(static_cast<int>(default_value));
}
Field trim_scope_field() {
  return field(&Global::trim_scope, "trim_scope",
               "among which entries the largest are kept: those of a tensor, or those of the whole model (the paper's form)",
               {{"tensor", {}}, {"model", {}}});
}
Field elect_field() {
  return field(
      &Global::elect, "elect",
      "mergekit: a zero sum counts as +, and normalize divides by the winners' weights; paper: a zero sum takes the sign that most "
      "elements of the merge elect, and normalize divides by the number of winners (needs trim_scope: model)",
      {{"mergekit", {}}, {"paper", {}}});
}
Field weight_field() { return field(&Model::weight, "weight", "weight of the model's task vector").symbol("w_i").required().neutral(1.0); }
Field density_field() {
  return field(&Model::density, "density", "share of the task vector's entries that is kept").range(0, 1).symbol("d_i").neutral(1.0);
}
Field gamma_field() {
  return field(&Model::gamma, "gamma", "share of the entries, the largest, that is dropped as outliers").range(0, 1).neutral(0.0);
}
Field epsilon_field() {
  return field(&Model::epsilon, "epsilon",
               "half width of the ramp of keep probabilities: the smallest magnitude is kept with density - epsilon, the largest with "
               "density + epsilon")
      .range(0, 1)
      .neutral(0.0)
      .default_is("0.15, or half of window");
}
Field window_field() {
  return field(&Model::window, "window", "full width of the ramp, as in the paper; instead of epsilon, never beside it")
      .range(0, 2)
      .neutral(0.0)
      .default_is("2 * epsilon");
}

std::unique_ptr<Kernel> make_kernel(const KernelSpec& spec, const Design& design) {
  CHECK(spec.has_base);
  return std::make_unique<TaskArithmeticKernel>(spec, design);
}

}  // namespace crucible::task_arithmetic
