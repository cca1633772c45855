// NearSwap (alchemonaut): moves each parameter of the base towards another model by at most t.
#include "base/check.h"
#include "methods/method.h"
#include "simd/blend.h"
#include "simd/ops.h"

namespace crucible {
namespace {

struct Global {
  double t = 0;
};
struct Model {};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::t, "t", "how far a parameter may move from the base towards the other model").required().at_least(0).neutral(0.0)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table;
  return table;
}

class NearSwapKernel final : public Kernel {
 public:
  explicit NearSwapKernel(const KernelSpec& spec) : t_(spec.global->take(&Global::t)) { CHECK(spec.has_base && spec.models.size() == 1); }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch&) noexcept override {
    simd::near_swap(in.base, in.models[0], t_, out, tile.count);
    measure.models[0].delta_square += simd::sum_square_difference(in.models[0], in.base, tile.count);
    measure.out_delta_square += simd::sum_square_difference(out, in.base, tile.count);
  }

 private:
  double t_;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<NearSwapKernel>(spec); }

}  // namespace

const Method& method_nearswap() {
  static const Method method = {
      .name = "nearswap",
      .title = "NearSwap",
      .summary = "Moves each parameter of the base towards another model by at most t, so that parameters that are close are swapped.",
      .formula = R"(w = clamp(t / max(|base - x|, 1e-6), 0, 1)
out = w * x + (1 - w) * base
For t >= 1e-6 this is base + clip(x - base, -t, t).)",
      .deviations =
          R"(As on the model card. Arithmetic is f64, rounded once (mergekit: the tensors' type). A negative t is refused: it would be the base.)",
      .paper = "huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
      .base = BaseRule::kRequired,
      .min_models = 1,
      .max_models = 1,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kBaseIsFixedPoint, Law::kRowPermutationCommutes, Law::kColumnPermutationCommutes},
      .examples = {{"parameters within 1e-4 of each other are swapped", R"(merge_method: nearswap
base_model: ./base
models:
- model: ./model_b
parameters:
  t: 0.0001
dtype: bfloat16
)"}},
      .make_kernel = make,
  };
  return method;
}

}  // namespace crucible
