// Task arithmetic (Ilharco et al. 2022): base + lambda * sum of weighted task vectors.
#include "methods/shared/promises.h"
#include "methods/shared/task_arithmetic.h"

namespace crucible {
namespace {

using namespace task_arithmetic;

const FieldTable& global_fields() {
  static const FieldTable table{normalize_field(false), lambda_field()};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{weight_field()};
  return table;
}

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return make_kernel(spec, {Election::kNone, nullptr}); }

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note>, Promises& out) { promise_sum(job, measure, out); }

}  // namespace

const Method& method_task_arithmetic() {
  static const Method method = {
      .name = "task_arithmetic",
      .title = "Task arithmetic",
      .summary = "Adds the weighted task vectors of the models to the base.",
      .formula = R"(delta_i = x_i - base
d_i = delta_i
W_i = w_i * d_i
m = sum_i W_i,  divided by sum_i w_i if normalize (a sum below 1e-8 counts as 1)
out = base + lambda * m)",
      .deviations =
          R"(As in the paper, with one weight per model and lambda over all. mergekit accepts and ignores density and rescale here; Crucible has neither.)",
      .paper = "arXiv 2212.04089",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .grain = Grain::kElement,
      .random = false,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kZeroWeightIsAbsent,
               Law::kOrderDoesNotMatter, Law::kScaleEquivariant, Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"two task vectors, halved", R"(merge_method: task_arithmetic
base_model: ./base
models:
- model: ./model_a
  parameters: {weight: 1.0}
- model: ./model_b
  parameters: {weight: 1.0}
parameters: {lambda: 0.5}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = nullptr,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
