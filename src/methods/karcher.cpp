// The Karcher mean: the point of the sphere with the least sum of squared angles to the models' directions.
#include <algorithm>
#include <cmath>
#include <optional>

#include "methods/method.h"
#include "methods/shared/gram.h"
#include "methods/shared/promises.h"

namespace crucible {
namespace {

struct Global {
  std::int64_t max_iter = 10;
  double tol = 1e-5;
};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::max_iter, "max_iter", "steps at most; 0: the normalised mean direction").range(0, 1000000).neutral(std::int64_t{0}),
      field(&Global::tol, "tol",
            "a step shorter than this ends the search, and angles below it count as zero; an input whose length is not above it has no "
            "direction")
          .above(0)
          .neutral(1e-30)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

// All vectors of the search lie in the span of the inputs' directions, so they are coefficients over these, and their inner products
// come from the cosines.
class Directions {
 public:
  Directions(const Gram& gram, double shortest) {
    for (std::size_t i = 0; i < gram.size(); ++i) {
      if (gram.norm(i) > shortest) inputs_.push_back(i);
    }
    const std::size_t n = inputs_.size();
    cosines_.resize(n * n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) cosines_[i * n + j] = gram.cosine(inputs_[i], inputs_[j]);
    }
  }
  std::size_t size() const noexcept { return inputs_.size(); }
  std::size_t input(std::size_t i) const noexcept { return inputs_[i]; }

  // <u_i, v>
  double along(std::size_t i, std::span<const double> v) const noexcept {
    double sum = 0;
    for (std::size_t j = 0; j < v.size(); ++j) sum += cosines_[i * v.size() + j] * v[j];
    return sum;
  }
  double length(std::span<const double> v) const noexcept {
    double square = 0;
    for (std::size_t i = 0; i < v.size(); ++i) square += v[i] * along(i, v);
    return std::sqrt(std::max(square, 0.0));
  }

 private:
  std::vector<std::size_t> inputs_;
  std::vector<double> cosines_;
};

class KarcherKernel final : public GramKernel {
 public:
  explicit KarcherKernel(const KernelSpec& spec)
      : GramKernel(spec, Vectors::kTensor), max_iter_(spec.global->take(&Global::max_iter)), tol_(spec.global->take(&Global::tol)) {}

  std::vector<Note> notes() const override {
    if (models() < 2) return {};
    return {{"steps", static_cast<double>(steps_)}, {"last step", last_step_}, {"converged", converged_ ? 1.0 : 0.0}};
  }
  std::string remark() const override {
    std::string all;
    const auto say = [&all](bool when, const char* text) {
      if (when) all += (all.empty() ? "" : "; ") + std::string(text);
    };
    say(all_short_, "no input is longer than tol: the output is zero");
    say(no_start_, "the directions cancel: the search began at the first model");
    say(opposite_, "an input lies opposite to the mean, where no way to it is the shortest: it was left out of the step");
    say(max_iter_ > 0 && !converged_, "stopped at max_iter before the step fell below tol");
    return all;
  }

 protected:
  void combine(const Gram& gram, std::span<double> c) noexcept override {
    double mean_length = 0;
    bool any = false;
    for (std::size_t i = 0; i < gram.size(); ++i) {
      mean_length += gram.norm(i);
      any = any || gram.norm(i) > 0;
      c[i] = gram.norm(i) * 0.0;  // zero, or NaN where the input is damaged
    }
    mean_length /= static_cast<double>(gram.size());
    const Directions directions(gram, tol_);
    if (directions.size() == 0) {
      all_short_ = any;
      converged_ = true;
      return;
    }
    const std::vector<double> mean = search(directions);
    for (std::size_t i = 0; i < mean.size(); ++i) {
      const std::size_t k = directions.input(i);
      c[k] = mean_length * mean[i] / gram.norm(k);
    }
  }

 private:
  std::vector<double> search(const Directions& directions) noexcept {
    const std::size_t n = directions.size();
    const double share = 1.0 / static_cast<double>(n);
    std::vector<double> u(n, share);
    const double start = directions.length(u);
    if (start < tol_ || start < kRounding) {
      no_start_ = true;
      std::fill(u.begin(), u.end(), 0.0);
      u[0] = 1;
    } else {
      for (double& v : u) v /= start;
    }
    std::vector<double> step(n);
    for (std::int64_t k = 0; k < max_iter_ && !converged_; ++k) {
      tangent(directions, u, step);
      last_step_ = directions.length(step);
      converged_ = last_step_ < tol_ || last_step_ == 0.0;
      if (converged_) break;
      const double along_u = std::cos(last_step_);
      const double along_step = std::sin(last_step_) / last_step_;
      for (std::size_t i = 0; i < n; ++i) u[i] = along_u * u[i] + along_step * step[i];
      const double length = directions.length(u);
      if (length > tol_) {
        for (double& v : u) v /= length;
      }
      ++steps_;
    }
    return u;
  }

  // The mean of the ways from u to the inputs: (angle / sin angle) (u_i - cos angle * u) each.
  void tangent(const Directions& directions, std::span<const double> u, std::span<double> step) noexcept {
    const double share = 1.0 / static_cast<double>(u.size());
    std::fill(step.begin(), step.end(), 0.0);
    double back = 0;
    for (std::size_t i = 0; i < u.size(); ++i) {
      const double cosine = std::clamp(directions.along(i, u), -1.0, 1.0);
      const double angle = std::acos(cosine);
      if (angle < tol_) continue;
      const double sine = std::sin(angle);
      // An f64 cosine does not tell smaller angles apart: here u and the input are one line.
      constexpr double kStraight = 1e-6;
      if (sine < kStraight && cosine < 0) {
        opposite_ = true;
        continue;
      }
      const double stretch = sine < kStraight ? 1.0 : angle / sine;
      step[i] += share * stretch;
      back += share * stretch * cosine;
    }
    for (std::size_t i = 0; i < u.size(); ++i) step[i] -= back * u[i];
  }

  static constexpr double kRounding = 1e-12;  // a mean of unit vectors that is shorter is a sum of rounding errors

  std::int64_t max_iter_;
  double tol_;
  std::int64_t steps_ = 0;
  double last_step_ = 0;
  bool converged_ = false;
  bool all_short_ = false;
  bool no_start_ = false;
  bool opposite_ = false;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<KarcherKernel>(spec); }

// The search ended for one of its two reasons.
void promise(const JobFacts& job, const Measure&, std::span<const Kernel::Note> notes, Promises& out) {
  if (notes.size() < 3) return;
  const auto most = static_cast<double>(job.global->peek(&Global::max_iter));
  const double steps = notes[0].value, last = notes[1].value, tol = job.global->peek(&Global::tol);
  const bool converged = notes[2].value != 0;
  out.push_back(Promise::exact("max_iter", -1, "steps of the search beyond max_iter",
                               std::max(0.0, steps - most) + (converged || steps == most ? 0 : 1), 0, 1));
  out.push_back(Promise::value("tol", -1, "last step of a search that converged", converged ? last : 0, 0, tol));
}

}  // namespace

const Method& method_karcher() {
  static const Method method = {
      .name = "karcher",
      .title = "Karcher mean",
      .summary = "The mean direction of the models on the sphere, with the mean of their lengths; all models count alike.",
      .formula = R"(u_i = x_i / ||x_i||  for the n models with ||x_i|| > tol
u = sum_i u_i, normalised;  then at most max_iter times:
  a_i = angle between u and u_i
  s = 1/n sum_i (a_i / sin a_i) (u_i - cos a_i * u)  over a_i >= tol;  done where ||s|| < tol
  u = cos ||s|| * u + sin ||s|| * s / ||s||
out = mean_i ||x_i|| * u  (the mean over all models))",
      .deviations =
          R"(The search runs on the models' inner products in f64, so the weights are read twice whatever max_iter is; mergekit takes cosines in the
tensors' type, where angles below about 3 degrees vanish in bf16. A model opposite to the mean has no direction to go (mergekit divides by
zero there): it is left out of the step, with a remark. As in mergekit, tol is also the shortest length that counts, and there are no weights.
A base_model gives config and tokenizer; it is an input only where the recipe lists it (D9).)",
      .paper = "arXiv 2603.04972",
      .base = BaseRule::kOnlyListed,
      .min_models = 1,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kOneModelIsItself, Law::kOrderDoesNotMatter, Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"the mean of three models", R"(merge_method: karcher
models:
- model: ./model_a
- model: ./model_b
- model: ./model_c
parameters: {max_iter: 20}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
