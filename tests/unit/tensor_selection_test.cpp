// Ranks and cuts by magnitude against a stable sort.
#include "tensor/selection.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/kernel_driver.h"
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

std::vector<float> some_values(std::int64_t n, Rng& rng) {
  auto x = make_values(kAllValues[static_cast<std::size_t>(below(rng, std::ssize(kAllValues)))], n, rng);
  const std::int64_t kind = below(rng, 6);
  if (kind == 0) std::fill(x.begin(), x.end(), x.empty() ? 0.0f : x[0]);
  if (kind == 1) std::sort(x.begin(), x.end());
  for (float& v : x) {
    if (kind == 2 && below(rng, 9) == 0) v = below(rng, 2) == 0 ? NAN : -INFINITY;
  }
  return x;
}

RC_GTEST_PROP(Ranks, AreThoseOfAStableSort, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  // Below 49 elements another sort runs.
  const auto n = *rc::gen::oneOf(rc::gen::inRange<std::int64_t>(0, 60), rc::gen::inRange<std::int64_t>(47, 52),
                                 rc::gen::inRange<std::int64_t>(0, 5000));
  const auto x = some_values(n, rng);
  std::vector<std::uint32_t> order(x.size());
  std::vector<std::uint64_t> work(2 * x.size());
  order_by_magnitude(x.data(), n, order.data(), work.data());
  RC_ASSERT(order == sorted_order(x, false));
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
  for (std::int64_t at = 0; at < n; at += tile) {
    CutWalk walk(c, at / tile);
    for (std::int64_t i = at; i < std::min(n, at + tile); ++i)
      inside.push_back(walk.inside(magnitude_bits(x[static_cast<std::size_t>(i)])) ? 1 : 0);
  }
  return inside;
}

RC_GTEST_PROP(RankCut, TakesTheFirstOfAStableSort, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto n = *rc::gen::inRange<std::int64_t>(1, 2000);
  const auto x = some_values(n, rng);
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
