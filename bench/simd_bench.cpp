// Throughput of the element loops beside a memcpy of the same bytes.
#include <cstring>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "simd/convert.h"
#include "simd/ops.h"
#include "simd/random.h"
#include "simd/softmax.h"
#include "simd/vote.h"

namespace {

constexpr std::int64_t kElems = 1 << 14;  // a tile

std::vector<float> normal_like(std::uint64_t seed) {
  std::vector<float> x(kElems);
  for (std::int64_t i = 0; i < kElems; ++i) {
    double sum = 0;
    for (std::uint64_t k = 0; k < 4; ++k)
      sum += crucible::random_u32({{1, static_cast<std::uint32_t>(seed)}}, static_cast<std::uint64_t>(i) * 4 + k);
    x[static_cast<std::size_t>(i)] = static_cast<float>((sum / 4294967296.0 - 2.0) * 1e-3);
  }
  return x;
}

void items(benchmark::State& state) { state.SetItemsProcessed(state.iterations() * kElems); }

void copy_bytes(benchmark::State& state) {
  // From page to page: between places that differ a little within theirs, some processors copy several times more slowly.
  alignas(4096) static float x[kElems], y[kElems];
  std::memcpy(x, normal_like(1).data(), sizeof x);
  for (auto _ : state) {
    std::memcpy(y, x, sizeof x);
    benchmark::DoNotOptimize(&y[0]);
    benchmark::ClobberMemory();
  }
  items(state);
}
BENCHMARK(copy_bytes);

void bf16_to_float(benchmark::State& state) {
  std::vector<std::uint16_t> raw(kElems, 0x3F80);
  std::vector<float> y(kElems);
  for (auto _ : state) {
    crucible::simd::load_bf16(raw.data(), y.data(), kElems);
    benchmark::ClobberMemory();
  }
  items(state);
}
BENCHMARK(bf16_to_float);

void f16_to_float(benchmark::State& state) {
  std::vector<std::uint16_t> raw(kElems, 0x3C00);
  std::vector<float> y(kElems);
  for (auto _ : state) {
    crucible::simd::load_f16(raw.data(), y.data(), kElems);
    benchmark::ClobberMemory();
  }
  items(state);
}
BENCHMARK(f16_to_float);

void float_to_bf16(benchmark::State& state) {
  const auto x = normal_like(1);
  std::vector<std::uint16_t> raw(kElems);
  for (auto _ : state) benchmark::DoNotOptimize(crucible::simd::store_bf16(x.data(), raw.data(), kElems));
  items(state);
}
BENCHMARK(float_to_bf16);

void float_to_f16(benchmark::State& state) {
  const auto x = normal_like(1);
  std::vector<std::uint16_t> raw(kElems);
  for (auto _ : state) benchmark::DoNotOptimize(crucible::simd::store_f16(x.data(), raw.data(), kElems));
  items(state);
}
BENCHMARK(float_to_f16);

void weighted_sum_of_two(benchmark::State& state) {
  const auto a = normal_like(1);
  const auto b = normal_like(2);
  std::vector<float> y(kElems);
  const float* both[] = {a.data(), b.data()};
  const double weights[] = {0.3, 0.7};
  for (auto _ : state) {
    crucible::simd::weighted_sum(nullptr, both, weights, 1.0, 1.0, y.data(), kElems);
    benchmark::ClobberMemory();
  }
  items(state);
}
BENCHMARK(weighted_sum_of_two);

void elect_two(benchmark::State& state) {
  const auto base = normal_like(3);
  const auto a = normal_like(1);
  const auto b = normal_like(2);
  std::vector<float> y(kElems);
  const float* both[] = {a.data(), b.data()};
  const double weights[] = {1, 1};
  std::int64_t votes[2] = {}, lost[2] = {};
  crucible::simd::VoteCounts counts{0, votes, lost};
  for (auto _ : state) crucible::simd::elect(base.data(), both, {weights, weights, true, 1.0}, y.data(), kElems, counts);
  items(state);
}
BENCHMARK(elect_two);

// Rows of 2048 elements, near each other.
void divergence_of_near_rows(benchmark::State& state) {
  constexpr std::int64_t kRow = 2048;
  std::vector<float> y = normal_like(1), x = normal_like(2);
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] *= 20;
    x[i] += y[i];
  }
  for (auto _ : state) {
    for (std::int64_t row = 0; row < kElems; row += kRow) {
      crucible::simd::NearDivergence near = crucible::simd::near_divergence(x.data() + row, y.data() + row, 1e-8, kRow);
      if (!near.valid) state.SkipWithError("not near");
      benchmark::DoNotOptimize(near);
    }
  }
  items(state);
}
BENCHMARK(divergence_of_near_rows);

void random_numbers(benchmark::State& state) {
  std::vector<std::uint16_t> y(kElems);
  for (auto _ : state) {
    crucible::simd::fill_draws({{1, 2}}, 0, y.data(), kElems);
    benchmark::ClobberMemory();
  }
  items(state);
}
BENCHMARK(random_numbers);

}  // namespace
