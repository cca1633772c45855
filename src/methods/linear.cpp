// Linear: the weighted mean of the models (model soups, Wortsman et al. 2022).
#include <algorithm>

#include "methods/shared/promises.h"
#include "simd/ops.h"

namespace crucible {
namespace {

struct Global {
  bool normalize = true;
};
struct Model {
  double weight = 1.0;
};

const FieldTable& global_fields() {
  static const FieldTable table{field(&Global::normalize, "normalize", "divide by the sum of the weights").neutral(false)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{field(&Model::weight, "weight", "weight of the model").symbol("w_i").required().neutral(1.0)};
  return table;
}

class LinearKernel final : public Kernel {
 public:
  explicit LinearKernel(const KernelSpec& spec) {
    double sum = 0;
    for (const Params& model : spec.models) {
      weights_.push_back(model.take(&Model::weight));
      sum += weights_.back();
    }
    if (spec.global->take(&Global::normalize)) divisor_ = sum;
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch&) noexcept override {
    simd::weighted_sum(nullptr, in.models, weights_, 1.0, divisor_, out, tile.count);
  }

 private:
  std::vector<double> weights_;
  double divisor_ = 1.0;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<LinearKernel>(spec); }

void check(const JobFacts& job, Findings& findings) {
  if (!job.global->peek(&Global::normalize)) return;
  double sum = 0;
  for (const Params& model : job.models) sum += model.peek(&Model::weight);
  if (sum == 0) {
    findings.error("the weights sum to zero, and normalize divides by that sum", "set normalize: false, or change the weights");
  }
}

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note>, Promises& out) {
  const bool normalize = job.global->peek(&Global::normalize);
  const auto over_sum = [](std::vector<double> w, bool divide) {
    double sum = 0;
    for (const double x : w) sum += x;
    if (divide) {
      for (double& x : w) x /= sum;
    }
    return w;
  };
  std::vector<double> weights;
  for (const Params& model : job.models) weights.push_back(model.peek(&Model::weight));
  std::vector<double> next = weights;
  std::rotate(next.begin(), next.begin() + 1, next.end());
  promise_combination(measure, over_sum(weights, normalize), {"weight", "normalize"},
                      {{"normalize", over_sum(weights, !normalize)},
                       {"weight", over_sum(next, normalize)},
                       {"weight", over_sum(std::vector<double>(weights.size(), 1.0), normalize)}},
                      out);
}

}  // namespace

const Method& method_linear() {
  static const Method method = {
      .name = "linear",
      .title = "Linear",
      .summary = "The weighted mean of the models, element by element.",
      .formula = R"(out = sum_i w_i * x_i,  divided by sum_i w_i if normalize)",
      .deviations =
          R"(Weights are used in full precision (mergekit rounds them to the tensors' type), and weights that sum to zero are refused (mergekit writes NaN).
A base_model gives config and tokenizer; it is an input only where the recipe lists it (D9).)",
      .paper = "arXiv 2203.05482",
      .base = BaseRule::kOnlyListed,
      .min_models = 1,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kZeroWeightIsAbsent, Law::kOrderDoesNotMatter,
               Law::kScaleEquivariant, Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"a mean that leans on the first model", R"(merge_method: linear
models:
- model: ./model_a
  parameters: {weight: 0.7}
- model: ./model_b
  parameters: {weight: 0.3}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = check,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
