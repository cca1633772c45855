// NearSwap (alchemonaut): moves each parameter of the base towards another model by at most t.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "methods/shared/promises.h"
#include "methods/shared/spot.h"
#include "simd/blend.h"

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
  explicit NearSwapKernel(const KernelSpec& spec) : t_(spec.global->take(&Global::t)), elems_(spec.tiling.elems) {
    CHECK(spec.has_base && spec.models.size() == 1);
    if (spec.audit != nullptr) planned_t_ = spec.audit->global->peek(&Global::t);
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch&) noexcept override {
    simd::near_swap(in.base, in.models[0], t_, out, tile.count);
    if (!planned_t_) return;
    spot_check(tile, elems_, 0, measure, [&](std::size_t, std::int64_t i) {
      const double base = static_cast<double>(in.base[i]), x = static_cast<double>(in.models[0][i]);
      const double w = std::min(*planned_t_ / std::max(std::abs(base - x), 1e-6), 1.0);
      return rounds_to(w * x + (1 - w) * base, std::max(std::abs(x), std::abs(base)), out[i]);
    });
  }

 private:
  double t_;
  std::int64_t elems_;
  std::optional<double> planned_t_;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<NearSwapKernel>(spec); }

void promise(const JobFacts&, const Measure& measure, std::span<const Kernel::Note>, Promises& out) { promise_spots(measure, {"t"}, out); }

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
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
