// TIES-merging (Yadav et al. 2023): trim, elect sign, merge.
#include "methods/shared/global_trim.h"
#include "methods/shared/promises.h"
#include "methods/shared/sparsify_stages.h"
#include "methods/shared/task_arithmetic.h"

namespace crucible {
namespace {

using namespace task_arithmetic;

// k = trunc(density * n) entries of largest magnitude, per tensor or of the whole model.
std::unique_ptr<Sparsifier> trim(const KernelSpec& spec, std::size_t i, Rescale) {
  const double density = take_density(spec, i);
  const bool whole_model = spec.global->take(&Global::trim_scope) == TrimScope::kModel;
  if (density >= 1) return make_keep_all();
  if (!whole_model) return make_magnitude_band(spec.tiling, 0, share_of(density, spec.tiling.elems), spec.keep_budget_bytes);
  // While planning there is no survey, and nothing runs.
  if (spec.survey == nullptr) return make_keep_none();
  return static_cast<const GlobalTrim&>(*spec.survey).sparsifier(spec.job, i);
}

void check(const JobFacts& job, Findings& findings) {
  const bool whole_model = job.global->peek(&Global::trim_scope) == TrimScope::kModel;
  if (job.global->peek(&Global::elect) == Elect::kPaper) {
    if (!whole_model) findings.error("elect: paper needs trim_scope: model", "the paper trims by one threshold over the whole model");
    if (job.global->peek(&Global::rescale) != Rescale::kNone)
      findings.error("elect: paper does not go with rescale", "the paper does not rescale trimmed task vectors: leave rescale out");
  }
  if (whole_model) return;
  for (std::size_t i = 0; i < job.models.size(); ++i) {
    const double density = job.models[i].peek(&Model::density);
    const std::int64_t n = elem_count(*job.shape);
    if (n > 0 && density > 0 && density < 1 && share_of(density, n) == 0) {
      findings.notice("density keeps less than one entry of some small tensors: their task vectors are dropped whole",
                      "mergekit 0.1.4 stops with an AssertionError here (D35)");
    }
  }
}

const FieldTable& global_fields() {
  static const FieldTable table{normalize_field(true), lambda_field(), rescale_field(Rescale::kNone, false), trim_scope_field(),
                                elect_field()};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{weight_field(), density_field()};
  return table;
}

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return make_kernel(spec, {Election::kBySum, trim}); }

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note>, Promises& out) { promise_trim(job, measure, out); }

}  // namespace

const Method& method_ties() {
  static const Method method = {
      .name = "ties",
      .title = "TIES",
      .summary = "Trims each task vector to its largest entries, elects a sign per element, and merges the entries that agree.",
      .formula = R"(delta_i = x_i - base
d_i = the trunc(density * n) entries of delta_i of largest magnitude, per tensor or of the whole model by trim_scope (ties by lower index), the rest 0
W_i = w_i * d_i
s = sum_i W_i;  the winners of an element are the models whose W_i has the sign of s (zero counts as +)
m = sum of the winning W_i,  divided by the sum of their w_i if normalize (0 counts as 1)
out = base + lambda * m)",
      .deviations =
          R"(By default as in mergekit: trimming is per tensor, a zero sum counts as +, and the divisor is the sum of the winners' weights.
The paper's form is trim_scope: model (one threshold over all tensors of a model) with elect: paper (a zero sum takes the sign that most elements of the merge elect; the divisor is the number of winners).
mergekit breaks equal magnitudes arbitrarily and stops where density * n rounds to 0 (D35).)",
      .paper = "arXiv 2306.01708",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .grain = Grain::kElement,
      .random = false,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kZeroWeightIsAbsent,
               Law::kOrderDoesNotMatter, Law::kScaleEquivariant, Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"the largest half of each task vector", R"(merge_method: ties
base_model: ./base
models:
- model: ./model_a
  parameters: {weight: 1.0, density: 0.5}
- model: ./model_b
  parameters: {weight: 1.0, density: 0.5}
parameters: {normalize: true}
dtype: bfloat16
)"},
                   {"the paper's form: the largest fifth of each whole model", R"(merge_method: ties
base_model: ./base
models:
- model: ./model_a
  parameters: {weight: 1.0, density: 0.2}
- model: ./model_b
  parameters: {weight: 1.0, density: 0.2}
parameters: {trim_scope: model, elect: paper, normalize: true, lambda: 1.0}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .make_survey = GlobalTrim::make,
      .check = check,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
