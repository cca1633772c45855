// Selection by magnitude and by rank, beside a memcpy of the same bytes. Data: task vectors of f32, and those of bf16, which are tied.
#include <cstring>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "methods/shared/keep_ramp.h"
#include "simd/blend.h"
#include "simd/convert.h"
#include "simd/random.h"
#include "simd/select.h"
#include "simd/vote.h"
#include "tensor/ranks.h"
#include "tensor/selection.h"

namespace {

using namespace crucible;

constexpr std::int64_t kElems = 1 << 14;  // a tile
enum Kind { kF32, kBf16 };

std::vector<float> weights(std::uint32_t seed) {
  std::vector<float> x(kElems);
  for (std::int64_t i = 0; i < kElems; ++i) {
    double sum = 0;
    for (std::uint64_t k = 0; k < 4; ++k) sum += random_u32({{1, seed}}, static_cast<std::uint64_t>(i) * 4 + k);
    x[static_cast<std::size_t>(i)] = static_cast<float>((sum / 4294967296.0 - 2.0) * 0.03);
  }
  return x;
}

std::vector<float> task_vector(Kind kind, std::uint32_t seed = 2) {
  const std::vector<float> base = weights(1);
  std::vector<float> moved = weights(seed), delta(kElems);
  for (std::size_t i = 0; i < moved.size(); ++i) {
    float values[2] = {base[i], base[i] + moved[i] * 0.02f};
    std::uint16_t rounded[2];
    if (kind == kBf16) {
      simd::store_bf16(values, rounded, 2);
      simd::load_bf16(rounded, values, 2);
    }
    delta[i] = values[1] - values[0];
  }
  return delta;
}

void done(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * kElems);
  state.SetBytesProcessed(state.iterations() * kElems * static_cast<std::int64_t>(sizeof(float)));
}

void copy_bytes(benchmark::State& state) {
  // From page to page: between places that differ a little within theirs, some processors copy several times more slowly.
  alignas(4096) static float x[kElems], y[kElems];
  std::memcpy(x, weights(1).data(), sizeof x);
  for (auto _ : state) {
    std::memcpy(y, x, sizeof x);
    benchmark::DoNotOptimize(&y[0]);
    benchmark::ClobberMemory();
  }
  done(state);
}
BENCHMARK(copy_bytes);

void draw_by_rank(benchmark::State& state, bool counted) {
  const auto x = task_vector(static_cast<Kind>(state.range(0)));
  const std::int64_t row = state.range(1);
  const KeepRamp ramp(0.7, 0.2, row);
  std::vector<std::uint64_t> thresholds;
  for (std::int64_t r = 0; r < row; ++r) thresholds.push_back(ramp.threshold(r));
  const RankDraw draw(thresholds, {row / 2, row});
  std::vector<std::uint16_t> upper(kElems);
  const RandomKey key{{1, 2}};
  simd::fill_draws(key, 0, upper.data(), kElems);
  std::vector<std::byte> work(static_cast<std::size_t>(RankDraw::work_bytes(row)));
  std::vector<std::uint64_t> marks(static_cast<std::size_t>(row / 64 + 1));
  std::int64_t counts[2] = {};
  for (auto _ : state) {
    for (std::int64_t at = 0; at + row <= kElems; at += row)
      draw.draw(x.data() + at, {upper.data() + at, key, static_cast<std::uint64_t>(at)}, marks.data(), counted ? counts : nullptr,
                work.data());
    benchmark::DoNotOptimize(counts);
  }
  done(state);
}
BENCHMARK_CAPTURE(draw_by_rank, counted, true)->ArgsProduct({{kF32, kBf16}, {4, 64, 256, 1024, 1536, 4096, kElems}});
BENCHMARK_CAPTURE(draw_by_rank, uncounted, false)->ArgsProduct({{kF32, kBf16}, {4, 64, 256, 1024, 1536, 4096, kElems}});

void count_coarse_digits(benchmark::State& state) {
  const auto x = task_vector(static_cast<Kind>(state.range(0)));
  std::vector<std::uint64_t> counts(kCoarseBuckets);
  for (auto _ : state) count_coarse(x.data(), kElems, counts.data());
  done(state);
}
BENCHMARK(count_coarse_digits)->Arg(kF32)->Arg(kBf16);

std::uint32_t middle(const std::vector<float>& x) {
  std::vector<std::uint64_t> counts(kCoarseBuckets);
  count_coarse(x.data(), kElems, counts.data());
  RankCut cut(kElems / 2);
  cut.see_coarse(counts);
  return cut.coarse_bucket();
}

void count_fine_digits(benchmark::State& state) {
  const auto x = task_vector(static_cast<Kind>(state.range(0)));
  std::vector<std::uint64_t> counts(kFineBuckets);
  const std::uint32_t bucket = middle(x);
  for (auto _ : state) count_fine(x.data(), kElems, bucket, counts.data());
  done(state);
}
BENCHMARK(count_fine_digits)->Arg(kF32)->Arg(kBf16);

void pick_window(benchmark::State& state) {
  const auto x = task_vector(static_cast<Kind>(state.range(0)));
  std::vector<std::uint32_t> found(kElems);
  const std::uint32_t place = middle(x) << kCoarseShift;
  std::int64_t above = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        simd::pick_magnitudes(x.data(), place - (12u << kCoarseShift), place + (12u << kCoarseShift), found.data(), above, kElems));
  }
  done(state);
}
BENCHMARK(pick_window)->Arg(kF32)->Arg(kBf16);

void keep_band(benchmark::State& state) {
  const auto x = task_vector(static_cast<Kind>(state.range(0)));
  std::vector<float> kept(kElems);
  const std::uint32_t magnitude = middle(x) << kCoarseShift;
  for (auto _ : state) {
    simd::MagnitudeCut outer{magnitude, kElems / 20}, inner;
    benchmark::DoNotOptimize(simd::keep_band(x.data(), outer, inner, kept.data(), kElems));
  }
  done(state);
}
BENCHMARK(keep_band)->Arg(kF32)->Arg(kBf16);

void draw_at_random(benchmark::State& state) {
  const auto x = task_vector(kBf16);
  std::vector<float> kept(kElems);
  std::vector<std::uint16_t> upper(kElems);
  std::vector<std::uint64_t> marks(kElems / 64), equal(kElems / 64);
  for (auto _ : state) {
    simd::fill_draws({{1, 2}}, 0, upper.data(), kElems);
    benchmark::DoNotOptimize(simd::mark_below(upper.data(), std::uint64_t{1} << 31, marks.data(), equal.data(), kElems));
    simd::keep_marked(x.data(), marks.data(), kept.data(), kElems);
  }
  done(state);
}
BENCHMARK(draw_at_random);

void spread_of_two(benchmark::State& state) {
  const auto a = task_vector(kBf16, 2), b = task_vector(kBf16, 3);
  const float* both[] = {a.data(), b.data()};
  std::vector<float> y(kElems);
  for (auto _ : state) {
    simd::spread(both, y.data(), kElems);
    benchmark::ClobberMemory();
  }
  done(state);
}
BENCHMARK(spread_of_two);

void majority_of_two(benchmark::State& state) {
  const auto base = weights(1), a = weights(2), b = weights(3);
  const float* both[] = {a.data(), b.data()};
  const double weigh[] = {0.4, 0.6};
  std::vector<float> y(kElems);
  std::int64_t votes[2] = {}, lost[2] = {};
  simd::VoteCounts counts{0, votes, lost};
  for (auto _ : state) simd::merge_majority(base.data(), both, nullptr, weigh, 1e-6, y.data(), kElems, counts);
  done(state);
}
BENCHMARK(majority_of_two);

}  // namespace
