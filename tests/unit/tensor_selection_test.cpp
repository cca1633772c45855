// Ranks and cuts by magnitude against a stable sort.
#include "tensor/selection.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "support/kernel_driver.h"
#include "support/slow_twins.h"
#include "tensor/ranks.h"

namespace crucible::test {
namespace {

// Magnitudes as integers keep NaN in its place, which |x| < |y| does not.
std::vector<std::uint32_t> sorted_order(const std::vector<float>& x, bool descending) {
  std::vector<std::uint32_t> order(x.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t ma = magnitude_bits(x[a]), mb = magnitude_bits(x[b]);
    return descending ? ma > mb : ma < mb;
  });
  return order;
}

std::vector<float> sorted_or_broken_values(std::int64_t n, Rng& rng) {
  auto x = make_values(kAllValues[static_cast<std::size_t>(below(rng, std::ssize(kAllValues)))], n, rng);
  const std::int64_t kind = below(rng, 6);
  if (kind == 0) std::fill(x.begin(), x.end(), x.empty() ? 0.0f : x[0]);
  if (kind == 1) std::sort(x.begin(), x.end());
  for (float& v : x) {
    if (kind == 2 && below(rng, 9) == 0) v = below(rng, 2) == 0 ? NAN : -INFINITY;
  }
  return x;
}

// What RankDraw promises, from a stable sort.
struct Drawn {
  std::vector<std::uint64_t> marks;
  std::vector<std::int64_t> in_groups;
  bool operator==(const Drawn&) const = default;
};
Drawn draw_by_sorting(const std::vector<float>& x, const std::vector<std::uint64_t>& thresholds, const std::vector<std::int64_t>& ends,
                      const std::vector<std::uint32_t>& random) {
  Drawn drawn{std::vector<std::uint64_t>((x.size() + 63) / 64), std::vector<std::int64_t>(ends.size())};
  const auto order = sorted_order(x, false);
  for (std::size_t r = 0; r < order.size(); ++r) {
    const std::uint32_t i = order[r];
    if (random[i] >= thresholds[r]) continue;
    drawn.marks[i / 64] |= std::uint64_t{1} << (i % 64);
    const auto group = std::upper_bound(ends.begin(), ends.end(), static_cast<std::int64_t>(r)) - ends.begin();
    ++drawn.in_groups[static_cast<std::size_t>(group)];
  }
  return drawn;
}

// Draws both ways from a row; some thresholds are next to draws of its elements.
void check_draws(const std::vector<float>& x, Rng& rng) {
  const auto n = std::ssize(x);
  constexpr std::uint64_t kAll = std::uint64_t{1} << 32;
  const RandomKey key{{static_cast<std::uint32_t>(rng()), static_cast<std::uint32_t>(rng())}};
  const std::uint64_t first = rng() >> 2;
  std::vector<std::uint32_t> random;
  std::vector<std::uint16_t> upper;
  for (std::int64_t i = 0; i < n; ++i) {
    random.push_back(random_draw(key, first + static_cast<std::uint64_t>(i)));
    upper.push_back(static_cast<std::uint16_t>(random.back() >> 16));
  }
  const auto near_a_draw = [&] { return std::min(random[static_cast<std::size_t>(below(rng, n))] + std::uint64_t{rng() % 3}, kAll); };
  const bool at_a_draw = below(rng, 2) == 0;
  const double low = at_a_draw ? static_cast<double>(near_a_draw()) * 0x1p-32 : uniform(rng, -0.5, 1.2);
  const double rise = at_a_draw || below(rng, 5) == 0 ? 0.0 : uniform(rng, 0.0, 1.5);
  std::vector<std::uint64_t> thresholds;
  for (std::int64_t r = 0; r < n; ++r) {
    const double p = std::clamp(low + rise * static_cast<double>(r) / static_cast<double>(n), 0.0, 1.0);
    thresholds.push_back(static_cast<std::uint64_t>(p * 0x1p32));
  }
  if (below(rng, 4) == 0) {  // no ramp at all
    for (std::uint64_t& t : thresholds) t = below(rng, 6) == 0 ? kAll : near_a_draw();
    std::sort(thresholds.begin(), thresholds.end());
  }
  std::vector<std::int64_t> ends;
  for (std::int64_t d = 1; d <= 10; ++d) ends.push_back((d * n + 9) / 10);
  const RankDraw draw(thresholds, ends);
  const Drawn want = draw_by_sorting(x, thresholds, ends, random);
  std::vector<std::byte> work(static_cast<std::size_t>(RankDraw::work_bytes(n)));
  const auto blank = [&] { return Drawn{std::vector<std::uint64_t>(want.marks.size(), 0xABu), std::vector<std::int64_t>(ends.size())}; };
  Drawn got = blank();
  draw.draw(x.data(), {upper.data(), key, first}, got.marks.data(), got.in_groups.data(), work.data());
  RC_ASSERT(got == want);
  got = blank();
  draw.draw(x.data(), {upper.data(), key, first}, got.marks.data(), nullptr, work.data());
  RC_ASSERT(got.marks == want.marks);
  const std::uint32_t* order = draw.order(x.data(), work.data());
  RC_ASSERT(std::vector<std::uint32_t>(order, order + n) == sorted_order(x, false));
}

RC_GTEST_PROP(Ranks, DrawsAreThoseOfAStableSort, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto n = *rc::gen::oneOf(rc::gen::inRange<std::int64_t>(1, 130), rc::gen::inRange<std::int64_t>(1, 5000));
  check_draws(sorted_or_broken_values(n, rng), rng);
}

// Task vectors of bf16 models: most keys are of one magnitude, those of weights near 0 are not.
TEST(Ranks, DrawsFromFineTunes) {
  Rng rng(6);
  for (const std::int64_t n : {64, 1000, 1536, 4096}) {
    for (const double step : {1e-2, 1e-3, 1e-4, 3e-5, 1e-6}) {
      for (int round = 0; round < 5; ++round) {
        std::vector<float> task;
        for (std::int64_t i = 0; i < n; ++i) {
          const auto bf16 = [](double v) {
            const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(v));
            return std::bit_cast<float>((bits + 0x8000u) & 0xFFFF0000u);
          };
          const double base = 0.02 * (uniform(rng, -1, 1) + uniform(rng, -1, 1));
          task.push_back(bf16(base + step * (uniform(rng, -1, 1) + uniform(rng, -1, 1))) - bf16(base));
        }
        check_draws(task, rng);
      }
    }
  }
}

// Many elements of one magnitude, and among them a few that are larger by less than its last bit as a bf16 number.
TEST(Ranks, DrawsFromMagnitudesWithAFewMoreBits) {
  Rng rng(8);
  for (const std::int64_t n : {1000, 4096, 20'000}) {
    for (int round = 0; round < 60; ++round) {
      std::vector<float> x;
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t kind = below(rng, 100);
        const float magnitude = kind < 2 ? 1.0f + static_cast<float>(below(rng, 20)) * 0x1p-14f : kind < 70 ? 1.0f : 0.5f;
        x.push_back(below(rng, 2) == 0 ? magnitude : -magnitude);
      }
      check_draws(x, rng);
    }
  }
}

// Long rows, in which keys hold many elements, and tens of thousands of equal ones.
TEST(Ranks, DrawsFromLongRows) {
  Rng rng(4);
  for (const Values kind : kAllValues) check_draws(make_values(kind, 70'001, rng), rng);
  std::vector<float> x = make_values(Values::kNormal, 200'000, rng);
  for (std::size_t i = 0; i < x.size(); i += 2) x[i] = 1e-3f;
  check_draws(x, rng);
}

TEST(Ranks, MagnitudesSortAsIntegers) {
  EXPECT_EQ(magnitude_bits(-0.0f), magnitude_bits(0.0f));
  EXPECT_EQ(magnitude_bits(-1.5f), magnitude_bits(1.5f));
  EXPECT_LT(magnitude_bits(1e-45f), magnitude_bits(1e-38f));
  EXPECT_LT(magnitude_bits(3e38f), magnitude_bits(INFINITY));
  EXPECT_LT(magnitude_bits(INFINITY), magnitude_bits(NAN));
}

// The passes of a cut over tiles of any length; true where inside.
std::vector<char> cut(const std::vector<float>& x, std::int64_t take, std::int64_t tile) {
  const auto n = std::ssize(x);
  RankCut c(take);
  std::vector<std::uint64_t> coarse(static_cast<std::size_t>(kCoarseBuckets)), fine(static_cast<std::size_t>(kFineBuckets)), ties;
  count_coarse(x.data(), n, coarse.data());
  c.see_coarse(coarse);
  count_fine(x.data(), n, c.coarse_bucket(), fine.data());
  c.see_fine(fine);
  if (c.needs_ties()) {
    for (std::int64_t at = 0; at < n; at += tile) ties.push_back(count_equal(x.data() + at, std::min(tile, n - at), c.magnitude()));
    c.see_ties(ties);
  }
  std::vector<char> inside;
  std::vector<std::uint64_t> marks(x.size() / 64 + 1);
  for (std::int64_t at = 0; at < n; at += tile) {
    const std::int64_t count = std::min(tile, n - at);
    simd::MagnitudeCut here = c.in_tile(at / tile), none;
    simd::mark_band(x.data() + at, here, none, marks.data(), count);
    for (std::int64_t i = 0; i < count; ++i) inside.push_back(static_cast<char>(marks[static_cast<std::size_t>(i / 64)] >> (i % 64) & 1));
  }
  return inside;
}

RC_GTEST_PROP(RankCut, TakesTheFirstOfAStableSort, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto n = *rc::gen::inRange<std::int64_t>(1, 2000);
  const auto x = sorted_or_broken_values(n, rng);
  const auto take = *rc::gen::oneOf(rc::gen::inRange<std::int64_t>(0, n + 1), rc::gen::element<std::int64_t>(0, 1, n - 1, n));
  const auto order = sorted_order(x, true);
  std::vector<char> want(x.size());
  for (std::int64_t r = 0; r < take; ++r) want[order[static_cast<std::size_t>(r)]] = 1;
  RC_ASSERT(cut(x, take, 1 + below(rng, n)) == want);
  RC_ASSERT(cut(x, take, n) == want);
}

// Without a count of ties per tile every tile takes as many as the tensor may: what needs_ties is for.
TEST(RankCut, TiesNeedTheirPass) {
  const std::vector<float> x = {1, 1, 1, 1, 2, 1};
  EXPECT_EQ(cut(x, 3, 2), (std::vector<char>{1, 1, 0, 0, 1, 0}));
  EXPECT_EQ(cut(x, 1, 2), (std::vector<char>{0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(cut(x, 6, 2), (std::vector<char>{1, 1, 1, 1, 1, 1}));
}

struct Cuts {
  int passes = 0;
  std::vector<std::vector<char>> inside;  // of each cut
  std::int64_t nonzero = 0;
};

constexpr std::int64_t kMuch = std::int64_t{1} << 30;

// All passes over tiles of `tile` elements, the chunks in reverse order.
Cuts run_cuts(const std::vector<float>& x, RankCuts::Spec spec, std::int64_t tile) {
  const auto n = std::ssize(x);
  spec.elems = n;
  spec.tiles = (n + tile - 1) / tile;
  spec.tile_elems = tile;
  const std::int64_t tiles = spec.tiles, chunk = spec.chunk_tiles;
  RankCuts cuts(std::move(spec));
  const std::int64_t most = RankCuts::most_counter_bytes(static_cast<std::int64_t>(cuts.size()), tiles);
  Cuts all;
  for (bool more = true; more; ++all.passes) {
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(cuts.count_size()));
    EXPECT_LE(std::ssize(counts) * 8, most);
    // Two workers, each with counters of its own.
    std::vector<std::uint64_t> others(counts.size());
    for (std::int64_t c = (tiles - 1) / chunk; c >= 0; --c) {
      for (std::int64_t t = c * chunk; t < std::min(tiles, (c + 1) * chunk); ++t)
        cuts.reduce(t, x.data() + t * tile, std::min(tile, n - t * tile), (c % 3 == 1 ? others : counts).data());
    }
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += others[i];
    more = cuts.seal(counts);
  }
  all.inside.resize(cuts.size());
  for (std::size_t c = 0; c < cuts.size(); ++c) {
    for (std::int64_t t = 0; t < tiles; ++t) {
      CutWalk walk(cuts[c], t);
      for (std::int64_t i = t * tile; i < std::min(n, (t + 1) * tile); ++i)
        all.inside[c].push_back(walk.inside(magnitude_bits(x[static_cast<std::size_t>(i)])) ? 1 : 0);
    }
  }
  all.nonzero = cuts.nonzero();
  return all;
}

std::vector<char> first_of_sort(const std::vector<float>& x, std::int64_t take) {
  const auto order = sorted_order(x, true);
  std::vector<char> inside(x.size());
  for (std::int64_t r = 0; r < take; ++r) inside[order[static_cast<std::size_t>(r)]] = 1;
  return inside;
}

RC_GTEST_PROP(RankCuts, TakeTheFirstOfAStableSort, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto n = *rc::gen::inRange<std::int64_t>(1, 2000);
  const auto x = sorted_or_broken_values(n, rng);
  const std::vector<std::int64_t> takes = {below(rng, n + 1), below(rng, n + 1)};
  // Short tiles are many: then the cut is looked for in a window first, if there is room.
  const std::int64_t tile = below(rng, 2) == 0 ? 1 + below(rng, n) : 1 + below(rng, 16);
  const Cuts cuts = run_cuts(x, {.takes = takes, .chunk_tiles = 1 + below(rng, 6), .keep_budget_bytes = below(rng, 2) * kMuch}, tile);
  for (std::size_t c = 0; c < 2; ++c) RC_ASSERT(cuts.inside[c] == first_of_sort(x, takes[c]));
}

// A cut in a share of what is not 0.
RC_GTEST_PROP(RankCuts, CountWhatIsNotZero, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto n = *rc::gen::inRange<std::int64_t>(1, 2000);
  auto x = sorted_or_broken_values(n, rng);
  const std::int64_t zeros = below(rng, 4);
  for (float& v : x) v = below(rng, 4) < zeros ? -0.0f : v;
  const double share = static_cast<double>(below(rng, 101)) / 100;
  const Cuts cuts = run_cuts(x, {.share_of_nonzero = share, .chunk_tiles = 1 + below(rng, 6), .keep_budget_bytes = below(rng, 2) * kMuch},
                             1 + below(rng, 20));
  const std::int64_t nonzero = std::count_if(x.begin(), x.end(), [](float v) { return v != 0; });
  RC_ASSERT(cuts.nonzero == nonzero);
  RC_ASSERT(cuts.inside[0] == first_of_sort(x, share_of(share, nonzero)));
}

// Ties among few values are settled by what the second pass noted; among many values of one bucket they take a third.
TEST(RankCuts, ThirdPassOnlyWhereAChunkHasManyValuesNearTheCut) {
  for (const std::int64_t values : {1, 8, 9, 100}) {
    std::vector<float> x;
    for (std::int64_t i = 0; i < 3000; ++i) x.push_back(1.0f + static_cast<float>(i % values) * 0x1p-20f);
    const Cuts cuts = run_cuts(x, {.takes = {1234}}, 1000);
    EXPECT_EQ(cuts.passes, values > 8 ? 3 : 2) << values;
    EXPECT_EQ(cuts.inside[0], first_of_sort(x, 1234)) << values;
    // In chunks of several tiles, the tiles of the one chunk that takes the last take another.
    const Cuts chunks = run_cuts(x, {.takes = {1234}, .chunk_tiles = 10}, 100);
    EXPECT_EQ(chunks.passes, cuts.passes + 1) << values;
    EXPECT_EQ(chunks.inside, cuts.inside) << values;
  }
}

// A sample and one pass decide, unless the sample misleads or too many values lie near the cut.
TEST(RankCuts, OnePassOverAllWhereTheSampleTellsTheTruth) {
  Rng rng(7);
  constexpr std::int64_t kTile = 4096;
  const RankCuts::Spec spec = {.takes = {120'000, 4'000}, .keep_budget_bytes = kMuch};
  std::vector<float> x = make_values(Values::kNormal, 400'000, rng);
  const Cuts plain = run_cuts(x, spec, kTile);
  EXPECT_EQ(plain.passes, 2);
  for (std::size_t c = 0; c < 2; ++c) EXPECT_EQ(plain.inside[c], first_of_sort(x, spec.takes[c]));

  RankCuts::Spec chunks = spec;
  chunks.chunk_tiles = 4;
  const Cuts by_chunk = run_cuts(x, chunks, kTile / 4);
  EXPECT_EQ(by_chunk.passes, 2);
  EXPECT_EQ(by_chunk.inside, plain.inside);

  RankCuts::Spec without = spec;
  without.keep_budget_bytes = 1000;
  EXPECT_EQ(run_cuts(x, without, kTile).inside, plain.inside);

  std::vector<float> misleading = x;
  for (std::int64_t i = 0; i < std::ssize(x); ++i) misleading[static_cast<std::size_t>(i)] *= i / kTile % 16 == 0 ? 100.0f : 1.0f;
  const Cuts missed = run_cuts(misleading, spec, kTile);
  EXPECT_EQ(missed.passes, 4);
  for (std::size_t c = 0; c < 2; ++c) EXPECT_EQ(missed.inside[c], first_of_sort(misleading, spec.takes[c]));

  std::vector<float> equal = x;
  for (std::size_t i = 0; i < x.size(); i += 2) equal[i] = 1.03f;
  for (const std::int64_t chunk : {1, 4}) {
    const Cuts level = run_cuts(equal, {.takes = {160'000}, .chunk_tiles = chunk, .keep_budget_bytes = kMuch}, kTile / chunk);
    EXPECT_EQ(level.passes, 2);
    EXPECT_EQ(level.inside[0], first_of_sort(equal, 160'000));
  }

  std::vector<float> close = x;
  for (std::size_t i = 0; i < x.size(); i += 2) close[i] = 1.0f + static_cast<float>(i) * 0x1p-23f;
  for (const std::int64_t chunk : {1, 4}) {
    const Cuts crowded = run_cuts(close, {.takes = {160'000}, .chunk_tiles = chunk, .keep_budget_bytes = kMuch}, kTile / chunk);
    EXPECT_GE(crowded.passes, 3);
    EXPECT_EQ(crowded.inside[0], first_of_sort(close, 160'000));
  }
}

// Few magnitudes, far apart: the sample may take the neighbour of the one in which the cut lies.
TEST(RankCuts, WindowsReachTheNextMagnitudeWhereFewDiffer) {
  Rng rng(11);
  std::vector<float> x;
  for (std::int64_t i = 0; i < 200'000; ++i) x.push_back(std::pow(1.3f, static_cast<float>(below(rng, 20))));
  std::vector<float> sorted = x;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (std::int64_t edge = 1; edge < std::ssize(x); ++edge) {
    if (sorted[static_cast<std::size_t>(edge)] == sorted[static_cast<std::size_t>(edge - 1)]) continue;
    for (const std::int64_t take : {edge - 300, edge - 1, edge, edge + 1, edge + 300}) {
      const Cuts cuts = run_cuts(x, {.takes = {take}, .keep_budget_bytes = kMuch}, 512);
      EXPECT_EQ(cuts.passes, 2) << take;
      EXPECT_EQ(cuts.inside[0], first_of_sort(x, take)) << take;
    }
  }
}

// With very many tiles ties are counted in groups first, then in the tiles of one group.
TEST(RankCuts, TiesOfVeryManyTiles) {
  Rng rng(8);
  std::vector<float> x;
  for (std::int64_t i = 0; i < 50'000; ++i) x.push_back(static_cast<float>(1 + below(rng, 3)));
  for (const std::int64_t take : {20'000, 20'001, 34'567, 49'999, 50'000}) {
    const Cuts cuts = run_cuts(x, {.takes = {take}}, 1);
    EXPECT_EQ(cuts.passes, take == 50'000 ? 2 : 4) << take;
    EXPECT_EQ(cuts.inside[0], first_of_sort(x, take)) << take;
  }
}

TEST(Counting, BucketsHoldEveryElementOnce) {
  Rng rng(3);
  const auto x = make_values(Values::kSpread, 20000, rng);
  std::vector<std::uint64_t> coarse(static_cast<std::size_t>(kCoarseBuckets));
  count_coarse(x.data(), 20000, coarse.data());
  EXPECT_EQ(std::accumulate(coarse.begin(), coarse.end(), std::uint64_t{0}), 20000u);
  const std::uint32_t bucket = magnitude_bits(x[0]) >> kCoarseShift;
  std::vector<std::uint64_t> fine(static_cast<std::size_t>(kFineBuckets));
  count_fine(x.data(), 20000, bucket, fine.data());
  EXPECT_EQ(std::accumulate(fine.begin(), fine.end(), std::uint64_t{0}), coarse[bucket]);
  EXPECT_EQ(fine[magnitude_bits(x[0]) & (kFineBuckets - 1)], count_equal(x.data(), 20000, magnitude_bits(x[0])));
}

}  // namespace
}  // namespace crucible::test
