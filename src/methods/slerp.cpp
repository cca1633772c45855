// SLERP: spherical linear interpolation from the base to one other model, each tensor taken as one vector.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "methods/shared/promises.h"
#include "simd/ops.h"

namespace crucible {
namespace {

struct Global {
  double t = 0.5;
};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::t, "t", "position between the base (0) and the other model (1); outside extrapolates").required().neutral(0.0)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

struct Weights {
  double base, model;
};
Weights weights_at(double t, double cosine) {
  // Beyond this cosine (of either sign) the arc is taken as a straight line.
  constexpr double kNearlyParallel = 0.9995;
  if (std::abs(cosine) > kNearlyParallel) return {1 - t, t};
  const double angle = std::acos(std::clamp(cosine, -1.0, 1.0));
  return {std::sin(angle - angle * t) / std::sin(angle), std::sin(angle * t) / std::sin(angle)};
}

class SlerpKernel final : public Kernel {
 public:
  explicit SlerpKernel(const KernelSpec& spec) : t_(spec.global->take(&Global::t)) { CHECK(spec.has_base && spec.models.size() == 1); }

  Next first() const noexcept override { return Next::kReduce; }
  int sum_count(int) const noexcept override { return 3; }
  void reduce(int, const Tile& tile, const TileInputs& in, double* sums, std::uint64_t*, Measure&, Scratch&) noexcept override {
    sums[0] += simd::sum_squares(in.base, tile.count);
    sums[1] += simd::sum_squares(in.models[0], tile.count);
    sums[2] += simd::dot(in.base, in.models[0], tile.count);
  }

  Next seal(int, const Totals& totals) noexcept override {
    // A vector shorter than this has no direction: it enters unnormalised, as in mergekit.
    constexpr double kShortest = 1e-8;
    const auto length = [](double square) { return std::sqrt(square) > kShortest ? std::sqrt(square) : 1.0; };
    cosine_ = totals.sums[2] / (length(totals.sums[0]) * length(totals.sums[1]));
    const Weights weights = weights_at(t_, cosine_);
    weights_[0] = weights.base;
    weights_[1] = weights.model;
    return Next::kMap;
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch&) noexcept override {
    const float* both[2] = {in.base, in.models[0]};
    simd::weighted_sum(nullptr, both, weights_, 1.0, 1.0, out, tile.count);
  }

  std::vector<Note> notes() const override {
    return {{"cosine", cosine_}, {"weight of base", weights_[0]}, {"weight of model", weights_[1]}};
  }

 private:
  double t_;
  double cosine_ = 0;
  double weights_[2] = {1, 0};
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<SlerpKernel>(spec); }

// The projections of the whole vectors: base and model are y_0 and y_1 of a combination, so the sketch of the task vector is undone.
void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note> notes, Promises& out) {
  if (notes.empty() || measure.sketch.empty()) return;
  const Sketch& s = measure.sketch;
  Measure whole;
  const double model_base = (s.input_square[0] + s.base_square - s.gram[0]) / 2;
  whole.sketch.elems = s.elems;
  whole.sketch.gram = {s.base_square, model_base, s.input_square[0], s.base_out, s.input_out[0], s.out_square};
  whole.sketch.out_square = s.out_square;
  whole.sketch.base_square = s.base_square;
  const double t = job.global->peek(&Global::t), cosine = notes[0].value;
  const auto at = [cosine](double position) {
    const Weights w = weights_at(position, cosine);
    return std::vector<double>{w.base, w.model};
  };
  promise_combination(whole, at(t), {"t"}, {}, out);
  for (Promise& p : out) p.model = -1;  // the vectors are base and model, not the inputs of the job
}

}  // namespace

const Method& method_slerp() {
  static const Method method = {
      .name = "slerp",
      .title = "SLERP",
      .summary = "Walks from the base model to another along the arc between them, tensor by tensor.",
      .formula = R"(cos a = <base, x> / (||base|| ||x||)
out = sin((1 - t) a) / sin a * base + sin(t a) / sin a * x
out = (1 - t) * base + t * x   where |cos a| > 0.9995)",
      .deviations =
          R"(Norms and the angle are taken in f64 (mergekit: f32). As in mergekit the coefficients act on the unnormalised tensors.)",
      .paper = "en.wikipedia.org/wiki/Slerp",
      .base = BaseRule::kRequired,
      .min_models = 1,
      .max_models = 1,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kBaseIsFixedPoint, Law::kScaleEquivariant, Law::kRowPermutationCommutes,
               Law::kColumnPermutationCommutes},
      .examples = {{"half way, more of the base in the middle layers", R"(merge_method: slerp
base_model: ./model_a
models:
- model: ./model_b
parameters:
  t: [0.5, 0.2, 0.5]
dtype: bfloat16
)"}},
      .make_kernel = make,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
