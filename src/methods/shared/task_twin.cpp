#include "methods/shared/task_twin.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "methods/shared/spot.h"
#include "simd/ops.h"

namespace crucible::task_arithmetic {
namespace {

bool has(const FieldTable& table, std::string_view name) { return table.find(name).has_value(); }

}  // namespace

std::vector<std::string_view> TaskTwin::alternatives(std::size_t models, const FieldTable& global) {
  std::vector<std::string_view> names = {"lambda", "normalize", "weight"};
  if (models > 1) names.emplace_back("weight");
  if (has(global, "rescale")) names.emplace_back("rescale");
  if (has(global, "elect")) names.emplace_back("elect");
  return names;
}

TaskTwin::TaskTwin(const Audit& audit, const Design& design) : election_(design.election) {
  const FieldTable& table = audit.global->table();
  plan_.lambda = audit.global->peek(&Global::lambda);
  plan_.normalize = audit.global->peek(&Global::normalize);
  plan_.restores_norm = has(table, "rescale") && audit.global->peek(&Global::rescale) == Rescale::kL1;
  plan_.counts_winners = has(table, "elect") && audit.global->peek(&Global::elect) == Elect::kPaper;
  for (const auto& model : audit.models) plan_.weights.push_back(model->peek(&Model::weight));
  factors_.assign(plan_.weights.size(), 1.0);

  const auto other = [this](auto change) {
    Formula f = plan_;
    change(f);
    others_.push_back(std::move(f));
  };
  other([](Formula& f) { f.lambda = 1; });
  other([](Formula& f) { f.normalize = !f.normalize; });
  other([](Formula& f) { std::fill(f.weights.begin(), f.weights.end(), 1.0); });
  if (plan_.weights.size() > 1) other([](Formula& f) { std::rotate(f.weights.begin(), f.weights.begin() + 1, f.weights.end()); });
  if (has(table, "rescale")) other([](Formula& f) { f.restores_norm = !f.restores_norm; });
  if (has(table, "elect")) other([](Formula& f) { f.counts_winners = !f.counts_winners; });
}

std::optional<double> TaskTwin::element(const Formula& f, const float* base, std::span<const float* const> kept,
                                        std::int64_t i) const noexcept {
  const auto value = [&](std::size_t m) { return f.weights[m] * (f.restores_norm ? factors_[m] : 1.0) * static_cast<double>(kept[m][i]); };
  double sum = 0, size = 0, all_weights = 0;
  for (std::size_t m = 0; m < kept.size(); ++m) {
    sum += value(m);
    size += std::abs(value(m));
    all_weights += f.weights[m];
  }
  double merged = sum, divisor = std::abs(all_weights) < kNoDivisor ? 1 : all_weights;
  if (election_ == Election::kBySum) {
    if (std::abs(sum) < 1e-9 * size) return std::nullopt;
    // Without a branch: signs look random, and so does who wins.
    const double turn = std::copysign(1.0, sum == 0 && !zero_is_plus_ ? -1.0 : sum);
    merged = divisor = 0;
    for (std::size_t m = 0; m < kept.size(); ++m) {
      const double v = value(m);
      const bool wins = turn * v > 0;
      merged += wins ? v : 0.0;
      divisor += wins ? (f.counts_winners ? 1.0 : f.weights[m]) : 0.0;
    }
  }
  double most = 0;
  for (const double w : f.weights) most += std::abs(w);
  if (f.normalize && most > 0 && std::abs(divisor) < 1e-7 * most && divisor != 0) return std::nullopt;
  if (f.normalize && divisor != 0) merged /= divisor;
  return static_cast<double>(base[i]) + f.lambda * merged;
}

bool TaskTwin::agrees(const Formula& f, const float* base, std::span<const float* const> kept, std::int64_t i, float out) const noexcept {
  const auto expected = element(f, base, kept, i);
  return !expected || rounds_to(*expected, std::abs(static_cast<double>(base[i])), out);
}

void TaskTwin::check(const Tile& tile, std::int64_t tensor_elems, const TileInputs& in, std::span<const float* const> kept,
                     std::span<const double> scales, const float* out, Measure& measure, Scratch& scratch, int slot) const noexcept {
  spot_check(tile, tensor_elems, others_.size(), measure,
             [&](std::size_t k, std::int64_t i) { return agrees(k == 0 ? plan_ : others_[k - 1], in.base, kept, i, out[i]); });
  float* survivors = scratch.floats(slot, tile.count);
  for_each_sample(tile.begin, tile.count, tensor_elems, [&](std::int64_t at, std::int64_t n) {
    for (std::size_t m = 0; m < kept.size(); ++m) {
      const float* here = kept[m] + at;
      ModelMeasure& of = measure.models[m];
      const float* delta = in.task_vectors[m] + at;
      const double l1_kept = simd::sum_abs(here, n);
      of.l1_before += simd::sum_abs(delta, n);
      of.l1_kept += l1_kept;
      of.l1_after += scales[m] * l1_kept;
      of.l2_before += simd::sum_squares(delta, n);
      of.l2_after += scales[m] * scales[m] * simd::sum_squares(here, n);
      // By masks: which entries are kept looks random to branch prediction.
      for (std::int64_t i = 0; i < n; ++i)
        survivors[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(delta[i]) & (here[i] != 0 ? ~0u : 0u));
      of.l1_survivors += simd::sum_abs(survivors, n);
    }
  });
}

}  // namespace crucible::task_arithmetic
