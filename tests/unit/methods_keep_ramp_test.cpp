#include "methods/shared/keep_ramp.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "support/kernel_driver.h"
#include "support/reference.h"

namespace crucible::test {
namespace {

double mean_of(const KeepRamp& ramp) {
  long double sum = 0;
  for (std::int64_t r = 0; r < ramp.size(); ++r) sum += static_cast<long double>(ramp.probability(r));
  return static_cast<double>(sum / static_cast<long double>(ramp.size()));
}

// The ramp of mergekit: no saturation solved, only clamped. What the checks below must not accept.
double clamped_mean(double density, double epsilon, std::int64_t n) {
  double sum = 0;
  for (std::int64_t r = 0; r < n; ++r) {
    sum += std::min(1.0, std::max(0.0, density - epsilon + 2 * epsilon * static_cast<double>(r) / static_cast<double>(n - 1)));
  }
  return sum / static_cast<double>(n);
}

RC_GTEST_PROP(KeepRamp, MeanIsTheDensity, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const double density = uniform(rng, 0, 1);
  const double epsilon = *rc::gen::element(0.0, 1e-9, 0.15, 0.5, 1.0, uniform(rng, 0, 1));
  const auto n = *rc::gen::inRange<std::int64_t>(1, 3000);
  const KeepRamp ramp(density, epsilon, n);
  RC_ASSERT(std::abs(mean_of(ramp) - density) < 1e-12);
  std::int64_t always = 0, never = 0;
  for (std::int64_t r = 0; r < n; ++r) {
    const double p = ramp.probability(r);
    RC_ASSERT(p >= 0 && p <= 1);
    RC_ASSERT(r == 0 || p >= ramp.probability(r - 1));
    RC_ASSERT(ramp.threshold(r) <= std::uint64_t{1} << 32);
    always += p >= 1 - 1e-12 ? 1 : 0;
    never += p <= 1e-12 ? 1 : 0;
  }
  if (epsilon < 1e-6 || n < 2) return;  // a flat line has no corner
  RC_ASSERT(std::abs(ramp.share_always_kept() * static_cast<double>(n) - static_cast<double>(always)) <= 1);
  RC_ASSERT(std::abs(ramp.share_never_kept() * static_cast<double>(n) - static_cast<double>(never)) <= 1);
}

RC_GTEST_PROP(KeepRamp, IsTheReferenceRamp, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const double density = uniform(rng, 0, 1);
  const double epsilon = uniform(rng, 0, 1);
  const auto n = *rc::gen::inRange<std::int64_t>(2, 200);
  const KeepRamp ramp(density, epsilon, n);
  const Ramp slow = reference_ramp(density, epsilon, n);
  for (std::int64_t r = 0; r < n; ++r) RC_ASSERT(std::abs(ramp.probability(r) - slow.p[static_cast<std::size_t>(r)]) < 1e-9);
}

TEST(KeepRamp, MeanHoldsOnLongRows) {
  for (const std::int64_t n : {65537, 1 << 20}) {
    for (const double density : {0.01, 0.3, 0.8, 0.999}) {
      for (const double epsilon : {0.05, 0.3, 1.0})
        EXPECT_NEAR(mean_of(KeepRamp(density, epsilon, n)), density, 1e-12) << n << ' ' << density;
    }
  }
}

TEST(KeepRamp, TheEndsKeepAllAndNone) {
  for (const double epsilon : {0.0, 0.3, 1.0}) {
    EXPECT_EQ(mean_of(KeepRamp(1.0, epsilon, 50)), 1);
    EXPECT_EQ(mean_of(KeepRamp(0.0, epsilon, 50)), 0);
    EXPECT_EQ(KeepRamp(1.0, epsilon, 50).threshold(0), std::uint64_t{1} << 32);
  }
}

TEST(KeepRamp, InsideTheUnitIntervalTheLineIsMergekits) {
  const KeepRamp ramp(0.5, 0.15, 5);
  EXPECT_DOUBLE_EQ(ramp.center(), 0.5);
  for (std::int64_t r = 0; r < 5; ++r) EXPECT_NEAR(ramp.probability(r), 0.35 + 0.075 * static_cast<double>(r), 1e-15);
  EXPECT_EQ(ramp.share_always_kept(), 0);
  EXPECT_EQ(ramp.share_never_kept(), 0);
}

TEST(KeepRamp, OneElementIsKeptWithTheDensity) {
  EXPECT_EQ(KeepRamp(0.8, 0.3, 1).probability(0), 0.8);
  EXPECT_EQ(KeepRamp(0.1, 0.15, 1).probability(0), 0.1);
}

// density 0.8, epsilon 0.3: solving c - 0.3 .. 1 over 1 - s of the ranks and 1 over s gives s = 0.1835 and c = 0.8101.
TEST(KeepRamp, FoundingNumbers) {
  const KeepRamp ramp(0.8, 0.3, 1 << 16);
  EXPECT_NEAR(ramp.center(), 0.810, 0.0005);
  EXPECT_NEAR(ramp.share_always_kept(), 0.183, 0.001);
  EXPECT_EQ(ramp.share_never_kept(), 0);
  EXPECT_NEAR(ramp.probability(0), 0.510, 0.0005);
  EXPECT_NEAR(mean_of(ramp), 0.8, 1e-12);
  EXPECT_LT(clamped_mean(0.8, 0.3, 1 << 16), 0.7999) << "clamping alone loses density";
}

}  // namespace
}  // namespace crucible::test
