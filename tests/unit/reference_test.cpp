// The references themselves, against numbers worked out by hand: they must be right without any kernel.
#include "support/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

using Rows = std::vector<std::vector<float>>;

MergeCase merge_of(Shape shape, std::optional<std::vector<float>> base, Rows models, Args global = {}, std::vector<Args> model_args = {}) {
  MergeCase merge;
  merge.shape = std::move(shape);
  merge.base = std::move(base);
  merge.models = std::move(models);
  merge.global = std::move(global);
  merge.model_args = std::move(model_args);
  return merge;
}
MergeCase merge_of(std::optional<std::vector<float>> base, Rows models, Args global = {}, std::vector<Args> model_args = {}) {
  const auto n = static_cast<std::int64_t>(models.empty() ? base->size() : models[0].size());
  return merge_of({n}, std::move(base), std::move(models), std::move(global), std::move(model_args));
}
std::vector<Args> weights(std::initializer_list<double> values) {
  std::vector<Args> all;
  for (const double v : values) all.push_back({{"weight", v}});
  return all;
}

// The hand's numbers have ten digits, or are exact.
void expect_values(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-9 * std::max(1.0, std::abs(want[i]))) << i;
}
void expect_values(const std::string& method, const MergeCase& merge, const std::vector<double>& want) {
  SCOPED_TRACE(method);
  expect_values(reference(method, merge).value, want);
}

TEST(ReferenceByHand, NearswapIsAStepOfAtMostT) {
  expect_values("nearswap", merge_of({{1, 1, 1, 1}}, {{1.25, 3, 0, -7}}, {{"t", 0.5}}), {1.25, 1.5, 0.5, 0.5});
  expect_values("nearswap", merge_of({{1, 2}}, {{-1, 5}}, {{"t", 0}}), {1, 2});
}

TEST(ReferenceByHand, NearswapTakesNoDistanceForLessThanAMillionth) {
  const double b = static_cast<double>(0x1p-22f);  // 2.4e-7
  const Expected e = reference("nearswap", merge_of({{0}}, {{0x1p-22f}}, {{"t", 2.5e-7}}));
  EXPECT_NEAR(e.value[0], 0.25 * b, 1e-15);
}

TEST(ReferenceByHand, RamAveragesWhatSeveralTouch) {
  const Rows models = {{11, 12, 10.25, 10.5, 11, 11}, {10, 14, 10, 11.5, 10, 10}};
  const std::vector<float> base(6, 10);
  // Entry 3 of the first model is at epsilon, not above it.
  expect_values("ram", merge_of(base, models, {{"epsilon", 0.5}}), {11, 13, 10, 11.5, 11, 11});
  expect_values("ram", merge_of(base, {}), {10, 10, 10, 10, 10, 10});
}

TEST(ReferenceByHand, RamplusEnlargesWhatOneTouches) {
  const Rows models = {{11, 12, 10.25, 10.5, 11, 11}, {10, 14, 10, 11.5, 10, 10}};
  // One shared entry; three of the first model's own (factor 1 + 0.5 / 3), one of the second's (1 + 0.5 * 0.8).
  expect_values("ramplus_tl", merge_of(std::vector<float>(6, 10), models, {{"epsilon", 0.5}, {"r", 0.5}, {"alpha", 0.8}}),
                {10 + 7.0 / 6, 13, 10, 12.1, 10 + 7.0 / 6, 10 + 7.0 / 6});
}

TEST(ReferenceByHand, SceWeighsByEnergyAndErasesTheMinority) {
  const Rows models = {{1, 2, -1, 0, 1}, {2, -3, 3, 0, -1}};
  // Squares 7 and 23. The last element is a tie of signs: plus wins.
  expect_values("sce", merge_of(std::vector<float>(5, 0), models), {(7.0 + 46) / 30, -3, 3, 0, 1});
}

TEST(ReferenceByHand, SceSelectsByVariance) {
  const std::vector<float> base = {0, 0, 0, 8};
  const Rows models = {{1, 2, -1, 8}, {2, -3, 3, 8}};
  // Variances 0.25, 6.25, 4, 0: half of three is one.
  expect_values("sce", merge_of(base, models, {{"select_topk", 0.5}}), {0, -3, 0, 8});
  // Coefficients from that one position, 4 and 9; all positions merged.
  expect_values("sce", merge_of(base, models, {{"select_topk", 0.5}, {"select", "coefficients"}}), {22.0 / 13, -3, 3, 8});
  for (const double none : {0.0, 0.3}) expect_values("sce", merge_of(base, models, {{"select_topk", none}}), {0, 0, 0, 8});
  expect_values("sce", merge_of(base, {models[0]}, {{"select_topk", 0.9}}), {0, 0, 0, 8});
}

TEST(ReferenceByHand, SceHasNoAbsoluteThresholdOfEnergy) {
  // Squares 2^-60 * 5 and 2^-60 * 13, far below 1e-6.
  const Expected e = reference("sce", merge_of({{0, 0}}, {{0x1p-30f, 0x1p-29f}, {0x1p-29f, -3 * 0x1p-30f}}));
  EXPECT_NEAR(e.value[0] * 0x1p30, (5.0 + 26) / 18, 1e-12);
  EXPECT_NEAR(e.value[1] * 0x1p30, -3, 1e-12);
}

TEST(ReferenceByHand, ArceeFusionKeepsOutliersOfImportance) {
  // One row: its divergence is a common factor. Quartiles 1, 2, 3: the threshold is 5 of them.
  expect_values("arcee_fusion", merge_of({1, 5}, std::vector<float>(5, 0), {{0, 1, -2, 3, 10}}), {0, 0, 0, 0, 10});
  // A row that is shifted as a whole has no divergence: scores 0, 0, 0, 0, 0, 0, 1, 2, 3, 10; quartiles 0, 0, 1.
  expect_values("arcee_fusion", merge_of({2, 5}, std::vector<float>(10, 0), {{100, 100, 100, 100, 100, 0, 1, -2, 3, 10}}),
                {0, 0, 0, 0, 0, 0, 0, -2, 3, 10});
  // Rows of one element have no divergence at all: the threshold is 0, and every score reaches it.
  expect_values("arcee_fusion", merge_of({3, 1}, {{1, 2, 3}}, {{4, 5, 6}}), {4, 5, 6});
}

TEST(ReferenceByHand, ArceeFusionScoresByDivergence) {
  // p = (3, 1) / 4 and (1, 3) / 4 swapped about q = (1, 1) / 2 have equal divergences 0.1308; p = (4, 1) / 5 has 0.1927. Scores
  // 1.0986 * 0.1308 = 0.1437 twice, 1.3863 * 0.1927 = 0.2672, and three zeros: quartiles 0, 0, 0.1437, threshold 0.2156.
  const auto a = static_cast<float>(std::log(3)), b = static_cast<float>(std::log(4));
  expect_values("arcee_fusion", merge_of({3, 2}, std::vector<float>(6, 0), {{a, 0, 0, a, b, 0}}), {0, 0, 0, 0, static_cast<double>(b), 0});
}

TEST(ReferenceByHand, NuslerpOfAWholeTensor) {
  // A right angle and t = 0.75: sin(pi / 8) and sin(3 pi / 8).
  expect_values("nuslerp", merge_of({}, {{1, 0}, {0, 2}}, {}, weights({1, 3})), {0.3826834324, 2 * 0.9238795325});
  expect_values("nuslerp", merge_of({{5, -1}}, {{6, -1}, {5, 1}}, {}, weights({1, 3})), {5.3826834324, -1 + 2 * 0.9238795325});
  // Opposite and equal directions: a straight line. Weights that cancel: the middle.
  expect_values("nuslerp", merge_of({}, {{1, 2}, {-2, -4}}, {}, weights({3, 1})), {0.25, 0.5});
  expect_values("nuslerp", merge_of({}, {{1, 2}, {3, 6}}, {}, weights({1, -1})), {2, 4});
  expect_values("nuslerp", merge_of({}, {{1, 2}}, {}, weights({0.3})), {1, 2});
}

TEST(ReferenceByHand, NuslerpByRowsAndByColumns) {
  const Rows models = {{1, 0, 3, 0}, {0, 2, 6, 0}};
  const double half = 0.7071067812;
  const Args rows = {{"nuslerp_flatten", false}, {"nuslerp_row_wise", false}};
  const Args columns = {{"nuslerp_flatten", false}, {"nuslerp_row_wise", true}};
  expect_values("nuslerp", merge_of({2, 2}, {}, models, rows, weights({1, 1})), {half, 2 * half, 4.5, 0});
  // The first columns (1, 3) and (0, 6) have the cosine 3 / sqrt(10): each gets 1 / (2 cos(0.3217505544 / 2)). The second column of
  // the first model is zero, and at a right angle to anything.
  const double part = 0.5 / std::cos(0.3217505544 / 2);
  expect_values("nuslerp", merge_of({2, 2}, {}, models, columns, weights({1, 1})), {part, 2 * half, 9 * part, 0});
  // Axis 0 of three axes: the same, with the pairs two apart.
  expect_values("nuslerp", merge_of({2, 1, 2}, {}, models, columns, weights({1, 1})), {part, 2 * half, 9 * part, 0});
}

TEST(ReferenceByHand, MultislerpIsMeanLengthTimesMeanDirection) {
  const double half = 0.7071067812;
  expect_values("multislerp", merge_of({}, {{3, 0}, {0, 4}}, {{"eps", 0}}, weights({2, 2})), {3.5 * half, 3.5 * half});
  expect_values("multislerp", merge_of({{1, 1}}, {{4, 1}, {1, 5}}, {{"eps", 0}}, weights({1, 3})),
                {1 + 3.75 * 0.3162277660, 1 + 3.75 * 0.9486832981});
  // Weights as they are: length 2 * 3 + 1 * 4, direction (2, 1).
  expect_values("multislerp", merge_of({}, {{3, 0}, {0, 4}}, {{"eps", 0}, {"normalize_weights", false}}, weights({2, 1})),
                {10 * 0.8944271910, 10 * 0.4472135955});
  // eps = 1: parts 4 * 3 / 4 and 4 * 4 / 5 of the axes, that is 15 : 16, length 4 * 3 + 4 * 4, and cos 1 = 0.5403023059.
  const double length = 28 * 0.5403023059 / std::sqrt(481.0);
  expect_values("multislerp", merge_of({}, {{3, 0}, {0, 4}}, {{"eps", 1}, {"normalize_weights", false}}, weights({4, 4})),
                {15 * length, 16 * length});
  // A sum of directions shorter than eps: the weighted sum.
  expect_values("multislerp", merge_of({}, {{3, 0}, {0, 4}}, {{"eps", 1}}, weights({2, 2})), {1.5, 2});
  // Opposite vectors have no mean direction: their weighted sum. One model is itself.
  expect_values("multislerp", merge_of({{1, 1}}, {{2, 1}, {0, 1}}, {}, weights({1, 1})), {1, 1});
  expect_values("multislerp", merge_of({{1, 1}}, {{7, 9}}, {}, weights({0.2})), {7, 9});
}

TEST(ReferenceByHand, KarcherOnACircleIsTheMeanAngle) {
  const auto at = [](double angle, double length) {
    return std::vector<float>{static_cast<float>(length * std::cos(angle)), static_cast<float>(length * std::sin(angle))};
  };
  // Angles 0, 0.3, 1.2 and lengths 1, 2, 3: angle 0.5, length 2. One step is enough where the sphere is a circle.
  const Rows models = {at(0, 1), at(0.3, 2), at(1.2, 3)};
  for (const int steps : {1, 10}) {
    const Expected e = reference("karcher", merge_of({{50, 60}}, models, {{"max_iter", steps}}));
    EXPECT_NEAR(e.value[0], 2 * std::cos(0.5), 3e-7) << steps;
    EXPECT_NEAR(e.value[1], 2 * std::sin(0.5), 3e-7) << steps;
  }
  // Without a step: the direction of the sum of the unit vectors.
  const double x = 1 + std::cos(0.3) + std::cos(1.2), y = std::sin(0.3) + std::sin(1.2);
  const Expected start = reference("karcher", merge_of({}, models, {{"max_iter", 0}}));
  EXPECT_NEAR(start.value[0], 2 * x / std::hypot(x, y), 3e-7);
  EXPECT_NEAR(start.value[1], 2 * y / std::hypot(x, y), 3e-7);
}

TEST(ReferenceByHand, KarcherInSpaceStaysInTheMiddle) {
  // Three axes, by symmetry (1, 1, 1) / sqrt(3); lengths 1, 2, 6. A vector of zeros counts for the length only.
  const double third = 0.5773502692;
  expect_values("karcher", merge_of({}, {{1, 0, 0}, {0, 2, 0}, {0, 0, 6}}), {3 * third, 3 * third, 3 * third});
  expect_values("karcher", merge_of({}, {{1, 0, 0}, {0, 2, 0}, {0, 0, 6}, {0, 0, 0}}), {2.25 * third, 2.25 * third, 2.25 * third});
  // Opposite vectors: the first direction.
  expect_values("karcher", merge_of({}, {{1, 0}, {-3, 0}}), {2, 0});
  expect_values("karcher", merge_of({}, {{0, 0}, {0, 0}}), {0, 0});
  expect_values("karcher", merge_of({}, {{7, 9}}), {7, 9});
}

TEST(ReferenceByHand, ModelStockByMeanCosine) {
  // Cosine 0.6: t = 2 * 0.6 / 1.6.
  expect_values("model_stock", merge_of({{1, 1}}, {{6, 1}, {4, 5}}), {1 + 0.75 * 4, 1 + 0.75 * 2});
  // Cosine -0.6: t = -1.2 / 0.4, or 0 where it is clamped.
  expect_values("model_stock", merge_of({{0, 0}}, {{5, 0}, {-3, 4}}), {-3, -6});
  expect_values("model_stock", merge_of({{0, 0}}, {{5, 0}, {-3, 4}}, {{"clamp", true}}), {0, 0});
  // Three models, cosines 0.6, 0, 0.8: mean 1.4 / 3, t = 1.4 / (1 + 2.8 / 3).
  const double t = 1.4 / (1 + 2.8 / 3);
  expect_values("model_stock", merge_of({{0, 0}}, {{5, 0}, {3, 4}, {0, 1}}), {t * 8 / 3, t * 5 / 3});
  // By rows: cosines 0.6 and 1.
  expect_values("model_stock", merge_of({2, 2}, {{0, 0, 0, 0}}, {{5, 0, 1, 0}, {3, 4, 3, 0}}, {{"filter_wise", true}}), {3, 1.5, 2, 0});
  // No floor under the lengths, and a vector of zeros has the cosine 0.
  EXPECT_NEAR(reference("model_stock", merge_of({{0, 0}}, {{5 * 0x1p-40f, 0}, {3 * 0x1p-40f, 4 * 0x1p-40f}})).value[0] * 0x1p40, 3, 1e-12);
  expect_values("model_stock", merge_of({{4, 2}}, {{4, 2}, {5, 7}}), {4, 2});
  expect_values("model_stock", merge_of({{4, 2}}, {}), {4, 2});
}

TEST(ReferenceByHand, ModelStockByProjection) {
  // G = (4 6; 6 25), m = 6: alpha = 6 / 64 * (19, -2), sum 102 / 64.
  const std::vector<float> base = {0, 0};
  const Rows models = {{2, 0}, {3, 4}};
  expect_values("model_stock", merge_of(base, models, {{"form", "projection"}}), {3, -0.75});
  expect_values("model_stock", merge_of(base, models, {{"form", "projection"}, {"clamp", true}}), {3 * 64.0 / 102, -0.75 * 64 / 102});
  // m = -6: the sum is negative, and clamped to 0.
  expect_values("model_stock", merge_of(base, {{2, 0}, {-3, 4}}, {{"form", "projection"}}),
                {2 * -6.0 * 31 / 64 + 3 * 6.0 * 10 / 64, 4 * -6.0 * 10 / 64});
  expect_values("model_stock", merge_of(base, {{2, 0}, {-3, 4}}, {{"form", "projection"}, {"clamp", true}}), {0, 0});
}

// Elements that rounding decides take any number, but no NaN; a threshold's other outcome counts too.
TEST(ReferenceByHand, OpenElements) {
  // Task vectors that cancel: without a clamp t is minus infinity.
  const Expected stock = reference("model_stock", merge_of({{0, 0}}, {{1, 0}, {-1, 0}}));
  EXPECT_EQ(worst_error(DType::kF32, {17.0f, 0.0f}, stock), 0);
  EXPECT_TRUE(std::isinf(worst_error(DType::kF32, {std::nanf(""), 0.0f}, stock)));
  EXPECT_GT(worst_error(DType::kF32, {0.0f, 1.0f}, stock), 2) << "both task vectors are 0 there";
  // A score of exactly the threshold: kept, but rounding may say otherwise.
  const Expected fusion = reference("arcee_fusion", merge_of({1, 5}, std::vector<float>(5, 0), {{0, 1, -2, 3, 5}}));
  EXPECT_EQ(worst_error(DType::kF32, {0, 0, 0, 0, 5}, fusion), 0);
  EXPECT_EQ(worst_error(DType::kF32, {0, 0, 0, 0, 0}, fusion), 0);
  EXPECT_GT(worst_error(DType::kF32, {0, 0, 0, 3, 5}, fusion), 2);
  // Equal variances at the cut of sce: either position.
  const Expected sce = reference("sce", merge_of({{0, 0, 0}}, {{1, 1, 2}, {-3, -3, 2}}, {{"select_topk", 0.5}}));
  EXPECT_EQ(worst_error(DType::kF32, {-3, 0, 0}, sce), 0);
  EXPECT_EQ(worst_error(DType::kF32, {0, -3, 0}, sce), 0);
  EXPECT_GT(worst_error(DType::kF32, {-3, 0, 2}, sce), 2);
}

}  // namespace
}  // namespace crucible::test
