#include "methods/shared/sparsify_stages.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/fault.h"
#include "base/text_util.h"
#include "methods/shared/keep_ramp.h"

namespace crucible::task_arithmetic {

double take_density(const KernelSpec& spec, std::size_t i) {
  const double density = spec.models[i].take(&Model::density);
  if (planted(Fault::kDensityWrong)) return 0.9 * density;
  if (planted(Fault::kDensityOfOtherModel)) return spec.models[(i + 1) % spec.models.size()].take(&Model::density);
  return density;
}

std::unique_ptr<Sparsifier> drop_at_random(const KernelSpec& spec, std::size_t i, Rescale rescale) {
  const double density = take_density(spec, i);
  if (density >= 1) return make_keep_all();
  if (density <= 0) return make_keep_none();
  BernoulliSpec drop;
  drop.density = density;
  drop.survivors = rescale == Rescale::kPerElement ? Survivors::kDividedByProbability : Survivors::kAsTheyAre;
  drop.key = spec.random_keys[i];
  drop.tiling = spec.tiling;
  // Only norms take a pass of their own.
  if (rescale == Rescale::kL1) drop.keep_budget_bytes = spec.keep_budget_bytes / static_cast<std::int64_t>(spec.models.size());
  return make_bernoulli(drop);
}

std::unique_ptr<Sparsifier> keep_band(const KernelSpec& spec, std::size_t i, Rescale) {
  const double density = take_density(spec, i);
  const double gamma = spec.models[i].take(&Model::gamma);
  // One row is the whole tensor; there the passes over tiles serve rows of any length.
  const bool rows = spec.global->take(&Global::rank_scope) == RankScope::kRow && spec.tiling.row < spec.tiling.elems;
  if (density >= 1) return make_keep_all();
  const std::int64_t n = rows ? spec.tiling.row : spec.tiling.elems;
  const std::int64_t keep = share_of(density, n);
  const std::int64_t skip = std::min(share_of(gamma, n), n - keep);
  return rows ? make_row_band(spec.tiling, skip, keep) : make_magnitude_band(spec.tiling, skip, keep, spec.keep_budget_bytes);
}

void check_band(const JobFacts& job, Findings& findings) {
  const std::int64_t elems = elem_count(*job.shape);
  const bool rows = job.global->peek(&Global::rank_scope) == RankScope::kRow && row_length(*job.shape) < elems;
  if (rows && row_length(*job.shape) > kLongestRow) {
    findings.error(fmt::format("rank_scope: row takes rows of at most {} entries", kLongestRow), "use rank_scope: tensor");
  }
  const std::int64_t n = rows ? row_length(*job.shape) : elems;
  for (const Params& model : job.models) {
    const double density = model.peek(&Model::density);
    const double gamma = model.peek(&Model::gamma);
    if (density < 1 && density + gamma > 1) {
      findings.notice("density + gamma is above 1: gamma is cut so that density holds", "mergekit 0.1.4 does the same without a word");
    }
    if (density < 1 && share_of(gamma, n) == 0) {
      findings.notice("gamma drops no outlier of some tensors (gamma * n rounds to 0): the largest entries are kept there",
                      "mergekit 0.1.4 sets the whole task vector to zero in this case (D2)");
    }
  }
}

double half_width(double epsilon, double window, const Params& model) { return model.given(&Model::window) ? window / 2 : epsilon; }

std::unique_ptr<Sparsifier> prune_by_rank(const KernelSpec& spec, std::size_t i, Rescale rescale) {
  const Params& model = spec.models[i];
  MagPruneSpec prune;
  prune.density = take_density(spec, i);
  const double epsilon = planted(Fault::kEpsilonNotTaken) ? 0.15 : model.take(&Model::epsilon);
  prune.epsilon = half_width(epsilon, model.take(&Model::window), model);
  if (planted(Fault::kEpsilonDropped)) prune.epsilon = 0;
  if (planted(Fault::kRampSwapped)) prune.epsilon = -prune.epsilon;
  prune.whole_tensor = spec.global->take(&Global::rank_scope) == RankScope::kTensor;
  prune.survivors = rescale == Rescale::kPerElement ? Survivors::kDividedByProbability : Survivors::kAsTheyAre;
  prune.key = spec.random_keys[i];
  prune.tiling = spec.tiling;
  prune.keep_budget_bytes = spec.keep_budget_bytes / static_cast<std::int64_t>(spec.models.size());
  return make_magprune(prune);
}

void check_ramp(const JobFacts& job, Findings& findings) {
  for (std::size_t i = 0; i < job.models.size(); ++i) {
    const Params& model = job.models[i];
    const double density = model.peek(&Model::density);
    if (model.given(&Model::epsilon) && model.given(&Model::window)) {
      findings.error(fmt::format("both epsilon and window are given for {}", job.model_names[i]),
                     "window is the full width of the ramp, epsilon half of it: keep one");
      continue;
    }
    const bool beyond_tile = job.global->peek(&Global::rank_scope) == RankScope::kTensor || row_length(*job.shape) > kLongestRow;
    if (beyond_tile && job.global->peek(&Global::rescale) == Rescale::kPerElement && elem_count(*job.shape) >= (std::int64_t{1} << 32)) {
      findings.error("rescale: per_element with ranks over a whole tensor holds at most 2^32 elements",
                     "use rank_scope: row, or rescale: l1");
    }
    const double epsilon = half_width(model.peek(&Model::epsilon), model.peek(&Model::window), model);
    if (density >= 1 && (model.given(&Model::epsilon) || model.given(&Model::window))) {
      findings.notice("epsilon has no effect where density is 1: nothing is dropped");
    }
    if (density <= 0 || density >= 1 || (density - epsilon >= 0 && density + epsilon <= 1)) continue;
    // The limit of long rows stands for all: the exact center depends on the row length in the last digits only.
    const KeepRamp ramp(density, epsilon, 1 << 16);
    findings.notice(
        fmt::format("density {} with epsilon {} asks for keep probabilities from {} to {}: the ramp is cut at 0 and 1 and centred on "
                    "c = {:.3f} so that the share kept is exactly {}; {:.0f} % of each row is always kept{}",
                    render_number(density), render_number(epsilon), render_number(density - epsilon), render_number(density + epsilon),
                    ramp.center(), render_number(density), 100 * ramp.share_always_kept(),
                    ramp.share_never_kept() > 0 ? fmt::format(" and {:.0f} % never", 100 * ramp.share_never_kept()) : std::string()),
        "mergekit 0.1.4 refuses this: it wants density + epsilon < 1 and density - epsilon > 0");
  }
}

}  // namespace crucible::task_arithmetic
