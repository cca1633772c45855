// The bound on chance, the sums over tensors, and what a contradiction says.
#include "audit/judge.h"

#include <gtest/gtest.h>

#include <cmath>

#include "audit/counterfactual.h"
#include "audit/retrace.h"
#include "support/random_merge.h"

namespace crucible::test {
namespace {

Promise drawn(double measured, double planned, double draws) {
  return Promise::count("density", 0, kShareKept, measured, planned, draws, 1);
}

// P(X >= k) of a binomial where k lies above the mean, else P(X <= k), summed up term by term.
double binomial_tail(double n, double p, double k) {
  double sum = 0;
  const bool above = k >= n * p;
  for (double i = above ? k : 0; i <= (above ? n : k); ++i)
    sum += std::exp(std::lgamma(n + 1) - std::lgamma(i + 1) - std::lgamma(n - i + 1) + i * std::log(p) + (n - i) * std::log1p(-p));
  return sum;
}

// An alarm at level x means: one of two tails of x / 2 each.
TEST(JudgeChance, IsNeverSmallerThanTheBinomialTail) {
  for (const double n : {1.0, 2.0, 5.0, 17.0, 100.0, 1000.0}) {
    for (const double p : {0.001, 0.05, 0.3, 0.5, 0.8, 0.999}) {
      for (double k = 0; k <= n; k += std::max(1.0, std::floor(n / 23))) {
        const double log = log_chance(drawn(k, n * p, n));
        if (log == 0) continue;
        EXPECT_GE(std::exp(log) / 2 * (1 + 1e-9), binomial_tail(n, p, k)) << n << ' ' << p << ' ' << k;
      }
    }
  }
}

TEST(JudgeChance, FallsWithTheNumberOfDraws) {
  EXPECT_EQ(log_chance(drawn(500, 500, 1000)), 0);
  EXPECT_GT(log_chance(drawn(52, 50, 100)), -1);
  EXPECT_LT(log_chance(drawn(5200, 5000, 10000)), -7);
  EXPECT_LT(log_chance(drawn(52000, 50000, 100000)), -70);
}

TEST(JudgeChance, WhatIsCertainAllowsNothingElse) {
  EXPECT_EQ(log_chance(drawn(1000, 1000, 1000)), 0);
  EXPECT_EQ(log_chance(drawn(999, 1000, 1000)), -HUGE_VAL);
  EXPECT_EQ(log_chance(drawn(1, 0, 1000)), -HUGE_VAL);
  EXPECT_EQ(log_chance(drawn(NAN, 10, 1000)), -HUGE_VAL);
}

TEST(JudgeChance, ValuesHaveATolerance) {
  EXPECT_EQ(log_chance(Promise::value("t", 0, "x", 1.5, 1.0, 0.5)), 0);
  EXPECT_EQ(log_chance(Promise::value("t", 0, "x", 1.5001, 1.0, 0.5)), -HUGE_VAL);
  EXPECT_EQ(log_chance(Promise::exact("density", 0, "x", 7, 7, 10)), 0);
  EXPECT_EQ(log_chance(Promise::exact("density", 0, "x", 7, 8, 10)), -HUGE_VAL);
}

class Audited : public testing::Test {
 protected:
  static const ModelBox& models() {
    static const ModelBox box({.layers = 3, .hidden = 24, .intermediate = 40, .vocabulary = 70});
    return box;
  }
};

TEST_F(Audited, EveryParameterOfDellaIsLookedAt) {
  const AuditedMerge merge = audited_merge(R"(merge_method: della
base_model: base
models:
- {model: a, parameters: {weight: 0.5}}
- {model: b, parameters: {weight: 0.5}}
parameters: {density: 0.6, epsilon: 0.2}
)",
                                           models(), 3);
  ASSERT_TRUE(merge.problems.empty());
  EXPECT_TRUE(merge.verdict.ok);
  EXPECT_EQ(merge.verdict.silent, (std::vector<std::string>{"rank_scope", "window"}));
  const Check* share = nullptr;
  for (const Check& c : merge.verdict.rows) {
    if (c.parameter == "density" && c.what == kShareKept) share = &c;
  }
  ASSERT_NE(share, nullptr);
  EXPECT_GT(share->count, 20);
  EXPECT_NEAR(share->planned, 0.6, 1e-9);
  EXPECT_NEAR(share->measured, 0.6, 0.02);
  EXPECT_TRUE(share->tensor.empty()) << "the sum over all tensors is shown where no tensor is off";
}

// TIES over the whole model promises nothing of one tensor, and exactly trunc(density * n) of all together.
TEST_F(Audited, TrimOfTheWholeModelIsJudgedInTotal) {
  const AuditedMerge merge = audited_merge(R"(merge_method: ties
base_model: base
models:
- {model: a, parameters: {weight: 0.5, density: 0.37}}
- {model: b, parameters: {weight: 0.5, density: 0.11}}
parameters: {trim_scope: model, elect: paper}
)",
                                           models(), 3);
  ASSERT_TRUE(merge.problems.empty()) << testing::PrintToString(merge.problems);
  EXPECT_FALSE(merge.accused()) << testing::PrintToString(merge.contradictions);
  int shares = 0;
  for (const Check& c : merge.verdict.rows) {
    if (c.what != kShareKept) continue;
    ++shares;
    EXPECT_NEAR(c.total_measured, c.total_planned, 1);
  }
  EXPECT_EQ(shares, 2);
}

// Unusual merges that are right: none is accused.
TEST_F(Audited, OddButRightMergesAreNotAccused) {
  const char* recipes[] = {
      // Weights whose sum counts as zero: nothing is divided.
      "merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a, parameters: {weight: 3e-9}}, {model: b, parameters: {weight: "
      "2e-9}}]\nparameters: {normalize: true, lambda: 1e8}\n",
      // One model twice: two task vectors, each cut by itself.
      "merge_method: ties\nbase_model: base\nmodels:\n- {model: a, parameters: {weight: 1, density: 0.3337}}\n- {model: a, parameters: "
      "{weight: 2, density: 0.3337}}\n- {model: a, parameters: {weight: 3, density: 0.3337}}\nparameters: {trim_scope: model}\n",
      // Results below the normal range of f32 have few digits.
      "merge_method: passthrough\nmodels: [{model: a, parameters: {scale: 1e-42}}]\n",
      "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1e-42}}, {model: b, parameters: {weight: 3e-42}}]\nparameters: "
      "{normalize: false}\n",
  };
  for (const char* recipe : recipes) {
    const AuditedMerge merge = audited_merge(recipe, models(), 3);
    EXPECT_TRUE(merge.problems.empty()) << recipe << testing::PrintToString(merge.problems);
    EXPECT_FALSE(merge.accused()) << recipe << testing::PrintToString(merge.contradictions) << testing::PrintToString(merge.detours);
  }
}

TEST_F(Audited, ModulesAndLevelsAreRetraced) {
  const char* recipe = R"(merge_method: linear
modules:
  default:
    models:
    - {model: a, parameters: {weight: [{filter: lm_head, value: 0.9}, {value: 0.1}]}}
    - {model: b}
    parameters: {weight: [0.3, 0.4]}
parameters: {weight: 7}
)";
  const AuditedMerge merge = audited_merge(recipe, models(), 3);
  ASSERT_TRUE(merge.problems.empty()) << testing::PrintToString(merge.problems);
  EXPECT_FALSE(merge.accused()) << testing::PrintToString(merge.detours);
}

}  // namespace
}  // namespace crucible::test
