// Reinforced Agent Merging (RAM): the mean of the task vectors that are active at a parameter.
#include "methods/shared/active_kernel.h"
#include "methods/shared/promises.h"

namespace crucible {
namespace {

struct Global {
  double epsilon = kActiveEpsilon;
};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table{active_epsilon_field(&Global::epsilon)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

class RamKernel final : public ActiveKernel {
 public:
  explicit RamKernel(const KernelSpec& spec) : ActiveKernel(spec, spec.global->take(&Global::epsilon)) {
    if (spec.audit != nullptr) see_plan({spec.audit->global->peek(&Global::epsilon), {}});
  }
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<RamKernel>(spec); }

void promise(const JobFacts&, const Measure& measure, std::span<const Kernel::Note>, Promises& out) {
  promise_spots(measure, {"epsilon"}, out);
}

}  // namespace

const Method& method_ram() {
  static const Method method = {
      .name = "ram",
      .title = "RAM",
      .summary = "Takes, for each parameter, the mean over the models that moved it away from the base; other models do not dilute it.",
      .formula = R"(delta_i = x_i - base;  model i is active at a parameter where |delta_i| > epsilon
out = base + (sum of the active delta_i) / (number of active models);  base where no model is active)",
      .deviations =
          R"(As in the paper. mergekit subtracts and compares in the tensors' type, and adds the models in an order that varies between runs (D60); here in f64, with the models in one order.
A NaN in an input is active, so that it is seen.)",
      .paper = "arXiv 2601.13572",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kOrderDoesNotMatter,
               Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"two models trained from one base", R"(merge_method: ram
base_model: ./base
models:
- model: ./model_a
- model: ./model_b
parameters: {epsilon: 0.00001}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
