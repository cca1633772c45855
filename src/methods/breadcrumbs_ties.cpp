// Model Breadcrumbs (Davari and Belilovsky 2023): a band of magnitudes, with the sign election of TIES.
#include "methods/shared/promises.h"
#include "methods/shared/sparsify_stages.h"

namespace crucible {
namespace {

using namespace task_arithmetic;

const FieldTable& global_fields() {
  static const FieldTable table{normalize_field(false), lambda_field(), rescale_field(Rescale::kNone, false),
                                rank_scope_field(RankScope::kTensor)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{weight_field(), density_field(), gamma_field()};
  return table;
}

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return make_kernel(spec, {Election::kBySum, keep_band}); }

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note>, Promises& out) { promise_band(job, measure, out); }

}  // namespace

const Method& method_breadcrumbs_ties() {
  static const Method method = {
      .name = "breadcrumbs_ties",
      .title = "Model Breadcrumbs with TIES",
      .summary = "Drops the largest and the smallest entries of each task vector, then elects a sign per element.",
      .formula = R"(delta_i = x_i - base
d_i = delta_i without its trunc(gamma * n) largest entries, of the rest the trunc(density * n) largest (n entries of the tensor or of a row, by rank_scope; ties by lower index)
W_i = w_i * d_i
s = sum_i W_i;  the winners of an element are the models whose W_i has the sign of s (zero counts as +)
m = sum of the winning W_i,  divided by the sum of their w_i if normalize (0 counts as 1)
out = base + lambda * m)",
      .deviations = R"(gamma is the share of the top that the paper calls beta; the bottom share follows from density.
The authors' code masks each row: rank_scope: row; their share b of what is left after the top is density b * (1 - gamma) here.
mergekit zeroes the whole task vector where gamma * n rounds to 0 (D2); here the largest entries are then kept.)",
      .paper = "arXiv 2312.06795",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .grain = Grain::kRow,
      .random = false,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kZeroWeightIsAbsent,
               Law::kOrderDoesNotMatter, Law::kScaleEquivariant, Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"drop the top 1 %, keep the next 90 %", R"(merge_method: breadcrumbs_ties
base_model: ./base
models:
- model: ./model_a
  parameters: {weight: 0.5, density: 0.9, gamma: 0.01}
- model: ./model_b
  parameters: {weight: 0.5, density: 0.9, gamma: 0.01}
parameters: {lambda: 1.0}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = check_band,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
