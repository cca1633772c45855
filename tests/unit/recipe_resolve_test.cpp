#include "recipe/resolve.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "recipe_test_util.h"

namespace crucible {
namespace {

struct Sample {
  double density = 1.0;
};

const Field& density_field() {
  static const Field f = field(&Sample::density, "density", "share");
  return f;
}

Setting plain(double value) { return {"density", {}, {{"", {}, {{"r.yml", 1, 1}, {value}, false}}}}; }

Setting conditional(const std::string& filter, double value) { return {"density", {}, {{filter, {}, {{"r.yml", 2, 2}, {value}, false}}}}; }

TEST(Resolve, Filters) {
  EXPECT_TRUE(filter_matches("", "x"));
  EXPECT_TRUE(filter_matches("*", "x"));
  EXPECT_TRUE(filter_matches("mlp", "model.layers.0.mlp.up_proj.weight"));
  EXPECT_FALSE(filter_matches("MLP", "model.layers.0.mlp.up_proj.weight"));
  EXPECT_FALSE(filter_matches("mlp.*", "model.layers.0.mlp.up_proj.weight"));
  EXPECT_FALSE(filter_matches("mlp", ""));
}

TEST(Resolve, Gradients) {
  const std::vector<double> points = {0.0, 0.5, 0.3, 0.7, 1.0};
  EXPECT_EQ(gradient_at(points, 0.0), 0.0);
  EXPECT_EQ(gradient_at(points, 0.25), 0.5);
  EXPECT_EQ(gradient_at(points, 0.375), 0.5 * 0.5 + 0.5 * 0.3);
  EXPECT_EQ(gradient_at(points, 1.0), 1.0);
  EXPECT_EQ(gradient_at(std::vector<double>{0.7}, 0.3), 0.7);
  // The same double arithmetic as (1 - f) * v[i] + f * v[i + 1].
  const double t = 1.0 / 31.0;
  const double f = t * 4.0;
  EXPECT_EQ(gradient_at(points, t), (1.0 - f) * 0.0 + f * 0.5);
}

TEST(Resolve, NearestLevelThatYieldsAValueWins) {
  const Settings none;
  const Settings model = {conditional("mlp", 0.1)};
  const Settings slice = {conditional("attn", 0.2)};
  const Settings module = {conditional("norm", 0.3)};
  const Settings global = {plain(0.4)};
  const std::vector<SettingLevel> levels = {{Origin::Level::kModel, &model},
                                            {Origin::Level::kSlice, &slice},
                                            {Origin::Level::kModule, &module},
                                            {Origin::Level::kGlobal, &global}};
  const auto value = [&](std::string_view tensor) { return std::get<double>(resolve(density_field(), levels, tensor, 0.0).value().value); };
  EXPECT_EQ(value("x.mlp.weight"), 0.1);
  EXPECT_EQ(value("x.attn.weight"), 0.2);
  EXPECT_EQ(value("x.norm.weight"), 0.3);
  EXPECT_EQ(value("embed"), 0.4);
  EXPECT_EQ(value("mlp.attn"), 0.1);
  const std::vector<SettingLevel> without = {{Origin::Level::kModel, &model}, {Origin::Level::kGlobal, &none}};
  EXPECT_FALSE(resolve(density_field(), without, "embed", 0.0).has_value());
}

TEST(Resolve, FirstMatchingConditionWins) {
  const Settings level = {{"density", {}, {{"a", {}, {{}, {0.1}, false}}, {"ab", {}, {{}, {0.2}, false}}, {"*", {}, {{}, {0.3}, false}}}}};
  const std::vector<SettingLevel> levels = {{Origin::Level::kGlobal, &level}};
  EXPECT_EQ(std::get<double>(resolve(density_field(), levels, "ab", 0.0)->value), 0.1);
  EXPECT_EQ(std::get<double>(resolve(density_field(), levels, "b", 0.0)->value), 0.3);
}

TEST(Resolve, OriginSaysWhere) {
  const auto r =
      recipe_test::read(recipe_test::della_with("parameters:\n  density:\n    - filter: mlp\n      value: [0.2, 0.6]\n    - value: 0.5\n"));
  ASSERT_TRUE(r.is_clean()) << r.text();
  const std::vector<SettingLevel> levels = {{Origin::Level::kGlobal, &r.recipe.parameters}};
  const auto gradient = resolve(density_field(), levels, "mlp", 0.5);
  ASSERT_TRUE(gradient.has_value());
  EXPECT_EQ(std::get<double>(gradient->value), 0.4);
  EXPECT_EQ(gradient->origin.level, Origin::Level::kGlobal);
  EXPECT_EQ(gradient->origin.place, (Place{"r.yml", 9, 14}));
  EXPECT_EQ(gradient->origin.filter, "mlp");
  EXPECT_EQ(gradient->origin.t, 0.5);
  const auto scalar = resolve(density_field(), levels, "embed", 0.5);
  EXPECT_EQ(scalar->origin.place, (Place{"r.yml", 10, 14}));
  EXPECT_EQ(scalar->origin.t, std::nullopt);
}

}  // namespace
}  // namespace crucible
