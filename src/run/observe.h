// Looks at the tiles of a merge while they are in cache: norms, inner products and histograms of a sample of their elements.
#pragma once

#include "methods/kernel.h"
#include "plan/plan.h"

namespace crucible {

// Adds the sample of one tile to `measure.sketch`. `out`: the merged values, before they are rounded to their type.
void observe(const Job& job, const Tile& tile, const TileInputs& in, const float* out, Measure& measure);

}  // namespace crucible
