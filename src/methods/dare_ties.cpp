// DARE (Yu et al. 2023): drop and rescale, then the sign election of TIES.
#include "methods/shared/promises.h"
#include "methods/shared/sparsify_stages.h"

namespace crucible {
namespace {

using namespace task_arithmetic;

const FieldTable& global_fields() {
  static const FieldTable table{normalize_field(false), lambda_field(), rescale_field(Rescale::kL1, true)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{weight_field(), density_field()};
  return table;
}

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return make_kernel(spec, {Election::kBySum, drop_at_random}); }

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note>, Promises& out) {
  promise_draws(job, measure, out);
}

}  // namespace

const Method& method_dare_ties() {
  static const Method method = {
      .name = "dare_ties",
      .title = "DARE TIES",
      .summary = "Drops entries of each task vector at random and rescales the rest, then elects a sign per element.",
      .formula = R"(delta_i = x_i - base
d_i = delta_i where u < density (u uniform, one draw per element), else 0;  times ||delta_i||_1 / ||d_i||_1 if rescale is l1
W_i = w_i * d_i
s = sum_i W_i;  the winners of an element are the models whose W_i has the sign of s (zero counts as +)
m = sum of the winning W_i,  divided by the sum of their w_i if normalize (0 counts as 1)
out = base + lambda * m)",
      .deviations =
          R"(mergekit (since 0.1.0) restores the L1 norm of the actual sample; the paper divides each survivor by density: rescale: per_element.)",
      .paper = "arXiv 2311.03099",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .grain = Grain::kElement,
      .random = true,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kZeroWeightIsAbsent,
               Law::kOrderDoesNotMatter, Law::kScaleEquivariant},
      .examples = {{"keep 60 % of each task vector", R"(merge_method: dare_ties
base_model: ./base
models:
- model: ./model_a
  parameters: {weight: 0.5, density: 0.6}
- model: ./model_b
  parameters: {weight: 0.5, density: 0.6}
parameters: {lambda: 1.0}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = nullptr,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
