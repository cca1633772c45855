// Defects of mergekit 0.1.4 that a merge kernel can have, by their number in the list of defects: each test shows the right behaviour
// on the input that makes mergekit fail.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "methods/shared/keep_ramp.h"
#include "support/kernel_driver.h"
#include "support/reference.h"

namespace crucible::test {
namespace {

MergeCase on_zero_base(Shape shape, std::vector<float> delta, Args model, Args global = {}) {
  MergeCase merge;
  merge.shape = std::move(shape);
  merge.base = std::vector<float>(delta.size(), 0.0f);
  merge.models = {std::move(delta)};
  merge.model_args = {std::move(model)};
  merge.global = std::move(global);
  return merge;
}

// Which places of a [2, 3, 4] tensor whose magnitudes rise along the last axis are ever dropped.
TEST(MergekitDefects, D1_DellaRanksAlongTheLastAxisOfAnyTensor) {
  std::vector<float> delta;
  for (int r = 0; r < 6; ++r) {
    for (int c = 1; c <= 4; ++c) delta.push_back(static_cast<float>(c * (r + 1)));
  }
  // p = 0, 1/3, 2/3, 1 over each row of four: the first of a row is never kept, the last always, whatever other rows hold.
  std::vector<int> kept(24);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    MergeCase merge = on_zero_base({2, 3, 4}, delta, {{"density", 0.5}, {"epsilon", 0.5}}, {{"rescale", "none"}});
    merge.seed = seed;
    const auto out = run_kernel("della_linear", merge).out;
    for (std::size_t i = 0; i < 24; ++i) kept[i] += out[i] != 0 ? 1 : 0;
  }
  for (std::size_t i = 0; i < 24; ++i) {
    // 200 draws of p = 1/3: six standard deviations are 40.
    const int slack = i % 4 == 0 || i % 4 == 3 ? 0 : 40;
    EXPECT_NEAR(kept[i], 200.0 / 3 * static_cast<double>(i % 4), slack + 0.5) << i;
  }
}

TEST(MergekitDefects, D1_RanksAndProbabilitiesKeepAllTheirDigits) {
  const KeepRamp ramp(0.5, 0.15, 70000);  // above the largest f16
  std::set<std::uint64_t> thresholds;
  for (std::int64_t r = 0; r < ramp.size(); ++r) thresholds.insert(ramp.threshold(r));
  EXPECT_EQ(thresholds.size(), 70000u) << "a staircase instead of a ramp";
}

TEST(MergekitDefects, D2_BreadcrumbsWithoutOutliersKeepsTheDelta) {
  for (const char* method : {"breadcrumbs", "breadcrumbs_ties"}) {
    for (const double gamma : {0.0, 0.01}) {  // 0.01 of 10 entries is less than one
      const std::vector<float> delta = {1, -10, 2, -9, 3, 8, 4, 7, 5, 6};
      const auto out = run_kernel(method, on_zero_base({10}, delta, {{"density", 0.5}, {"gamma", gamma}})).out;
      EXPECT_EQ(out, (std::vector<float>{0, -10, 0, -9, 0, 8, 0, 7, 0, 6})) << method << gamma;
    }
  }
  // With an outlier to drop, the band moves down by one.
  const auto out = run_kernel("breadcrumbs", on_zero_base({10}, {1, -10, 2, -9, 3, 8, 4, 7, 5, 6}, {{"density", 0.5}, {"gamma", 0.1}})).out;
  EXPECT_EQ(out, (std::vector<float>{0, 0, 0, -9, 0, 8, 0, 7, 5, 6}));
}

TEST(MergekitDefects, D6_NormsOfLargeTensorsDoNotOverflow) {
  // The sum is 2.6e9, far above 65504, and of single entries at the edge of f16.
  const std::vector<float> delta(200 * 200, 65000.0f);
  for (const char* method : {"della_linear", "dare_linear", "ties", "breadcrumbs"}) {
    const auto out = run_kernel(method, on_zero_base({200, 200}, delta, {{"density", 0.5}}, {{"rescale", "l1"}, {"lambda", 0.25}})).out;
    double sum = 0;
    for (const float v : out) sum += static_cast<double>(v);
    EXPECT_NEAR(sum / (0.25 * 65000.0 * 40000.0), 1, 1e-6) << method;
  }
  const std::vector<float> huge(64, 3e38f);
  const auto out = run_kernel("ties", on_zero_base({64}, huge, {{"density", 0.5}}, {{"rescale", "l1"}, {"lambda", 0.5}})).out;
  EXPECT_EQ(out[0], 3e38f) << "the norm itself is above the largest f32";
}

TEST(MergekitDefects, D9_LinearDoesNotAverageTheBaseIn) {
  EXPECT_EQ(find_method("linear")->base, BaseRule::kOnlyListed);
  EXPECT_EQ(find_method("passthrough")->base, BaseRule::kOnlyListed);
  MergeCase merge;
  merge.shape = {3};
  merge.models = {{1, 2, 3}, {3, 4, 5}};
  const auto without = run_kernel("linear", merge).out;
  EXPECT_EQ(without, (std::vector<float>{2, 3, 4}));
  merge.base = std::vector<float>{100, 100, 100};
  EXPECT_EQ(run_kernel("linear", merge).out, without);
}

TEST(MergekitDefects, D10_RowsOfOneEntryWork) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{1, 1}, Shape{500, 1}, Shape{40, 1, 1}}) {
    const auto n = static_cast<std::size_t>(elem_count(shape));
    const auto out = run_kernel("della", on_zero_base(shape, std::vector<float>(n, 2.0f), {{"density", 0.5}}, {{"rescale", "none"}})).out;
    std::size_t kept = 0;
    for (const float v : out) {
      EXPECT_TRUE(v == 0 || v == 2) << v;
      kept += v != 0 ? 1 : 0;
    }
    EXPECT_TRUE(n != 500 || (kept > 180 && kept < 320)) << kept;
  }
}

TEST(MergekitDefects, D32_WeightsKeepTheirDigits) {
  MergeCase merge;
  merge.shape = {1};
  merge.models = {{1.0f}, {0.0f}};
  merge.model_args = {{{"weight", 0.3}}, {{"weight", 0.7}}};
  EXPECT_EQ(run_kernel("linear", merge).out[0], 0.3f) << "0.3 in bf16 is 0.30078125";
  merge.base = std::vector<float>{0.0f};
  EXPECT_EQ(run_kernel("task_arithmetic", merge).out[0], 0.3f);
}

TEST(MergekitDefects, D34_ParametersWithoutEffectAreNotDeclared) {
  EXPECT_FALSE(find_method("task_arithmetic")->model->find("density"));
  EXPECT_FALSE(find_method("task_arithmetic")->global->find("rescale"));
  EXPECT_FALSE(any_method_has_parameter("int8_mask"));
  EXPECT_FALSE(find_method("ties")->model->find("lambda"));
}

TEST(MergekitDefects, D35_TiesKeepsNothingWhereTheDensityRoundsToNothing) {
  for (const double density : {0.0, 0.05}) {
    MergeCase merge = on_zero_base({10}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {{"density", density}});
    merge.base = std::vector<float>{-0.0f, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    EXPECT_EQ(bits_of(run_kernel("ties", merge).out), bits_of(*merge.base)) << density;
  }
  EXPECT_EQ(run_kernel("ties", on_zero_base({10}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {{"density", 0.1}})).out[9], 10) << "0.1 of ten is one";
}

TEST(MergekitDefects, D37_ABaseWithoutTaskVectorsIsTheResult) {
  for (const Method* method : all_methods()) {
    if (method->min_models > 0) continue;
    MergeCase merge;
    merge.shape = {5};
    merge.base = std::vector<float>{-0.0f, 1.5f, -2, 3e-40f, 3e38f};
    const Driven driven = run_kernel(*method, merge);
    EXPECT_EQ(bits_of(driven.out), bits_of(*merge.base)) << method->name;
    EXPECT_TRUE(driven.untaken.empty()) << method->name << ' ' << driven.untaken.front();
  }
}

// mergekit keeps an arbitrary choice of equal magnitudes (its reference, section 4.14).
TEST(SignElection, EqualMagnitudesAreKeptByLowerIndex) {
  const auto out = run_kernel("ties", on_zero_base({8}, {1, -1, 1, -1, 2, 1, -1, 1}, {{"density", 0.5}}, {{"normalize", false}})).out;
  EXPECT_EQ(out, (std::vector<float>{1, -1, 1, 0, 2, 0, 0, 0}));
}

// Not a number of the list, but the same family: signs and the zero sum.
TEST(SignElection, ZeroSumCountsAsPlusAndZerosDoNotVote) {
  MergeCase merge;
  merge.shape = {4};
  merge.base = std::vector<float>(4, 0.0f);
  merge.models = {{1, 1, 0, -1}, {-1, 2, 3, -2}};
  merge.global = {{"normalize", true}};
  const Driven driven = run_kernel("ties", merge);
  EXPECT_EQ(driven.out, (std::vector<float>{1, 1.5f, 3, -1.5f}));
  EXPECT_EQ(driven.measure.sign_conflicts, 1);
  EXPECT_EQ(driven.measure.models[0].votes, 3);
  EXPECT_EQ(driven.measure.models[1].votes, 4);
  EXPECT_EQ(driven.measure.models[0].votes_lost, 0);
  EXPECT_EQ(driven.measure.models[1].votes_lost, 1);
}

TEST(SignElection, NegativeWeightsTurnTheVote) {
  MergeCase merge = on_zero_base({2}, {1, -1}, {{"weight", -2.0}}, {{"normalize", false}});
  EXPECT_EQ(run_kernel("ties", merge).out, (std::vector<float>{-2, 2}));
  merge.global = {{"normalize", true}};
  EXPECT_EQ(run_kernel("ties", merge).out, (std::vector<float>{1, -1})) << "the weights of the winners sum to -2";
}

// A damaged model must show: its NaN reaches the output of every method, and of an element-wise one nothing else.
TEST(NaN, ReachesTheOutput) {
  // In these the lengths and angles of whole vectors decide about every element.
  const std::set<std::string_view> of_vectors = {"karcher", "model_stock", "multislerp", "nuslerp", "slerp"};
  for (const Method* method : all_methods()) {
    Rng rng(1);
    MergeCase merge;
    merge.shape = {100};
    if (method->base == BaseRule::kRequired) merge.base = make_values(Values::kNormal, 100, rng);
    for (int m = 0; m < std::min(method->max_models, 3); ++m) merge.models.push_back(make_values(Values::kNormal, 100, rng));
    for (const std::size_t at : {std::size_t{0}, std::size_t{99}}) {
      MergeCase damaged = merge;
      damaged.models.back()[at] = NAN;
      const auto out = run_kernel(*method, damaged).out;
      EXPECT_TRUE(std::isnan(out[at])) << method->name << ' ' << at;
      EXPECT_TRUE(of_vectors.contains(method->name) != std::isfinite(out[50])) << method->name;
    }
  }
}

TEST(Slerp, VectorsWithoutDirectionAreTakenAsPerpendicular) {
  MergeCase merge;
  merge.shape = {2};
  merge.base = std::vector<float>{0, 0};
  merge.models = {{3, 4}};
  merge.global = {{"t", 0.5}};
  const Driven driven = run_kernel("slerp", merge);
  EXPECT_EQ(driven.note("cosine"), 0);
  EXPECT_NEAR(driven.out[0], 3 * std::sqrt(0.5), 1e-6);
}

TEST(Linear, SumsPastTheLargestF32AreHeldInF64) {
  MergeCase merge;
  merge.shape = {1};
  merge.models = {{3.4e38f}, {3.4e38f}, {3.4e38f}};
  EXPECT_EQ(run_kernel("linear", merge).out[0], 3.4e38f);
}

}  // namespace
}  // namespace crucible::test
