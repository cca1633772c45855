// RAM+ (tensor-local): RAM, with the parameters that one model alone moved enlarged by how much that model shares elsewhere.
#include <algorithm>
#include <cmath>

#include "methods/shared/active_kernel.h"
#include "methods/shared/promises.h"
#include "simd/blend.h"

namespace crucible {
namespace {

struct Global {
  double r = 0.1;
  double alpha = 0.2;
  double epsilon = kActiveEpsilon;
};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::r, "r", "how strongly the overlap enlarges what one model alone moved").neutral(0.0),
      field(&Global::alpha, "alpha", "overlap ratios count up to this").at_least(0).neutral(0.0),
      active_epsilon_field(&Global::epsilon),
  };
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

class RamPlusKernel final : public ActiveKernel {
 public:
  explicit RamPlusKernel(const KernelSpec& spec)
      : ActiveKernel(spec, spec.global->take(&Global::epsilon)),
        r_(spec.global->take(&Global::r)),
        alpha_(spec.global->take(&Global::alpha)),
        ratios_(spec.models.size()) {
    if (spec.audit != nullptr) planned_ = spec.audit->global;
  }

  Next first() const noexcept override { return ratios_.empty() ? Next::kMap : Next::kReduce; }
  std::int64_t count_size(int) const noexcept override { return 2 * std::ssize(ratios_); }
  void reduce(int, const Tile& tile, const TileInputs& in, double*, std::uint64_t* counts, Measure&, Scratch&) noexcept override {
    simd::count_active(in.base, in.models, epsilon(), counts, counts + ratios_.size(), tile.count);
  }
  // A number for each model is all that it allocates. NOLINTNEXTLINE(bugprone-exception-escape)
  Next seal(int, const Totals& totals) noexcept override {
    for (std::size_t i = 0; i < ratios_.size(); ++i) {
      const auto unique = static_cast<double>(totals.counts[i]);
      const auto shared = static_cast<double>(totals.counts[ratios_.size() + i]);
      ratios_[i] = shared == 0 ? 0 : shared / std::max(unique, epsilon());
      unique_scales()[i] = 1 + r_ * std::min(ratios_[i], alpha_);
    }
    if (planned_ != nullptr) {
      ActivePlan plan{planned_->peek(&Global::epsilon), {}};
      for (const double ratio : ratios_)
        plan.unique_scales.push_back(1 + planned_->peek(&Global::r) * std::min(ratio, planned_->peek(&Global::alpha)));
      see_plan(std::move(plan));
    }
    return Next::kMap;
  }

  std::vector<Note> notes() const override {
    std::vector<Note> all;
    for (std::size_t i = 0; i < ratios_.size(); ++i) {
      const std::string index = "[" + std::to_string(i) + "]";
      if (std::isfinite(ratios_[i])) all.push_back({"overlap ratio" + index, ratios_[i]});
      all.push_back({"lambda" + index, unique_scales()[i]});
    }
    return all;
  }

 private:
  double r_;
  double alpha_;
  std::vector<double> ratios_;
  const Params* planned_ = nullptr;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<RamPlusKernel>(spec); }

void promise(const JobFacts&, const Measure& measure, std::span<const Kernel::Note>, Promises& out) {
  promise_spots(measure, {"epsilon", "r", "alpha"}, out);
}

}  // namespace

const Method& method_ramplus_tl() {
  static const Method method = {
      .name = "ramplus_tl",
      .title = "RAM+ (tensor-local)",
      .summary = "RAM that enlarges what one model alone moved, the more the model overlaps with others in the same tensor.",
      .formula = R"(delta_i = x_i - base;  model i is active at a parameter where |delta_i| > epsilon
u_i, o_i = number of the tensor's parameters where model i is active alone, and with others
rho_i = o_i / max(u_i, epsilon)
lambda_i = 1 + r * min(rho_i, alpha)
out = base + lambda_i * delta_i                                             where model i alone is active
out = base + (sum of the active delta_i) / (number of active models)        where several are; base where none is)",
      .deviations =
          R"(The paper counts overlaps over the whole model and uses 1 + (r - 1) * min(rho, 1); its r = 1.2 is r: 0.2, alpha: 1 here. Counts are per tensor, as in mergekit.
mergekit writes float32 for half-precision inputs unless out_dtype is given (D3); here the output has the type that the recipe or the base gives.
Counts are integers, lambda keeps its digits (mergekit: f32).)",
      .paper = "arXiv 2601.13572",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kOrderDoesNotMatter,
               Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"the strength of the paper's recipes", R"(merge_method: ramplus_tl
base_model: ./base
models:
- model: ./model_a
- model: ./model_b
parameters: {r: 0.2, alpha: 1.0}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
