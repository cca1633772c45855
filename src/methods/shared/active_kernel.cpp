#include "methods/shared/active_kernel.h"

#include <cstring>

#include "base/check.h"
#include "simd/blend.h"
#include "simd/ops.h"

namespace crucible {

ActiveKernel::ActiveKernel(const KernelSpec& spec, double epsilon) : epsilon_(epsilon), unique_scales_(spec.models.size(), 1.0) {
  CHECK(spec.has_base);
}

void ActiveKernel::map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch&) noexcept {
  if (in.models.empty()) {
    std::memcpy(out, in.base, static_cast<std::size_t>(tile.count) * sizeof(float));
    return;
  }
  simd::merge_active(in.base, in.models, epsilon_, unique_scales_, out, tile.count);
  for (std::size_t i = 0; i < in.models.size(); ++i)
    measure.models[i].delta_square += simd::sum_square_difference(in.models[i], in.base, tile.count);
  measure.out_delta_square += simd::sum_square_difference(out, in.base, tile.count);
}

}  // namespace crucible
