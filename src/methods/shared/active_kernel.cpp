#include "methods/shared/active_kernel.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "methods/shared/spot.h"
#include "simd/blend.h"

namespace crucible {

ActiveKernel::ActiveKernel(const KernelSpec& spec, double epsilon)
    : epsilon_(epsilon), elems_(spec.tiling.elems), unique_scales_(spec.models.size(), 1.0) {
  CHECK(spec.has_base);
}

void ActiveKernel::map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch&) noexcept {
  if (in.models.empty()) {
    std::memcpy(out, in.base, static_cast<std::size_t>(tile.count) * sizeof(float));
    return;
  }
  simd::merge_active(in.base, in.models, epsilon_, unique_scales_, out, tile.count);
  if (!plan_) return;
  spot_check(tile, elems_, 0, measure, [&](std::size_t, std::int64_t i) {
    const double base = static_cast<double>(in.base[i]);
    double sum = 0, last = 0;
    std::size_t active = 0, alone = 0;
    for (std::size_t m = 0; m < in.models.size(); ++m) {
      const double delta = static_cast<double>(in.models[m][i]) - base;
      if (std::abs(delta) <= plan_->epsilon) continue;
      sum += delta;
      last = delta;
      alone = m;
      ++active;
    }
    if (active == 1 && !plan_->unique_scales.empty()) sum = last * plan_->unique_scales[alone];
    return rounds_to(base + sum / static_cast<double>(std::max<std::size_t>(active, 1)), std::abs(base), out[i]);
  });
}

}  // namespace crucible
