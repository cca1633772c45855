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

void TaskTwin::see(const Formula& f, const float* base, std::span<const float* const> kept, std::int64_t i, std::int64_t n,
                   const float* out, bool* agrees) const noexcept {
  // Element by element, but in loops that hold no branch: signs look random, and so does who wins.
  double sum[kSpotElems] = {}, size[kSpotElems] = {}, merged[kSpotElems] = {}, divisor[kSpotElems] = {};
  double all_weights = 0, all_sizes = 0;
  const auto scale_of = [&](std::size_t m) { return f.weights[m] * (f.restores_norm ? factors_[m] : 1.0); };
  for (std::size_t m = 0; m < kept.size(); ++m) {
    const double scale = scale_of(m);
    const float* x = kept[m] + i;
    for (std::int64_t e = 0; e < n; ++e) {
      const double v = scale * static_cast<double>(x[e]);
      sum[e] += v;
      size[e] += std::abs(v);
    }
    all_weights += f.weights[m];
    all_sizes += std::abs(f.weights[m]);
  }
  const bool elects = election_ == Election::kBySum;
  if (elects) {
    double side[kSpotElems];  // 1 or -1
    const double of_zero = zero_is_plus_ ? 1.0 : -1.0;
    for (std::int64_t e = 0; e < n; ++e) side[e] = sum[e] == 0 ? of_zero : std::copysign(1.0, sum[e]);
    for (std::size_t m = 0; m < kept.size(); ++m) {
      const double scale = scale_of(m);
      const double vote = f.counts_winners ? 1.0 : f.weights[m];
      const float* x = kept[m] + i;
      for (std::int64_t e = 0; e < n; ++e) {
        const double v = side[e] * (scale * static_cast<double>(x[e]));
        merged[e] += v > 0 ? v : 0.0;
        divisor[e] += v > 0 ? vote : 0.0;
      }
    }
    for (std::int64_t e = 0; e < n; ++e) merged[e] *= side[e];
  } else {
    std::copy_n(sum, n, merged);
    std::fill_n(divisor, n, std::abs(all_weights) < kNoDivisor ? 1 : all_weights);
  }
  const double tie = elects ? 1e-9 : 0;                         // of the sizes
  const double cancelled = f.normalize ? 1e-7 * all_sizes : 0;  // of a divisor
  double excess[kSpotElems];
  for (std::int64_t e = 0; e < n; ++e) {
    const double by = !f.normalize || divisor[e] == 0 ? 1.0 : divisor[e];
    const double b = static_cast<double>(base[i + e]);
    const double over = rounding_excess(b + f.lambda * (merged[e] / by), std::abs(b), out[i + e]);
    const double unless_tie = std::abs(sum[e]) < tie * size[e] ? 0.0 : over;
    excess[e] = std::abs(by) < cancelled && divisor[e] != 0 ? 0.0 : unless_tie;
  }
  for (std::int64_t e = 0; e < n; ++e) agrees[e] = !(excess[e] > 0);
}

void TaskTwin::check(const Tile& tile, std::int64_t tensor_elems, const TileInputs& in, std::span<const float* const> kept,
                     std::span<const double> scales, const float* out, Measure& measure, Scratch& scratch, int slot) const noexcept {
  if (!has_sample(tile.begin, tile.count, tensor_elems)) return;
  spot_check_blocks(
      tile, tensor_elems, others_.size(), measure,
      [&](std::int64_t at, std::int64_t n, bool* agrees) { see(plan_, in.base, kept, at, n, out, agrees); },
      [&](std::size_t k, std::int64_t i) {
        bool agrees = false;
        see(others_[k], in.base, kept, i, 1, out, &agrees);
        return agrees;
      });
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
