// DELLA's random choices, counted. Each check is a function of a way to sample; it is run on the kernel, where it must be silent, and on
// a mutant, where it must speak. Every statistic is compared at |z| < 5.7, two-sided 1.2e-8 each: with fewer than 1,000 statistics a
// correct kernel fails with probability below 1.2e-5, and since seeds are fixed the outcome does not vary from run to run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "support/kernel_driver.h"
#include "support/reference.h"

namespace crucible::test {
namespace {

constexpr double kLimit = 5.7;

struct Setting {
  double density = 0.6;
  double epsilon = 0.3;
  const char* rescale = "none";
};

// The sparsified task vector: base 0, one model, weight 1, so the output is what survived.
std::vector<float> sample(const Setting& s, const Shape& shape, const std::vector<float>& delta, std::uint64_t seed,
                          const std::string& tensor = "t", const std::string& model = "m") {
  MergeCase merge;
  merge.shape = shape;
  merge.base = std::vector<float>(delta.size(), 0.0f);
  merge.models = {delta};
  merge.names = {model};
  merge.tensor = tensor;
  merge.seed = seed;
  merge.global = {{"rescale", s.rescale}};
  merge.model_args = {{{"density", s.density}, {"epsilon", s.epsilon}}};
  return run_kernel("della_linear", merge).out;
}

// Rows with magnitudes 1 .. row in random places; `ranks` tells where the ranks went.
std::vector<float> ranked_rows(std::int64_t rows, std::int64_t row, std::vector<std::size_t>& ranks, Rng& rng) {
  std::vector<float> delta;
  ranks.clear();
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<std::size_t> order(static_cast<std::size_t>(row));
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[static_cast<std::size_t>(below(rng, static_cast<std::int64_t>(i)))]);
    for (const std::size_t rank : order) {
      ranks.push_back(rank);
      delta.push_back(static_cast<float>(rank + 1) * (below(rng, 2) == 0 ? 1.0f : -1.0f));
    }
  }
  return delta;
}

double z_score(double count, double mean, double variance) {
  if (variance <= 0) return count == mean ? 0 : INFINITY;
  return (count - mean) / std::sqrt(variance);
}

constexpr std::int64_t kRows = 250;
constexpr std::int64_t kRow = 64;
constexpr std::uint64_t kSeeds = 40;

// How often each rank survived in kSeeds * kRows draws.
using RankCounts = std::function<std::vector<double>()>;
std::vector<double> count_ranks(const Setting& s, bool inverted) {
  Rng rng(21);
  std::vector<double> kept(static_cast<std::size_t>(kRow));
  std::vector<std::size_t> ranks;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::vector<float> delta = ranked_rows(kRows, kRow, ranks, rng);
    // A kernel that keeps small magnitudes more often, made from ours by showing it reciprocals.
    if (inverted) std::transform(delta.begin(), delta.end(), delta.begin(), [](float v) { return 1 / v; });
    const std::vector<float> out = sample(s, {kRows, kRow}, delta, seed);
    for (std::size_t i = 0; i < out.size(); ++i) kept[ranks[i]] += out[i] != 0 ? 1 : 0;
  }
  return kept;
}

// Worst |z| over the ranks against the ramp that `planned` asks for.
double worst_rank(const std::vector<double>& kept, const Setting& planned) {
  const Ramp ramp = reference_ramp(planned.density, planned.epsilon, kRow);
  constexpr double kDraws = static_cast<double>(kRows * static_cast<std::int64_t>(kSeeds));
  double worst = 0;
  for (std::size_t r = 0; r < kept.size(); ++r) {
    const double p = ramp.p[r];
    // Binomial; a rank that is always or never kept has no variance.
    worst = std::max(worst, std::abs(z_score(kept[r], kDraws * p, p > 1 - 1e-12 || p < 1e-12 ? 0 : kDraws * p * (1 - p))));
  }
  return worst;
}

// |z| of the number kept in all.
double whole_share(const std::vector<double>& kept, const Setting& planned) {
  const Ramp ramp = reference_ramp(planned.density, planned.epsilon, kRow);
  double variance = 0;
  for (const double p : ramp.p) variance += p * (1 - p);
  constexpr double kDraws = static_cast<double>(kRows * static_cast<std::int64_t>(kSeeds));
  return std::abs(
      z_score(std::accumulate(kept.begin(), kept.end(), 0.0), kDraws * static_cast<double>(kRow) * planned.density, kDraws * variance));
}

TEST(DellaStatistics, KeepRateFollowsTheRamp) {
  for (const Setting& s : {Setting{0.5, 0.15}, Setting{0.8, 0.3}, Setting{0.2, 0.35}, Setting{0.5, 1.0}, Setting{0.6, 0.3}}) {
    const auto kept = count_ranks(s, false);
    EXPECT_LT(worst_rank(kept, s), kLimit) << s.density << ' ' << s.epsilon;
    EXPECT_LT(whole_share(kept, s), kLimit) << s.density << ' ' << s.epsilon;
  }
}

TEST(DellaStatistics, KeepRateChecksSeeMutants) {
  const Setting s{0.6, 0.3};
  EXPECT_GT(worst_rank(count_ranks({0.6, 0.0}, false), s), kLimit) << "epsilon ignored";
  EXPECT_GT(worst_rank(count_ranks(s, true), s), kLimit) << "ramp upside down";
  EXPECT_LT(whole_share(count_ranks(s, true), s), kLimit) << "... which the share kept alone cannot see";
  EXPECT_GT(whole_share(count_ranks({0.61, 0.3}, false), s), kLimit) << "another density";
  EXPECT_GT(worst_rank(count_ranks({0.6, 0.15}, false), s), kLimit) << "epsilon taken as the full width";
}

TEST(DellaStatistics, EpsilonZeroIsFlat) {
  const auto kept = count_ranks({0.6, 0.0}, false);
  EXPECT_LT(worst_rank(kept, {0.6, 0.0}), kLimit);
  EXPECT_GT(worst_rank(count_ranks({0.6, 0.05}, false), {0.6, 0.0}), kLimit);
}

// Worst |z| of the mean of out[i] over seeds against delta[i]; the variance of the paper's form is delta^2 (1 / p - 1).
double bias(const Setting& s) {
  Rng rng(22);
  constexpr std::uint64_t kDraws = 4000;
  std::vector<std::size_t> ranks;
  const std::vector<float> delta = ranked_rows(4, kRow, ranks, rng);
  std::vector<double> sum(delta.size());
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    const std::vector<float> out = sample(s, {4, kRow}, delta, seed);
    for (std::size_t i = 0; i < out.size(); ++i) sum[i] += static_cast<double>(out[i]);
  }
  const Ramp ramp = reference_ramp(s.density, s.epsilon, kRow);
  double worst = 0;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const double d = static_cast<double>(delta[i]), p = ramp.p[ranks[i]];
    worst = std::max(worst, std::abs(z_score(sum[i], d * kDraws, d * d * (1 / p - 1) * kDraws)));
  }
  return worst;
}

TEST(DellaStatistics, PerElementIsUnbiased) {
  EXPECT_LT(bias({0.5, 0.15, "per_element"}), kLimit);
  EXPECT_GT(bias({0.5, 0.15, "none"}), kLimit);
  EXPECT_GT(bias({0.5, 0.15, "l1"}), kLimit) << "one factor for all is biased by rank";
}

double l1_error(const Setting& s, const Shape& shape, std::uint64_t seed) {
  Rng rng(seed);
  const std::vector<float> delta = make_values(Values::kNormal, elem_count(shape), rng);
  double before = 0, after = 0;
  for (const float v : delta) before += std::abs(static_cast<double>(v));
  for (const float v : sample(s, shape, delta, seed)) after += std::abs(static_cast<double>(v));
  return std::abs(after / before - 1);
}

TEST(DellaStatistics, L1NormIsKeptInEveryDraw) {
  // What is left is the rounding of the outputs to f32, each within 2^-24 of its value.
  for (std::uint64_t seed = 0; seed < 30; ++seed) EXPECT_LT(l1_error({0.5, 0.15, "l1"}, {20, 50}, seed), 0x1p-24);
  EXPECT_LT(l1_error({0.8, 0.3, "l1"}, {400, 500}, 31), 0x1p-24);
  EXPECT_GT(l1_error({0.5, 0.15, "none"}, {20, 50}, 1), 0.1);
  EXPECT_GT(l1_error({0.5, 0.15, "per_element"}, {20, 50}, 1), 1e-4) << "right on average only";
}

std::vector<char> mask(std::uint64_t seed, const std::string& tensor, const std::string& model, std::int64_t rows, std::int64_t row) {
  const std::vector<float> delta(static_cast<std::size_t>(rows * row), 1.0f);
  std::vector<char> kept;
  for (const float v : sample({0.5, 0.0}, {rows, row}, delta, seed, tensor, model)) kept.push_back(v != 0 ? 1 : 0);
  return kept;
}

// |z| of the number of places where two masks agree; fair independent coins agree in half of them.
double agreement(const std::vector<char>& a, const std::vector<char>& b) {
  double same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) same += a[i] == b[i] ? 1 : 0;
  const auto n = static_cast<double>(a.size());
  return std::abs(z_score(same, n / 2, n / 4));
}

TEST(DellaStatistics, ModelsTensorsSeedsAndRowsAreIndependent) {
  constexpr std::int64_t kManyRows = 200, kCols = 100;
  const auto kept = mask(1, "a", "x", kManyRows, kCols);
  EXPECT_LT(agreement(kept, mask(1, "a", "y", kManyRows, kCols)), kLimit);
  EXPECT_LT(agreement(kept, mask(1, "b", "x", kManyRows, kCols)), kLimit);
  EXPECT_LT(agreement(kept, mask(2, "a", "x", kManyRows, kCols)), kLimit);
  EXPECT_LT(agreement(kept, mask(1, "x", "a", kManyRows, kCols)), kLimit) << "the names do not commute";
  EXPECT_GT(agreement(kept, mask(1, "a", "x", kManyRows, kCols)), kLimit) << "the same stream";
  // Shifted against itself by some lags inside a row, over Philox blocks, and by whole rows.
  for (const std::size_t lag : {1u, 2u, 3u, 4u, 8u, 32u, 100u, 200u}) {
    const std::vector<char> head(kept.begin(), kept.end() - static_cast<std::ptrdiff_t>(lag));
    const std::vector<char> tail(kept.begin() + static_cast<std::ptrdiff_t>(lag), kept.end());
    EXPECT_LT(agreement(head, tail), kLimit) << lag;
  }
}

TEST(DellaStatistics, LagCheckSeesRowsThatRepeat) {
  const auto row = mask(1, "a", "x", 1, 100);
  std::vector<char> repeated;
  for (int r = 0; r < 200; ++r) repeated.insert(repeated.end(), row.begin(), row.end());
  const std::vector<char> head(repeated.begin(), repeated.end() - 100), tail(repeated.begin() + 100, repeated.end());
  EXPECT_GT(agreement(head, tail), kLimit);
}

double kept_of_single_rows(double density) {
  const std::vector<float> delta(100000, 1.0f);
  double kept = 0;
  for (const float v : sample({density, 0.3}, {100000, 1}, delta, 5)) kept += v != 0 ? 1 : 0;
  return kept;
}

TEST(DellaStatistics, ARowOfOneIsKeptWithTheDensity) {
  EXPECT_LT(std::abs(z_score(kept_of_single_rows(0.8), 80000, 100000 * 0.8 * 0.2)), kLimit);
  EXPECT_GT(std::abs(z_score(kept_of_single_rows(0.82), 80000, 100000 * 0.8 * 0.2)), kLimit);
}

// The founding recipe: density 0.8, epsilon 0.3. The top 18.35 % of each row always survive, and 80 % overall.
TEST(DellaStatistics, FoundingNumbers) {
  constexpr std::int64_t kLong = 2000;
  Rng rng(23);
  std::vector<std::size_t> ranks;
  const std::vector<float> delta = ranked_rows(100, kLong, ranks, rng);
  const std::vector<float> out = sample({0.8, 0.3}, {100, kLong}, delta, 1);
  double kept = 0, top_lost = 0, next = 0, next_kept = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double rho = static_cast<double>(ranks[i]) / (kLong - 1);
    kept += out[i] != 0 ? 1 : 0;
    if (rho > 0.8170) top_lost += out[i] == 0 ? 1 : 0;
    if (rho <= 0.8160 && rho > 0.77) {
      next += 1;
      next_kept += out[i] != 0 ? 1 : 0;
    }
  }
  EXPECT_EQ(top_lost, 0);
  EXPECT_LT(next_kept, next) << "below the top 18 % some are dropped";
  EXPECT_LT(std::abs(z_score(kept, 160000, 200000 * 0.8 * 0.2)), kLimit);
}

TEST(DellaStatistics, WindowIsTwiceEpsilon) {
  Rng rng(24);
  MergeCase merge;
  merge.shape = {30, 40};
  merge.base = make_values(Values::kNormal, 1200, rng);
  merge.models = {make_values(Values::kNormal, 1200, rng)};
  const auto with = [&merge](Arg arg) {
    merge.model_args = {{{"density", 0.6}, std::move(arg)}};
    return bits_of(run_kernel("della", merge).out);
  };
  EXPECT_EQ(with({"window", 0.5}), with({"epsilon", 0.25}));
  EXPECT_NE(with({"window", 0.5}), with({"epsilon", 0.5}));
}

// With a flat ramp the same coins fall as in DARE.
TEST(DellaStatistics, EpsilonZeroIsDare) {
  Rng rng(25);
  MergeCase della;
  della.shape = {30, 40};
  della.base = make_values(Values::kNormal, 1200, rng);
  della.models = {make_values(Values::kNormal, 1200, rng), make_values(Values::kNormal, 1200, rng)};
  della.global = {{"normalize", true}};
  MergeCase dare = della;
  della.model_args = {{{"density", 0.6}, {"epsilon", 0.0}}, {{"density", 0.3}, {"epsilon", 0.0}}};
  dare.model_args = {{{"density", 0.6}}, {{"density", 0.3}}};
  EXPECT_EQ(bits_of(run_kernel("della", della).out), bits_of(run_kernel("dare_ties", dare).out));
  EXPECT_EQ(bits_of(run_kernel("della_linear", della).out), bits_of(run_kernel("dare_linear", dare).out));
  della.model_args[0][1] = Arg("epsilon", 0.2);
  EXPECT_NE(bits_of(run_kernel("della", della).out), bits_of(run_kernel("dare_ties", dare).out));
}

}  // namespace
}  // namespace crucible::test
