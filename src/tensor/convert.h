// Element conversions by dtype: the one place that joins dtypes with the loops of simd.
#pragma once

#include <cstdint>

#include "crucible/dtype.h"

namespace crucible {

// f32 values of n stored elements of a mergeable dtype; less those of `less`, where it is given.
void load_floats(DType dtype, const void* in, float* out, std::int64_t n, const float* less = nullptr);
// Stores n values, rounded to nearest even, and says how many of the stored ones are at the end of what the type holds.
struct Stored {
  std::int64_t nonfinite = 0;
  std::int64_t saturated = 0;  // of the largest finite magnitude
};
Stored store_floats(DType dtype, const float* in, void* out, std::int64_t n);

}  // namespace crucible
