// SLERP: spherical linear interpolation from the base to one other model, each tensor taken as one vector.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "methods/method.h"
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
    // Beyond this cosine (of either sign) the arc is taken as a straight line.
    constexpr double kNearlyParallel = 0.9995;
    const auto length = [](double square) { return std::sqrt(square) > kShortest ? std::sqrt(square) : 1.0; };
    cosine_ = totals.sums[2] / (length(totals.sums[0]) * length(totals.sums[1]));
    if (std::abs(cosine_) > kNearlyParallel) {
      weights_[0] = 1 - t_;
      weights_[1] = t_;
    } else {
      const double angle = std::acos(std::clamp(cosine_, -1.0, 1.0));
      weights_[0] = std::sin(angle - angle * t_) / std::sin(angle);
      weights_[1] = std::sin(angle * t_) / std::sin(angle);
    }
    return Next::kMap;
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch&) noexcept override {
    const float* both[2] = {in.base, in.models[0]};
    simd::weighted_sum(nullptr, both, weights_, 1.0, 1.0, out, tile.count);
    measure.models[0].delta_square += simd::sum_square_difference(in.models[0], in.base, tile.count);
    measure.out_delta_square += simd::sum_square_difference(out, in.base, tile.count);
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
  };
  return method;
}

}  // namespace crucible
