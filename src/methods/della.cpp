// DELLA (Deep, Bhardwaj, Poria 2024): MagPrune, then the sign election of TIES.
#include "methods/shared/promises.h"
#include "methods/shared/sparsify_stages.h"

namespace crucible {
namespace {

using namespace task_arithmetic;

const FieldTable& global_fields() {
  static const FieldTable table{normalize_field(true), lambda_field(), rescale_field(Rescale::kL1, true),
                                rank_scope_field(RankScope::kRow)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{weight_field(), density_field(), epsilon_field(), window_field()};
  return table;
}

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return make_kernel(spec, {Election::kBySum, prune_by_rank}); }

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note>, Promises& out) { promise_ramp(job, measure, out); }

}  // namespace

const Method& method_della() {
  static const Method method = {
      .name = "della",
      .title = "DELLA",
      .summary =
          "Drops entries of each task vector at random, small magnitudes more often, rescales, elects a sign per element, and merges what "
          "agrees.",
      .formula = R"(delta_i = x_i - base
rho = magnitude rank of an entry inside its row, 0 (smallest) to 1 (largest), ties by lower index
p   = clamp(c - epsilon + 2 epsilon rho, 0, 1),  c such that the mean of p over the row is density
d_i = delta_i where u < p (u uniform, one draw per entry), else 0
      times ||delta_i||_1 / ||d_i||_1 per tensor if rescale is l1,  divided by p if per_element
W_i = w_i * d_i
s = sum_i W_i;  the winners of an element are the models whose W_i has the sign of s (zero counts as +)
m = sum of the winning W_i,  divided by the sum of their w_i if normalize (0 counts as 1)
out = base + lambda * m)",
      .deviations =
          R"(The paper divides each survivor by its own keep probability (rescale: per_element) and calls the full width of the ramp epsilon (window).
mergekit 0.1.4 restores the L1 norm per tensor instead (the default here too), refuses density +- epsilon outside (0, 1), ranks 3-D tensors along the wrong axis and fails on rows of one entry (D1, D10).
A row of one entry is kept with probability density; a row is the last axis of a tensor of any rank.)",
      .paper = "arXiv 2406.11617",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .grain = Grain::kRow,
      .random = true,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kZeroWeightIsAbsent,
               Law::kOrderDoesNotMatter, Law::kScaleEquivariant},
      .examples = {{"the recipe of this project's demo", R"(models:
- model: ./model_a
  parameters:
    weight: 1.0
- model: ./model_b
  parameters:
    weight: 1.0
merge_method: della
base_model: ./base
parameters:
  density: 0.8
  epsilon: 0.3
  normalize: true
dtype: float16
)"}},
      .make_kernel = make,
      .check = check_ramp,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
