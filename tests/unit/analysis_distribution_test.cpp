// Distributions against sorting and plain f64 sums, over many sizes, kinds of numbers and cuts into tiles.
#include "analysis/distribution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "analysis/advice.h"
#include "analysis/rank.h"

namespace crucible {
namespace {

constexpr std::array kQuantiles = {0.0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.999, 1.0};
constexpr std::array kShares = {0.0, 0.01, 0.1, 0.35, 0.5, 0.9, 1.0};

// Numbers as they occur, and as they should not.
std::vector<float> draw(int kind, std::size_t n, std::mt19937_64& random) {
  std::normal_distribution<float> normal(0, 0.02F);
  std::vector<float> x(n);
  for (float& v : x) {
    const std::uint64_t bits = random();
    switch (kind) {
      case 0: v = normal(random); break;
      case 1: {  // bfloat16
        const float wide = normal(random);
        std::uint32_t word;
        std::memcpy(&word, &wide, 4);
        word &= 0xFFFF0000u;
        std::memcpy(&v, &word, 4);
        break;
      }
      case 2: v = static_cast<float>(static_cast<int>(bits % 5) - 2); break;  // few values, many ties
      case 3: v = 1.0F + static_cast<float>(bits % 100) * 0x1p-23F; break;    // all in one bucket
      case 4: {                                                               // any finite bits
        auto word = static_cast<std::uint32_t>(bits);
        if ((word & 0x7F800000u) == 0x7F800000u) word &= 0x807FFFFFu;
        std::memcpy(&v, &word, 4);
        break;
      }
      case 5: v = bits % 3 == 0 ? 0.0F : bits % 3 == 1 ? -0.0F : normal(random); break;
      default: v = -1.0F - static_cast<float>(bits % 7) * 0x1p-10F; break;
    }
  }
  return x;
}

Distribution gather(const std::vector<float>& x, SortBy by, std::size_t tile, std::span<const double> quantiles = kQuantiles) {
  Distribution d(by, quantiles);
  const auto each_tile = [&](const auto& see) {
    for (std::size_t i = 0; i < x.size(); i += tile) see(x.data() + i, static_cast<std::int64_t>(std::min(tile, x.size() - i)));
  };
  each_tile([&](const float* p, std::int64_t n) {
    std::vector<std::uint64_t> packed(kKeyBuckets);
    count_keys(p, n, by, packed.data());
    d.add_coarse(packed.data());
  });
  if (d.seal_coarse()) {
    each_tile([&](const float* p, std::int64_t n) {
      std::vector<std::uint32_t> counts(d.slots() * kKeyBuckets);
      d.count_fine(p, n, counts.data());
      d.add_fine(counts.data());
    });
    d.seal_fine();
  }
  return d;
}

TEST(Distribution, QuantilesAreThoseOfSorting) {
  std::mt19937_64 random(7);
  for (int kind = 0; kind < 7; ++kind) {
    for (const std::size_t n : {1U, 2U, 3U, 10U, 999U, 4096U, 50'000U}) {
      const std::vector<float> x = draw(kind, n, random);
      for (const SortBy by : {SortBy::kValue, SortBy::kMagnitude}) {
        std::vector<float> sorted = x;
        if (by == SortBy::kMagnitude) {
          for (float& v : sorted) v = std::abs(v);
        }
        std::sort(sorted.begin(), sorted.end());
        const Distribution d = gather(x, by, 1 + n / 3);
        ASSERT_EQ(d.count(), static_cast<std::int64_t>(n));
        for (std::size_t q = 0; q < kQuantiles.size(); ++q) {
          const auto rank = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil(kQuantiles[q] * static_cast<double>(n))) - 1);
          EXPECT_EQ(d.quantile_values()[q], static_cast<double>(sorted[static_cast<std::size_t>(rank)]))
              << "kind " << kind << ", " << n << " numbers, quantile " << kQuantiles[q];
        }
      }
    }
  }
}

TEST(Distribution, SharesOfTheLargestAreThoseOfSorting) {
  std::mt19937_64 random(8);
  for (const int kind : {0, 1, 2, 3, 5}) {
    const std::vector<float> x = draw(kind, 40'000, random);
    std::vector<double> sorted(x.begin(), x.end());
    for (double& v : sorted) v = std::abs(v);
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const auto held = gather(x, SortBy::kMagnitude, 10'000).held_by_largest(kShares);
    for (std::size_t i = 0; i < kShares.size(); ++i) {
      double l1 = 0, l2 = 0;
      for (std::int64_t k = 0; k < std::llround(kShares[i] * 40'000); ++k) {
        l1 += sorted[static_cast<std::size_t>(k)];
        l2 += sorted[static_cast<std::size_t>(k)] * sorted[static_cast<std::size_t>(k)];
      }
      EXPECT_NEAR(held[i].l1, l1, 2e-5 * l1) << "kind " << kind << ", density " << kShares[i];
      EXPECT_NEAR(held[i].l2, l2, 4e-5 * l2) << "kind " << kind << ", density " << kShares[i];
    }
    double all = 0;
    for (const double v : sorted) all += v;
    EXPECT_NEAR(held.back().l1, all, 1e-12 * all) << "the whole sum is exact";
  }
}

TEST(Distribution, NothingIsNoQuantiles) {
  const Distribution d = gather({}, SortBy::kValue, 10);
  EXPECT_EQ(d.count(), 0);
  EXPECT_TRUE(d.quantile_values().empty());
  EXPECT_EQ(d.held_by_largest(kShares)[3].l2, 0);
}

TEST(Distribution, AWholeTileOfOneNumberFitsTheCounters) {
  std::vector<float> x(1 << 20, 1.5F);
  x.back() = 1.5000001F;
  const Distribution d = gather(x, SortBy::kValue, x.size());
  EXPECT_EQ(d.count(), 1 << 20);
  EXPECT_EQ(d.quantile_values().back(), static_cast<double>(1.5000001F));
  EXPECT_EQ(d.quantile_values().front(), 1.5);
}

TEST(Distribution, KeysSortAsNumbersDo) {
  const std::vector<float> ascending = {-3e38F, -1.0F, -1e-45F, 0.0F, 1e-45F, 1e-38F, 1.0F, 3e38F};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    EXPECT_EQ(key_value(sort_key(ascending[i], SortBy::kValue), SortBy::kValue), ascending[i]);
    EXPECT_EQ(key_value(sort_key(ascending[i], SortBy::kMagnitude), SortBy::kMagnitude), std::abs(ascending[i]));
    if (i > 0) {
      EXPECT_LT(sort_key(ascending[i - 1], SortBy::kValue), sort_key(ascending[i], SortBy::kValue));
    }
  }
  EXPECT_EQ(sort_key(-0.0F, SortBy::kValue), sort_key(0.0F, SortBy::kValue));
}

TEST(Moments, AreThoseOfTwoPlainPasses) {
  std::mt19937_64 random(9);
  for (const double shift : {0.0, 1.0, 1000.0}) {
    for (const std::size_t n : {1U, 2U, 17U, 30'000U}) {
      std::vector<float> x(n);
      std::gamma_distribution<double> skewed(2.0, 0.5);
      for (float& v : x) v = static_cast<float>(shift + skewed(random));
      double mean = 0, m2 = 0, m3 = 0, m4 = 0;
      for (const float v : x) mean += static_cast<double>(v) / static_cast<double>(n);
      for (const float v : x) {
        const double d = static_cast<double>(v) - mean;
        m2 += d * d;
        m3 += d * d * d;
        m4 += d * d * d * d;
      }
      Moments m;
      for (std::size_t i = 0; i < n; i += 1000)
        m.add(moments_of(x.data() + i, static_cast<std::int64_t>(std::min<std::size_t>(1000, n - i))));
      ASSERT_EQ(m.n, static_cast<std::int64_t>(n));
      EXPECT_NEAR(m.mean, mean, 1e-12 * std::abs(mean));
      if (n < 3) continue;
      const auto size = static_cast<double>(n);
      EXPECT_NEAR(m.deviation(), std::sqrt(m2 / size), 1e-9);
      EXPECT_NEAR(m.skewness(), std::sqrt(size) * m3 / std::pow(m2, 1.5), 1e-8);
      EXPECT_NEAR(m.excess_kurtosis(), size * m4 / (m2 * m2) - 3, 1e-7);
    }
  }
  EXPECT_EQ(moments_of(nullptr, 0).skewness(), 0);
}

TEST(Rank, EigenvaluesOfKnownMatrices) {
  // The second difference matrix: 2 - 2 cos(k pi / (n + 1)).
  const std::int64_t n = 40;
  std::vector<double> a(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) {
    a[static_cast<std::size_t>(i * n + i)] = 2;
    if (i > 0) a[static_cast<std::size_t>(i * n + i - 1)] = a[static_cast<std::size_t>((i - 1) * n + i)] = -1;
  }
  const auto values = symmetric_eigenvalues(a, n);
  for (std::int64_t k = 1; k <= n; ++k) {
    EXPECT_NEAR(values[static_cast<std::size_t>(k - 1)], 2 - 2 * std::cos(static_cast<double>(k) * M_PI / static_cast<double>(n + 1)),
                1e-12);
  }
  std::vector<double> full = {2, 1, 1, 1, 2, 1, 1, 1, 2};
  const auto three = symmetric_eigenvalues(full, 3);
  EXPECT_NEAR(three[0], 1, 1e-12);
  EXPECT_NEAR(three[1], 1, 1e-12);
  EXPECT_NEAR(three[2], 4, 1e-12);
}

// A matrix of the given singular values: a sum of outer products of vectors with one entry each, spread by signs.
std::vector<float> diagonal(std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
  std::vector<float> w(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < values.size(); ++i)
    w[i * static_cast<std::size_t>(columns) + (i * 7) % static_cast<std::size_t>(columns)] = values[i];
  return w;
}

TEST(Rank, OfMatricesThatAreKnown) {
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{30, 50}, {50, 30}, {600, 700}}) {
    auto equal = diagonal(rows, columns, std::vector<float>(10, 2.0F));
    const RankFacts ten = rank_of(equal, rows, columns);
    EXPECT_NEAR(ten.stable, 10, 0.01);
    auto one = diagonal(rows, columns, {3.0F});
    EXPECT_NEAR(rank_of(one, rows, columns).stable, 1, 1e-6);
    auto mixed = diagonal(rows, columns, {4, 2, 2});
    const RankFacts m = rank_of(mixed, rows, columns);
    EXPECT_NEAR(m.stable, 1.5, 0.002);
    if (rows <= 50) {
      EXPECT_NEAR(ten.effective.value(), 10, 1e-6);
      EXPECT_EQ(ten.rank_90.value(), 9);
      EXPECT_NEAR(m.effective.value(), std::exp(0.5 * std::log(2) + 0.5 * std::log(4)), 1e-6);
      EXPECT_EQ(m.rank_90.value(), 3);
    } else {
      EXPECT_FALSE(m.effective.has_value());
    }
  }
  std::vector<float> zero(20);
  EXPECT_EQ(rank_of(zero, 4, 5).stable, 0);
}

TEST(Advice, ExpectedEnergyFollowsTheRamp) {
  DeltaTotals totals;
  for (std::size_t i = 0; i < kDensities.size(); ++i) totals.held[i] = {kDensities[i], kDensities[i]};
  EXPECT_NEAR(expected_energy(totals, 0.6, 0.2), 0.6, 1e-12) << "equal magnitudes: the ramp's mean is the density";
  for (std::size_t i = 0; i < kDensities.size(); ++i) totals.held[i] = {1, 1};  // all in the largest hundredth
  EXPECT_NEAR(expected_energy(totals, 0.6, 0.2), 0.6 + 0.2 * (1 - 0.01), 1e-12);
  EXPECT_EQ(density_that_holds(totals, 0.9), 0U);
}

}  // namespace
}  // namespace crucible
