#include "tensor/convert.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"
#include "simd/convert.h"
#include "simd/ops.h"

namespace crucible {
namespace {

struct Converter {
  DType dtype;
  void (*load)(const void*, float*, std::int64_t, const float*) noexcept;
  std::int64_t (*store)(const float*, void*, std::int64_t) noexcept;
};
constexpr Converter kConverters[] = {
    {DType::kF16, simd::load_f16, simd::store_f16},
    {DType::kBF16, simd::load_bf16, simd::store_bf16},
    {DType::kF32, simd::load_f32, simd::store_f32},
    {DType::kF64, simd::load_f64, simd::store_f64},
};

const Converter& converter(DType dtype) {
  for (const Converter& c : kConverters) {
    if (c.dtype == dtype) return c;
  }
  CHECK(false, "{} is not a type of merge arithmetic", facts(dtype).name);
}

}  // namespace

void load_floats(DType dtype, const void* in, float* out, std::int64_t n, const float* less) { converter(dtype).load(in, out, n, less); }

Stored store_floats(DType dtype, const float* in, void* out, std::int64_t n) {
  const Converter& c = converter(dtype);
  const std::int64_t at_the_end = c.store(in, out, n);
  if (at_the_end == 0) return {};
  // Rare: the stored values are read again to tell the two apart.
  Stored stored;
  constexpr std::int64_t kBlock = 1024;
  float back[kBlock];
  const std::int64_t bytes = facts(dtype).bits / 8;
  for (std::int64_t i = 0; i < n; i += kBlock) {
    const std::int64_t m = std::min(kBlock, n - i);
    c.load(static_cast<const std::byte*>(out) + i * bytes, back, m, nullptr);
    stored.nonfinite += simd::count_nonfinite(back, m);
  }
  stored.saturated = at_the_end - stored.nonfinite;
  return stored;
}

}  // namespace crucible
