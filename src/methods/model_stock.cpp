// Model Stock (Jang et al. 2024): how far to go from the base towards the mean of fine-tunes, from the angles between them.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "methods/method.h"
#include "methods/shared/gram.h"
#include "methods/shared/promises.h"

namespace crucible {
namespace {

enum class Form { kMeanCosine, kProjection };

struct Global {
  bool filter_wise = false;
  Form form = Form::kMeanCosine;
  bool clamp = false;
};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::filter_wise, "filter_wise", "an own ratio for each row (last axis) instead of one for the tensor").neutral(false),
      field(&Global::form, "form",
            "mean_cosine: one ratio t from the mean cosine, all task vectors alike; projection: a coefficient for each task vector, from "
            "their lengths and angles",
            {{"mean_cosine", {}}, {"projection", {}}}),
      field(&Global::clamp, "clamp", "keep the ratio t in [0, 1]: never away from the mean of the models, never past it").neutral(false)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

// Means over the pairs of different task vectors.
struct PairMeans {
  double cosine = 0;
  double product = 0;
};

PairMeans pair_means(const Gram& gram) {
  PairMeans means;
  for (std::size_t i = 1; i < gram.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      means.cosine += gram.cosine(i, j);
      means.product += gram(i, j);
    }
  }
  const auto models = static_cast<double>(gram.size());
  const double pairs = models * (models - 1) / 2;
  return {means.cosine / pairs, means.product / pairs};
}

// t = N c / (1 + (N - 1) c). Nothing where the denominator vanishes: there the directions of the task vectors add up to zero.
std::optional<double> ratio(double cosine, std::size_t n) {
  constexpr double kRounding = 1e-12;
  const double denominator = 1 + static_cast<double>(n - 1) * cosine;
  if (denominator < kRounding) return std::nullopt;
  return static_cast<double>(n) * cosine / denominator;
}

// The solution of G y = 1, or nothing where the vectors are linearly dependent as far as f64 can tell. The matrix is scaled to cosines
// first; the pivot is the largest of the diagonal, as is enough for a matrix of inner products.
std::optional<std::vector<double>> solve_for_ones(const Gram& gram) {
  constexpr double kDependent = 1e-9;  // a squared sine
  const std::size_t n = gram.size();
  std::vector<double> a(n * n), y(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (!(gram(i, i) > 0)) return std::nullopt;
    for (std::size_t j = 0; j < n; ++j) a[i * n + j] = gram.cosine(i, j);
    y[i] = 1 / gram.norm(i);
  }
  std::vector<std::size_t> order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = i;
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return a[order[i] * n + order[j]]; };
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t i = k + 1; i < n; ++i) {
      if (at(i, i) > at(pivot, pivot)) pivot = i;
    }
    std::swap(order[k], order[pivot]);
    if (!(at(k, k) > kDependent)) return std::nullopt;
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = at(i, k) / at(k, k);
      for (std::size_t j = k; j < n; ++j) at(i, j) -= factor * at(k, j);
      y[order[i]] -= factor * y[order[k]];
    }
  }
  for (std::size_t k = n; k-- > 0;) {
    for (std::size_t j = k + 1; j < n; ++j) y[order[k]] -= at(k, j) * y[order[j]];
    y[order[k]] /= at(k, k);
  }
  for (std::size_t i = 0; i < n; ++i) y[i] /= gram.norm(i);
  return y;
}

class ModelStockKernel final : public GramKernel {
 public:
  explicit ModelStockKernel(const KernelSpec& spec)
      : GramKernel(spec, spec.global->take(&Global::filter_wise) ? Vectors::kRows : Vectors::kTensor),
        form_(spec.global->take(&Global::form)),
        clamp_(spec.global->take(&Global::clamp)) {}

  std::vector<Note> notes() const override {
    if (models() < 2) return {};
    if (!whole_tensor()) {
      return {{"rows", static_cast<double>(vector_count())}, {"rows of negative mean cosine", static_cast<double>(negative_.load())}};
    }
    return {{"mean cosine", cosine_}, {"t", t_}};
  }
  std::string remark() const override {
    std::string all;
    const auto say = [&all](bool when, const char* text) {
      if (when) all += (all.empty() ? "" : "; ") + std::string(text);
    };
    say(negative_.load() > 0 && !clamp_,
        "the mean cosine of the task vectors is negative: the merge moves away from their mean; clamp: true stops this");
    say(cancel_.load() > 0, "the directions of the task vectors add up to zero, where t has no value: the base was kept");
    say(dependent_.load() > 0, "the task vectors are linearly dependent: form mean_cosine was used there");
    return all;
  }

 protected:
  void combine(const Gram& gram, std::span<double> c) noexcept override {
    const PairMeans means = pair_means(gram);
    const double t = form_ == Form::kProjection ? project(gram, means, c) : lean(means.cosine, c);
    const bool away = t < 0;
    if (away) negative_.fetch_add(1, std::memory_order_relaxed);
    const double held = clamp_ ? std::clamp(t, 0.0, 1.0) : t;
    if (held != t) {
      for (double& v : c) v *= held / t;
    }
    if (!whole_tensor()) return;
    cosine_ = means.cosine;
    t_ = held;
  }

 private:
  // One ratio for all. Returns the sum of the coefficients, as project does.
  double lean(double cosine, std::span<double> c) noexcept {
    const std::optional<double> t = ratio(cosine, c.size());
    if (!t) cancel_.fetch_add(1, std::memory_order_relaxed);
    std::fill(c.begin(), c.end(), t.value_or(0.0) / static_cast<double>(c.size()));
    return t.value_or(0.0);
  }

  double project(const Gram& gram, const PairMeans& means, std::span<double> c) noexcept {
    const auto solution = solve_for_ones(gram);
    if (!solution) {
      dependent_.fetch_add(1, std::memory_order_relaxed);
      return lean(means.cosine, c);
    }
    double sum = 0;
    for (std::size_t i = 0; i < c.size(); ++i) {
      c[i] = means.product * (*solution)[i];
      sum += c[i];
    }
    return sum;
  }

  Form form_;
  bool clamp_;
  double cosine_ = 0;
  double t_ = 0;
  // Of vectors.
  std::atomic<std::int64_t> negative_{0};
  std::atomic<std::int64_t> cancel_{0};
  std::atomic<std::int64_t> dependent_{0};
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<ModelStockKernel>(spec); }

void check(const JobFacts& job, Findings& findings) {
  if (job.models.size() == 1) {
    findings.error("model_stock needs two models besides the base: one alone has no angle to another", "use linear or slerp for one model");
  }
}

void promise(const JobFacts& job, const Measure&, std::span<const Kernel::Note> notes, Promises& out) {
  if (notes.size() < 2 || notes[1].name != "t" || !job.global->peek(&Global::clamp)) return;
  out.push_back(Promise::value("clamp", -1, "ratio t beyond [0, 1]", notes[1].value - std::clamp(notes[1].value, 0.0, 1.0), 0, 0));
}

}  // namespace

const Method& method_model_stock() {
  static const Method method = {
      .name = "model_stock",
      .title = "Model Stock",
      .summary = "Goes from the base towards the mean of the models, as far as the angles between their task vectors suggest.",
      .formula = R"(delta_i = x_i - base;  c = mean over pairs of <delta_i, delta_j> / (||delta_i|| ||delta_j||), 0 where one is zero
t = N c / (1 + (N - 1) c),  held in [0, 1] if clamp
out = base + t * mean_i delta_i
form projection: G = (<delta_i, delta_j>), m = mean over pairs of <delta_i, delta_j>
out = base + sum_i alpha_i * delta_i,  alpha = m * G^-1 * 1, scaled so that its sum lies in [0, 1] if clamp)",
      .deviations =
          R"(The paper derives t for task vectors of one length at one angle, and leaves the cosine of more than two open; as in mergekit it is the mean
over all pairs. mergekit floors the product of two lengths at 1e-6, which pulls small task vectors (norms, biases) to the base (D36); here
only a zero length counts as cosine 0. A negative mean cosine gives a negative t, here as in mergekit, with a remark; clamp is new. Where the
directions add up to zero, t has no value and the base is kept (mergekit: infinity). form projection, which is new, is the paper's point for
any lengths and angles: the foot of the perpendicular from the assumed centre on the plane of the models and the base; equal to t for equal
lengths and angles. Linearly dependent task vectors (equal ones, zero ones) have no such point, and mean_cosine is used for them.)",
      .paper = "arXiv 2403.19522",
      .base = BaseRule::kRequired,
      .min_models = 0,
      .grain = Grain::kRow,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kBaseIsFixedPoint, Law::kOrderDoesNotMatter, Law::kScaleEquivariant,
               Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"three fine-tunes of one base", R"(merge_method: model_stock
base_model: ./base
models:
- model: ./model_a
- model: ./model_b
- model: ./model_c
parameters: {clamp: true}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = check,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
