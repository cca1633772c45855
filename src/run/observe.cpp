#include "run/observe.h"

#include <algorithm>

#include "base/aligned.h"
#include "simd/gram.h"
#include "simd/histogram.h"
#include "simd/ops.h"

namespace crucible {
namespace {

void add_to(Histogram& histogram, const float* x, const float* base, std::int64_t n) noexcept {
  static_assert(Histogram::kBuckets == simd::kExponentBuckets);
  histogram.zeros += static_cast<std::uint64_t>(simd::count_exponents(base, x, Histogram::kFirstExponent, histogram.counts.data(), n));
}

// x + y in `room`: a model's values from its task vector, off by the rounding of that, which is none for near values of f16 or bf16.
const float* add(const float* x, const float* y, AlignedVector<float>& room, std::int64_t n) {
  if (std::ssize(room) < n) room.resize(static_cast<std::size_t>(n));
  simd::add(x, y, room.data(), n);
  return room.data();
}

}  // namespace

void observe(const Job& job, const Tile& tile, const TileInputs& in, const float* out, Measure& measure) {
  if (!has_sample(tile.begin, tile.count, job.tiling.elems)) return;  // most tiles: they are small
  Sketch& sketch = measure.sketch;
  const std::size_t n = std::max(in.models.size(), in.task_vectors.size());
  sketch.gram.resize((n + 1) * (n + 2) / 2);
  sketch.input_square.resize(n);
  sketch.input_out.resize(n);
  sketch.histograms.resize(n + 1);
  // Tiles with a sample are many.
  thread_local std::vector<const float*> y;
  y.resize(n + 1);
  thread_local std::vector<AlignedVector<float>> sums;
  if (sums.size() < in.task_vectors.size()) sums.resize(in.task_vectors.size());
  for_each_sample(tile.begin, tile.count, job.tiling.elems, [&](std::int64_t at, std::int64_t count) {
    const float* base = in.base == nullptr ? nullptr : in.base + at;
    for (std::size_t i = 0; i < n; ++i) y[i] = in.models.empty() ? add(base, in.task_vectors[i] + at, sums[i], count) : in.models[i] + at;
    y[n] = out + at;
    sketch.elems += count;
    simd::add_gram(base, y, sketch.gram.data(), count);
    if (base != nullptr) {
      sketch.base_square += simd::sum_squares(base, count);
      sketch.out_square += simd::sum_squares(y[n], count);
      sketch.base_out += simd::dot(base, y[n], count);
      for (std::size_t i = 0; i < n; ++i) {
        sketch.input_square[i] += simd::sum_squares(y[i], count);
        sketch.input_out[i] += simd::dot(y[i], y[n], count);
      }
    }
    const std::int64_t counted = job.tiling.elems <= kSampleWhole ? count : std::min(count, kSpotElems);
    for (std::size_t i = 0; i <= n; ++i) add_to(sketch.histograms[i], y[i], base, counted);
  });
  if (in.base != nullptr) return;
  // Without a base the vectors are the inputs themselves.
  const auto at = [](std::size_t i, std::size_t j) { return i * (i + 1) / 2 + j; };
  sketch.out_square = sketch.gram[at(n, n)];
  for (std::size_t i = 0; i < n; ++i) {
    sketch.input_square[i] = sketch.gram[at(i, i)];
    sketch.input_out[i] = sketch.gram[at(n, i)];
  }
}

}  // namespace crucible
