// What methods say about parameters before a merge, and how shapes are cut into tiles.
#include <gtest/gtest.h>

#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

class Collect final : public Findings {
 public:
  void error(std::string message, std::string) override { errors.push_back(std::move(message)); }
  void notice(std::string message, std::string) override { notices.push_back(std::move(message)); }
  std::vector<std::string> errors, notices;
};

Collect check(const std::string& name, const std::vector<Args>& models, const Args& global = {}, const Shape& shape = {100, 100}) {
  const Method& method = *find_method(name);
  const Params g = make_params(*method.global, global);
  std::vector<Params> m;
  std::vector<std::string> names;
  for (const Args& args : models) {
    m.push_back(make_params(*method.model, args));
    names.push_back("model" + std::to_string(names.size()));
  }
  Collect found;
  if (method.check != nullptr) method.check({"t", &shape, true, &g, m, names}, found);
  return found;
}

TEST(MethodChecks, LinearRefusesWeightsThatSumToZero) {
  EXPECT_EQ(check("linear", {{{"weight", 1}}, {{"weight", -1}}}).errors.size(), 1u);
  EXPECT_TRUE(check("linear", {{{"weight", 1}}, {{"weight", -1}}}, {{"normalize", false}}).errors.empty());
  EXPECT_TRUE(check("linear", {{{"weight", 1}}, {{"weight", 0}}}).errors.empty());
}

TEST(MethodChecks, DellaRefusesEpsilonBesideWindow) {
  const Collect found = check("della", {{{"epsilon", 0.1}, {"window", 0.2}}, {{"epsilon", 0.1}}});
  ASSERT_EQ(found.errors.size(), 1u);
  EXPECT_NE(found.errors[0].find("model0"), std::string::npos);
}

TEST(MethodChecks, DellaTellsTheFoundingNumbers) {
  const Collect found = check("della", {{{"density", 0.8}, {"epsilon", 0.3}}});
  EXPECT_TRUE(found.errors.empty());
  ASSERT_EQ(found.notices.size(), 1u);
  EXPECT_NE(found.notices[0].find("c = 0.810"), std::string::npos) << found.notices[0];
  EXPECT_NE(found.notices[0].find("18 % of each row is always kept"), std::string::npos) << found.notices[0];
  EXPECT_TRUE(check("della", {{{"density", 0.5}, {"epsilon", 0.5}}}).notices.empty()) << "the ends of [0, 1] are allowed";
  EXPECT_EQ(check("della", {{{"density", 1}, {"epsilon", 0.3}}}).notices.size(), 1u);
  EXPECT_TRUE(check("della", {{{"density", 1}}}).notices.empty());
}

TEST(MethodChecks, SmallTensorsThatLoseEverythingAreNamed) {
  EXPECT_EQ(check("ties", {{{"density", 0.01}}}, {}, {10}).notices.size(), 1u);
  EXPECT_TRUE(check("ties", {{{"density", 0.01}}}, {}, {100}).notices.empty());
  EXPECT_TRUE(check("ties", {{{"density", 0.01}}}, {}, {0}).notices.empty());
  EXPECT_EQ(check("breadcrumbs", {{{"density", 0.9}, {"gamma", 0.001}}}, {}, {100}).notices.size(), 1u);
  EXPECT_EQ(check("breadcrumbs", {{{"density", 0.9}, {"gamma", 0.2}}}, {}, {1000}).notices.size(), 1u);
  EXPECT_TRUE(check("breadcrumbs", {{{"density", 0.9}, {"gamma", 0.1}}}, {}, {1000}).notices.empty());
}

TEST(Tiling, CoversEveryElementOnce) {
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{3, 0}, Shape{1}, Shape{kTileElems}, Shape{kTileElems + 1}, Shape{7, 20000},
                             Shape{100000, 3}, Shape{2, kLongestRow}, Shape{2, kLongestRow + 1}, Shape{5, 4, 9000}}) {
    for (const Grain grain : {Grain::kElement, Grain::kRow}) {
      const Tiling t = make_tiling(shape, grain);
      std::int64_t at = 0;
      for (std::int64_t i = 0; i < t.tiles; ++i) {
        const Tile tile = t.tile(i);
        EXPECT_EQ(tile.index, i);
        EXPECT_EQ(tile.begin, at);
        EXPECT_GT(tile.count, 0);
        EXPECT_LE(tile.count, t.tile_elems);
        EXPECT_TRUE(!t.whole_rows || tile.count % t.row == 0);
        at += tile.count;
      }
      EXPECT_EQ(at, elem_count(shape)) << to_string(shape);
      EXPECT_EQ(t.whole_rows, grain == Grain::kRow && row_length(shape) <= kLongestRow);
      EXPECT_LE(t.tile_elems, std::max(kTileElems, t.whole_rows ? t.row : 0)) << to_string(shape);
    }
  }
}

TEST(KernelDriver, RefusesWhatTheTableDoesNotTake) {
  const FieldTable& table = *find_method("della")->model;
  EXPECT_THROW(make_params(table, {{"densty", 0.5}}), std::invalid_argument);
  EXPECT_THROW(make_params(table, {{"density", 1.5}}), std::invalid_argument);
  EXPECT_NO_THROW(make_params(table, {{"density", 0.5}}));
}

// The driver stands in for the runner, so what it is to catch is shown here.
TEST(KernelDriverDeath, SeesWhatAKernelLeavesOut) {
  class Lazy final : public Kernel {
   public:
    void map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch&) noexcept override {
      for (std::int64_t i = 0; i + 1 < tile.count; ++i) out[i] = in.models[0][i];
    }
  };
  Method lazy = *find_method("passthrough");
  lazy.make_kernel = [](const KernelSpec&) -> std::unique_ptr<Kernel> { return std::make_unique<Lazy>(); };
  MergeCase merge;
  merge.shape = {3};
  merge.models = {{1, 2, 3}};
  EXPECT_DEATH(run_kernel(lazy, merge), "element 2");
  EXPECT_EQ(run_kernel("passthrough", merge).out, merge.models[0]);
}

}  // namespace
}  // namespace crucible::test
