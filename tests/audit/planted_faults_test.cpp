// Faults on the way of a parameter into the arithmetic, planted one at a time: the audit of an ordinary merge must name the parameter.
// These tests are linked with copies of the sources that ask planted() (base/fault.h), compiled with CRUCIBLE_FAULTS.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/fault.h"
#include "crucible/crucible.h"
#include "support/random_merge.h"

namespace crucible {
namespace {
Fault g_fault = Fault::kNone;
}
inline namespace faulty {
Fault planted_fault() noexcept { return g_fault; }
}  // namespace faulty
}  // namespace crucible

namespace crucible::test {
namespace {

struct Case {
  const char* name;
  Fault fault;
  const char* parameter;
  const char* recipe;
};

constexpr const char* kDella = R"(merge_method: della
base_model: base
models:
- {model: a, parameters: {weight: 0.7, density: 0.5, epsilon: 0.2}}
- {model: b, parameters: {weight: 0.4, density: 0.7, epsilon: 0.1}}
parameters: {lambda: 0.8, normalize: false}
dtype: bfloat16
)";
constexpr const char* kDellaOneModel = R"(merge_method: della_linear
base_model: base
models:
- {model: a, parameters: {weight: 1, density: 0.6, epsilon: 0.3}}
dtype: float16
)";
constexpr const char* kDare = R"(merge_method: dare_ties
base_model: base
models:
- {model: a, parameters: {weight: 0.7, density: 0.3}}
- {model: b, parameters: {weight: 0.4, density: 0.8}}
parameters: {lambda: 1.2, normalize: true, rescale: true}
)";
constexpr const char* kTies = R"(merge_method: ties
base_model: base
models:
- {model: a, parameters: {weight: 0.7, density: 0.3}}
- {model: b, parameters: {weight: 0.4, density: 0.8}}
parameters: {lambda: 0.5, normalize: true, rescale: true}
)";
constexpr const char* kCrumbs = R"(merge_method: breadcrumbs
base_model: base
models:
- {model: a, parameters: {weight: 0.7, density: 0.3, gamma: 0.02}}
- {model: b, parameters: {weight: 0.4, density: 0.8, gamma: 0.01}}
parameters: {lambda: 0.5, normalize: true}
)";
constexpr const char* kShaped = R"(merge_method: della
base_model: base
models:
- model: a
  parameters:
    weight: [0.2, 0.9]
    density: [{filter: mlp, value: 0.4}, {value: 0.7}]
- model: b
  parameters: {weight: 0.5}
parameters: {density: 0.6, epsilon: [0.05, 0.25], lambda: [0.6, 1.0, 0.8]}
)";
constexpr const char* kSlices = R"(merge_method: linear
slices:
- sources:
  - {model: a, layer_range: [0, 2], parameters: {weight: [0.1, 0.5]}}
  - {model: b, layer_range: [0, 2], parameters: {weight: [{filter: q_proj, value: 1}, {value: 2}]}}
- sources:
  - {model: a, layer_range: [2, 3]}
  - {model: b, layer_range: [2, 3]}
  parameters: {weight: 0.5}
parameters: {weight: 0.25, normalize: true}
)";

const Case kCases[] = {
    {"EpsilonDropped", Fault::kEpsilonDropped, "epsilon", kDella},
    {"EpsilonDroppedOneModel", Fault::kEpsilonDropped, "epsilon", kDellaOneModel},
    {"EpsilonDroppedShaped", Fault::kEpsilonDropped, "epsilon", kShaped},
    {"RampSwapped", Fault::kRampSwapped, "epsilon", kDella},
    {"RampSwappedOneModel", Fault::kRampSwapped, "epsilon", kDellaOneModel},
    {"DensityWrongDella", Fault::kDensityWrong, "density", kDella},
    {"DensityWrongDare", Fault::kDensityWrong, "density", kDare},
    {"DensityWrongTies", Fault::kDensityWrong, "density", kTies},
    {"DensityWrongBreadcrumbs", Fault::kDensityWrong, "density", kCrumbs},
    {"DensityOfOtherModelDella", Fault::kDensityOfOtherModel, "density", kDella},
    {"DensityOfOtherModelDare", Fault::kDensityOfOtherModel, "density", kDare},
    {"DensityOfOtherModelTies", Fault::kDensityOfOtherModel, "density", kTies},
    {"WeightOfOtherModelDella", Fault::kWeightOfOtherModel, "weight", kDella},
    {"WeightOfOtherModelBreadcrumbs", Fault::kWeightOfOtherModel, "weight", kCrumbs},
    {"WeightOfOtherModelDare", Fault::kWeightOfOtherModel, "weight", kDare},
    {"RescaleSkippedDella", Fault::kRescaleSkipped, "rescale", kDella},
    {"RescaleSkippedTies", Fault::kRescaleSkipped, "rescale", kTies},
    {"RescaleSkippedDare", Fault::kRescaleSkipped, "rescale", kDare},
    {"LambdaIgnoredDella", Fault::kLambdaIgnored, "lambda", kDella},
    {"LambdaIgnoredBreadcrumbs", Fault::kLambdaIgnored, "lambda", kCrumbs},
    {"NormalizeIgnoredTies", Fault::kNormalizeIgnored, "normalize", kTies},
    {"NormalizeIgnoredDella", Fault::kNormalizeIgnored, "normalize", kDella},
    {"FilterIgnored", Fault::kFilterIgnored, "density", kShaped},
    {"FilterIgnoredInSlices", Fault::kFilterIgnored, "weight", kSlices},
    {"GradientIgnored", Fault::kGradientIgnored, "epsilon", kShaped},
    {"GradientIgnoredOfWeight", Fault::kGradientIgnored, "weight", kShaped},
    {"GradientIgnoredOfAGlobal", Fault::kGradientIgnored, "lambda", kShaped},
    {"GradientIgnoredInSlices", Fault::kGradientIgnored, "weight", kSlices},
    {"LevelIgnored", Fault::kLevelIgnored, "weight", kSlices},
};

class PlantedFaults : public testing::TestWithParam<Case> {
 protected:
  static const ModelBox& models() {
    static const ModelBox box({.layers = 3, .hidden = 48, .intermediate = 64, .vocabulary = 128});
    return box;
  }
  void TearDown() override { g_fault = Fault::kNone; }
};

TEST_P(PlantedFaults, AreNamed) {
  const Case& c = GetParam();
  g_fault = Fault::kNone;
  const AuditedMerge right = audited_merge(c.recipe, models(), 5);
  ASSERT_TRUE(right.problems.empty()) << testing::PrintToString(right.problems);
  EXPECT_FALSE(right.accused()) << testing::PrintToString(right.contradictions) << testing::PrintToString(right.detours);
  g_fault = c.fault;
  const AuditedMerge wrong = audited_merge(c.recipe, models(), 5);
  EXPECT_TRUE(wrong.accuses(c.parameter)) << testing::PrintToString(wrong.contradictions) << testing::PrintToString(wrong.detours);
  // What is on the list names no innocent parameter.
  for (const auto& lines : {wrong.contradictions, wrong.detours}) {
    for (const std::string& line : lines) {
      const bool by_recipe = c.fault == Fault::kFilterIgnored || c.fault == Fault::kGradientIgnored || c.fault == Fault::kLevelIgnored;
      EXPECT_TRUE(by_recipe || line.starts_with(std::string("`") + c.parameter + "`")) << line;
    }
  }
}

// A value that no kernel takes stops the plan, at its place in the recipe.
TEST(PlantedFault, AValueThatIsNotTakenIsNamed) {
  const ModelBox models({.layers = 1});
  Diagnostics diagnostics;
  const Recipe recipe = parse_recipe(kDellaOneModel, "recipe.yml", {}, diagnostics);
  PlanOptions options;
  options.model_dirs = models.model_dirs();
  g_fault = Fault::kEpsilonNotTaken;
  make_plan(recipe, options, diagnostics);
  g_fault = Fault::kNone;
  ASSERT_TRUE(diagnostics.has_errors());
  const Diagnostic& d = diagnostics.items().back();
  EXPECT_NE(d.message.find("`epsilon` reaches no arithmetic in della_linear"), std::string::npos) << d.message;
  EXPECT_EQ(to_string(d.place).substr(0, 13), "recipe.yml:4:") << to_string(d.place);
}

// A whole merge: it stops with exit code 3, no model appears, and the record of the run is kept.
TEST(PlantedFault, StopsTheMergeAndLeavesEvidence) {
  const TempFolder box;
  MergeRequest request;
  request.recipe_text = kDella;
  request.recipe_file = "recipe.yml";
  const ModelBox models({.layers = 3, .hidden = 48, .intermediate = 64, .vocabulary = 128});
  request.model_dirs = models.model_dirs();
  g_fault = Fault::kEpsilonDropped;
  try {
    merge(request, box / "out");
    ADD_FAILURE() << "the merge was not stopped";
  } catch (const Error& problem) {
    EXPECT_EQ(exit_code_of(problem.code()), 3);
    EXPECT_NE(std::string(problem.what()).find("`epsilon` of a"), std::string::npos) << problem.what();
    EXPECT_NE(std::string(problem.what()).find("out.evidence"), std::string::npos) << problem.what();
  }
  EXPECT_FALSE(std::filesystem::exists(box / "out"));
  const std::string record = read_text(box / "out.evidence/crucible.json");
  EXPECT_NE(record.find("\"ok\": false"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(box / "out.evidence/model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(box / "out.evidence/README.md"));

  // The plan itself may be wrong: then nothing is computed.
  request.recipe_text = kShaped;
  g_fault = Fault::kFilterIgnored;
  try {
    merge(request, box / "other");
    ADD_FAILURE() << "the merge was not stopped";
  } catch (const Error& problem) {
    EXPECT_NE(std::string(problem.what()).find("`density` of a: the recipe says 0.7 (recipe.yml:7:"), std::string::npos) << problem.what();
  }
  EXPECT_FALSE(std::filesystem::exists(box / "other"));
  EXPECT_FALSE(std::filesystem::exists(box / "other.evidence"));
  g_fault = Fault::kNone;
  EXPECT_NO_THROW(merge(request, box / "other"));
}

INSTANTIATE_TEST_SUITE_P(Audit, PlantedFaults, testing::ValuesIn(kCases),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace crucible::test
