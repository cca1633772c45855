// Passthrough: one model's tensors as they are, or scaled. The tool of layer stacking.
#include <cstring>

#include "methods/shared/promises.h"
#include "simd/ops.h"

namespace crucible {
namespace {

struct Global {};
struct Model {
  double scale = 1.0;
};

const FieldTable& global_fields() {
  static const FieldTable table;
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{
      field(&Model::scale, "scale", "factor on every element").neutral(1.0).default_is("1: the bytes are copied")};
  return table;
}

class PassthroughKernel final : public Kernel {
 public:
  explicit PassthroughKernel(const KernelSpec& spec) : scale_(spec.models[0].take(&Model::scale)) {}

  bool copies_input() const noexcept override { return scale_ == 1.0; }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch&) noexcept override {
    simd::scale(in.models[0], scale_, out, tile.count);
  }

 private:
  double scale_;
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) { return std::make_unique<PassthroughKernel>(spec); }

void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note>, Promises& out) {
  const double scale[] = {job.models[0].peek(&Model::scale)};
  promise_combination(measure, scale, {"scale"}, {}, out);
}

}  // namespace

const Method& method_passthrough() {
  static const Method method = {
      .name = "passthrough",
      .title = "Passthrough",
      .summary = "Copies the tensors of one model per slice; with scale, multiplies them.",
      .formula = R"(out = scale * x)",
      .deviations = R"(Without scale (or with scale 1) the stored bytes are copied untouched, NaN payloads included.)",
      .paper = "",
      .base = BaseRule::kOnlyListed,
      .min_models = 1,
      .max_models = 1,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kSelfMergeIsIdentity, Law::kOneModelIsItself, Law::kScaleEquivariant, Law::kRowPermutationCommutes,
               Law::kColumnPermutationCommutes},
      .examples = {{"stack the first layers twice", R"(merge_method: passthrough
slices:
- sources:
  - model: ./model_a
    layer_range: [0, 4]
- sources:
  - model: ./model_a
    layer_range: [2, 4]
dtype: bfloat16
)"}},
      .make_kernel = make,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
