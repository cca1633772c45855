// The sketch against plain sums over the same elements.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "run/observe.h"
#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

struct Seen {
  Measure measure;
  std::vector<std::int64_t> elements;
};

// All tiles of a job with made-up values.
Seen see(std::int64_t elems, std::int64_t tile_elems, const std::vector<float>* base, const std::vector<std::vector<float>>& models,
         const std::vector<float>& out, InputForm form = InputForm::kValues) {
  Seen seen;
  Job job;
  job.tiling = {elems, 1, tile_elems, (elems + tile_elems - 1) / tile_elems, false};
  for (std::int64_t t = 0; t < job.tiling.tiles; ++t) {
    const Tile tile = job.tiling.tile(t);
    TileInputs in;
    if (base != nullptr) in.base = base->data() + tile.begin;
    std::vector<const float*> x;
    for (const auto& m : models) x.push_back(m.data() + tile.begin);
    in.in_form(form) = x;
    Measure part;
    observe(job, tile, in, out.data() + tile.begin, part);
    seen.measure.add(part);
    for_each_sample(tile.begin, tile.count, elems, [&](std::int64_t at, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) seen.elements.push_back(tile.begin + at + i);
    });
  }
  return seen;
}

void expect_sums(std::int64_t elems, std::int64_t tile_elems, bool with_base) {
  SCOPED_TRACE(fmt::format("{} elements, tiles of {}, base {}", elems, tile_elems, with_base));
  Rng rng(static_cast<std::uint64_t>(elems));
  const std::vector<float> base = make_values(Values::kNormal, elems, rng), out = make_values(Values::kNormal, elems, rng);
  const std::vector<std::vector<float>> models = {make_values(Values::kNormal, elems, rng), make_values(Values::kNormal, elems, rng)};
  const Seen seen = see(elems, tile_elems, with_base ? &base : nullptr, models, out);
  const Sketch& s = seen.measure.sketch;
  ASSERT_EQ(s.elems, std::ssize(seen.elements));
  EXPECT_EQ(std::set<std::int64_t>(seen.elements.begin(), seen.elements.end()).size(), seen.elements.size()) << "each element once";
  const auto y = [&](std::size_t k, std::int64_t i) {
    const float x = k == 2 ? out[static_cast<std::size_t>(i)] : models[k][static_cast<std::size_t>(i)];
    return d(x) - (with_base ? d(base[static_cast<std::size_t>(i)]) : 0);
  };
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      double sum = 0;
      for (const std::int64_t i : seen.elements) sum += y(a, i) * y(b, i);
      EXPECT_NEAR(s.gram[a * (a + 1) / 2 + b], sum, 1e-9 * static_cast<double>(s.elems)) << a << b;
    }
  }
  double out_square = 0, input_out = 0;
  for (const std::int64_t i : seen.elements) {
    out_square += d(out[static_cast<std::size_t>(i)]) * d(out[static_cast<std::size_t>(i)]);
    input_out += d(out[static_cast<std::size_t>(i)]) * d(models[1][static_cast<std::size_t>(i)]);
  }
  EXPECT_NEAR(s.out_square, out_square, 1e-9 * static_cast<double>(s.elems));
  EXPECT_NEAR(s.input_out[1], input_out, 1e-9 * static_cast<double>(s.elems));
}

TEST(Observe, SumsOfTheSample) {
  for (const bool with_base : {true, false}) {
    for (const std::int64_t elems : {1, 7, 8192, 65'536, 65'537, 100'000, 131'072, 300'001}) expect_sums(elems, 131'072, with_base);
    expect_sums(50'000, 777, with_base);
    expect_sums(150'000, 777, with_base);
  }
}

// Task vectors tell what the values do; to the last bit where subtracting lost nothing.
TEST(Observe, TaskVectorsTellTheSame) {
  Rng rng(3);
  const std::int64_t elems = 100'000;
  const std::vector<float> base = make_values(Values::kBFloat, elems, rng), out = make_values(Values::kNormal, elems, rng);
  std::vector<std::vector<float>> models = {base, base}, moves = models;
  for (std::size_t m = 0; m < models.size(); ++m) {
    for (std::size_t i = 0; i < base.size(); ++i) {
      models[m][i] *= static_cast<float>(1 + below(rng, 3)) / 2;
      moves[m][i] = models[m][i] - base[i];
    }
  }
  const Sketch values = see(elems, 16'384, &base, models, out).measure.sketch;
  const Sketch vectors = see(elems, 16'384, &base, moves, out, InputForm::kTaskVectors).measure.sketch;
  EXPECT_EQ(vectors.gram, values.gram);
  EXPECT_EQ(vectors.input_square, values.input_square);
  EXPECT_EQ(vectors.input_out, values.input_out);
  EXPECT_EQ(vectors.base_out, values.base_out);
  ASSERT_EQ(vectors.histograms.size(), 3u);
  for (std::size_t h = 0; h < 3; ++h) EXPECT_EQ(vectors.histograms[h].counts, values.histograms[h].counts);
}

TEST(Observe, SmallTensorsAreTakenWholeAndLargeOnesInBlocks) {
  const auto count = [](std::int64_t elems) {
    const std::vector<float> zeros(static_cast<std::size_t>(elems));
    return see(elems, 131'072, nullptr, {zeros}, zeros).measure.sketch.elems;
  };
  EXPECT_EQ(count(8192), 8192);
  EXPECT_EQ(count(65'536), 65'536);
  EXPECT_EQ(count(131'072), 16 * 256);
  EXPECT_EQ(count(131'072 + 100), 16 * 256 + 100);
}

// The sample is one of the tensor, however it is cut.
TEST(Observe, TheSampleDoesNotDependOnTiles) {
  const auto sample = [](std::int64_t elems, std::int64_t tile_elems) {
    std::vector<std::int64_t> found;
    for (std::int64_t begin = 0; begin < elems; begin += tile_elems) {
      const std::int64_t count = std::min(tile_elems, elems - begin);
      const std::size_t before = found.size();
      for_each_sample(begin, count, elems, [&](std::int64_t at, std::int64_t n) {
        for (std::int64_t i = 0; i < n; ++i) found.push_back(begin + at + i);
      });
      EXPECT_EQ(has_sample(begin, count, elems), found.size() > before);
    }
    return found;
  };
  for (const std::int64_t elems : {65'537, 100'000, 200'003}) {
    const std::vector<std::int64_t> whole = sample(elems, elems);
    EXPECT_GE(std::ssize(whole), elems / 8192 * 256);
    for (const std::int64_t tile_elems : {100, 768, 1024, 1536, 16'384}) EXPECT_EQ(sample(elems, tile_elems), whole) << tile_elems;
  }
}

// Blocks do not fall in step with rows of a power of two.
TEST(Observe, BlocksLieAtManyPlaces) {
  std::set<std::int64_t> places;
  for_each_sample(0, 131'072, 1 << 24, [&](std::int64_t at, std::int64_t) { places.insert(at % 8192); });
  for_each_sample(1 << 22, 131'072, 1 << 24, [&](std::int64_t at, std::int64_t) { places.insert(at % 8192); });
  EXPECT_GT(places.size(), 24u);
}

TEST(Observe, HistogramsCountPowersOfTwo) {
  const std::vector<float> base = {1, 1, 1, 1}, x = {1, 1.5f, 1 + 0x1p-10f, -1}, out = base;
  const Seen seen = see(4, 4, &base, {x}, out);
  const Histogram& h = seen.measure.sketch.histograms[0];
  EXPECT_EQ(h.zeros, 1u);
  EXPECT_EQ(h.counts[static_cast<std::size_t>(-1 - Histogram::kFirstExponent)], 1u);
  EXPECT_EQ(h.counts[static_cast<std::size_t>(-10 - Histogram::kFirstExponent)], 1u);
  EXPECT_EQ(h.counts[static_cast<std::size_t>(1 - Histogram::kFirstExponent)], 1u);
  EXPECT_EQ(h.total(), 4u);
  EXPECT_EQ(seen.measure.sketch.histograms[1].zeros, 4u);
}

}  // namespace
}  // namespace crucible::test
