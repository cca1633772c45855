// Multi-SLERP: the weighted mean of directions, with the weighted mean of lengths.
#include <algorithm>
#include <cmath>
#include <string>

#include "methods/method.h"
#include "methods/shared/gram.h"
#include "methods/shared/promises.h"
#include "simd/gram.h"

namespace crucible {
namespace {

struct Global {
  bool normalize_weights = true;
  double eps = 1e-8;
};
struct Model {
  double weight = 1.0;
};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::normalize_weights, "normalize_weights", "divide the weights by their sum").neutral(false),
      field(&Global::eps, "eps", "added to lengths before they divide; a mean direction shorter than this is none")
          .at_least(0)
          .neutral(0.0)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{field(&Model::weight, "weight", "weight of the model").symbol("w_i").required().neutral(1.0)};
  return table;
}

class MultiSlerpKernel final : public GramKernel {
 public:
  explicit MultiSlerpKernel(const KernelSpec& spec) : GramKernel(spec, Vectors::kTensor), eps_(spec.global->take(&Global::eps)) {
    double sum = 0;
    for (const Params& model : spec.models) {
      weights_.push_back(model.take(&Model::weight));
      sum += weights_.back();
    }
    // A sum of zero is refused before any work.
    if (spec.global->take(&Global::normalize_weights) && sum != 0) {
      for (double& w : weights_) w /= sum;
    }
  }

  int sum_count(int pass) const noexcept override { return pass == 0 ? GramKernel::sum_count(pass) : 1; }

  void reduce(int pass, const Tile& tile, const TileInputs& in, double* sums, std::uint64_t* counts, Measure& measure,
              Scratch& scratch) noexcept override {
    if (pass == 0) return GramKernel::reduce(pass, tile, in, sums, counts, measure, scratch);
    sums[0] += simd::sum_squares_of_sum(in.base, in.models, coefficients(), tile.count);
  }

  Next seal(int pass, const Totals& totals) noexcept override {
    if (pass == 0) {
      GramKernel::seal(pass, totals);
      if (cancels_) return Next::kReduce;
    } else {
      square_ = totals.sums[0];
    }
    finish(coefficients());
    return Next::kMap;
  }

  std::vector<Note> notes() const override {
    if (models() < 2) return {};
    std::vector<Note> all = {{"length of the mean direction", std::sqrt(square_)}, {"mean length", mean_length_}};
    for (std::size_t i = 0; i < lengths_.size(); ++i) all.push_back({"length[" + std::to_string(i) + "]", lengths_[i]});
    return all;
  }
  std::string remark() const override {
    return no_direction_ ? "the weighted directions cancel, so there is no mean direction: the weighted sum was taken" : "";
  }

 protected:
  // b_i of M = sum_i b_i T_i, and the square of M's length.
  void combine(const Gram& gram, std::span<double> b) noexcept override {
    const std::size_t n = gram.size();
    for (std::size_t i = 0; i < n; ++i) {
      const double length = gram.norm(i);
      lengths_.push_back(length);
      b[i] = length + eps_ == 0.0 ? 0.0 : weights_[i] / (length + eps_);
      mean_length_ += weights_[i] * length;
      reach_ += std::abs(b[i]) * length;
    }
    double terms = 0;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        const double term = b[i] * b[j] * gram(i, j);
        square_ += term;
        terms += std::abs(term);
      }
    }
    // Where large terms cancel, little is left of the digits: M's squares are then summed element by element.
    constexpr double kDigitsToLose = 1e-6;
    cancels_ = square_ < kDigitsToLose * terms;
  }

 private:
  // From b_i to the coefficients of the output.
  void finish(std::span<double> c) noexcept {
    const double length = std::sqrt(square_);
    // A sum of rounding errors is no direction either, however small eps is.
    constexpr double kRounding = 1e-12;
    if (length < eps_ || length <= kRounding * reach_) {
      for (std::size_t i = 0; i < c.size(); ++i) c[i] = weights_[i];
      no_direction_ = reach_ > 0;  // where all vectors are zero, nothing was lost
      return;
    }
    // The mean direction is M / ||M||. The tangent part vanishes, and what is left of the step on the sphere is its length eps.
    const double factor = std::cos(eps_) * mean_length_ / length;
    for (double& v : c) v *= factor;
  }

  double eps_;
  std::vector<double> weights_;
  std::vector<double> lengths_;
  double mean_length_ = 0;
  double reach_ = 0;  // the length of M if all directions were one
  double square_ = 0;
  bool cancels_ = false;
  bool no_direction_ = false;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<MultiSlerpKernel>(spec); }

void check(const JobFacts& job, Findings& findings) {
  if (!job.global->peek(&Global::normalize_weights) || job.models.size() < 2) return;
  double sum = 0;
  for (const Params& model : job.models) sum += model.peek(&Model::weight);
  if (sum == 0) {
    findings.error("the weights sum to zero, and normalize_weights divides by that sum",
                   "set normalize_weights: false, or change the weights");
  }
}

// c_i = cos(eps) * (sum_k w_k len_k) / ||M|| * w_i / (len_i + eps), with the lengths that the kernel found.
void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note> notes, Promises& out) {
  const std::size_t n = job.models.size();
  const double eps = job.global->peek(&Global::eps);
  if (n < 2 || notes.size() != 2 + n || !(notes[0].value > std::max(eps, 1e-9))) return;
  std::vector<double> asked;
  for (const Params& model : job.models) asked.push_back(model.peek(&Model::weight));
  const auto combination = [&](std::vector<double> w, bool normalize) {
    double sum = 0;
    for (const double x : w) sum += x;
    for (double& x : w) x /= normalize ? sum : 1;
    double mean = 0;
    for (std::size_t i = 0; i < n; ++i) mean += w[i] * notes[2 + i].value;
    // ||M|| grows with the weights: the kernel's is that of the plan, scaled for the other.
    const double length = notes[0].value * (normalize == job.global->peek(&Global::normalize_weights) ? 1 : normalize ? 1 / sum : sum);
    for (std::size_t i = 0; i < n; ++i) w[i] *= std::cos(eps) * mean / std::abs(length) / (notes[2 + i].value + eps);
    return w;
  };
  const bool normalize = job.global->peek(&Global::normalize_weights);
  promise_combination(measure, combination(asked, normalize), {"weight", "normalize_weights"},
                      {{"normalize_weights", combination(asked, !normalize)}}, out);
}

}  // namespace

const Method& method_multislerp() {
  static const Method method = {
      .name = "multislerp",
      .title = "Multi-SLERP",
      .summary = "The weighted mean direction of the models, or of their task vectors, with the weighted mean of their lengths.",
      .formula = R"(T_i = x_i, or x_i - base where there is a base;  w_i = w_i / sum_j w_j if normalize_weights
M = sum_i w_i * T_i / (||T_i|| + eps)
out = (base +) cos(eps) * (sum_i w_i ||T_i||) * M / ||M||
out = (base +) sum_i w_i * T_i   where ||M|| < eps
out = x   where there is one model)",
      .deviations =
          R"(The published idea is a mean on the sphere: a mean direction, then a step along the mean of the tangents. That mean is zero whatever the
inputs, here as in mergekit (D29), so the method is a normalised mean of directions; only the factor cos(eps) is left of the step, and it is
kept. Norms are taken in f64. Directions that cancel end in an error in mergekit with more than two models; here the weighted sum is
taken for any number, with a remark. Weights that sum to zero are refused. For a mean on the sphere see karcher.)",
      .paper = "goddard.blog/posts/multislerp-wow-what-a-cool-idea",
      .base = BaseRule::kOptional,
      .min_models = 1,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kOrderDoesNotMatter, Law::kRowPermutationCommutes,
               Law::kColumnPermutationCommutes},
      .examples = {{"three models", R"(merge_method: multislerp
models:
- model: ./model_a
  parameters: {weight: 0.5}
- model: ./model_b
  parameters: {weight: 0.3}
- model: ./model_c
  parameters: {weight: 0.2}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = check,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
