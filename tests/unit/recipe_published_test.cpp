// Recipes in the shapes in which people publish them, and texts as people write them.
#include <gtest/gtest.h>

#include <algorithm>

#include "recipe_test_util.h"

namespace crucible {
namespace {

using namespace recipe_test;

TEST(RecipePublished, SlerpWithFilters) {
  const Read r = read(R"(
slices:
  - sources:
      - model: psmathur/orca_mini_v3_13b
        layer_range: [0, 40]
      - model: garage-bAInd/Platypus2-13B
        layer_range: [0, 40]
# or, the equivalent models: syntax
merge_method: slerp
base_model: psmathur/orca_mini_v3_13b
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5 # fallback for rest of tensors
dtype: float16
)");
  EXPECT_TRUE(r.is_clean()) << r.text();
}

TEST(RecipePublished, TiesWithGradientAndBaseListed) {
  const Read r = read(R"(models:
  - model: psmathur/orca_mini_v3_13b
    parameters:
      density: [1, 0.7, 0.1] # density gradient
      weight: 1.0
  - model: garage-bAInd/Platypus2-13B
    parameters:
      density: 0.5
      weight: [0, 0.3, 0.7, 1] # weight gradient
  - model: WizardLM/WizardMath-13B-V1.0
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 0.5
        - value: 0
  - model: TheBloke/Llama-2-13B-fp16
    # no parameters necessary for base model
merge_method: ties
base_model: TheBloke/Llama-2-13B-fp16
parameters:
  normalize: true
dtype: float16
)");
  EXPECT_TRUE(r.is_clean()) << r.text();
}

TEST(RecipePublished, DareTiesWithInt8Mask) {
  const Read r = read(R"(models:
  - model: mistralai/Mistral-7B-v0.1
  - model: samir-fama/SamirGPT-v1
    parameters:
      density: 0.53
      weight: 0.4
merge_method: dare_ties
base_model: mistralai/Mistral-7B-v0.1
parameters:
  int8_mask: true
dtype: bfloat16
)");
  EXPECT_EQ(r.diagnostics.error_count(), 1) << r.text();
  EXPECT_TRUE(r.says("`int8_mask` is not used by the method `dare_ties`"));
}

TEST(RecipePublished, Frankenmerge) {
  const Read r = read(R"(dtype: float16
merge_method: passthrough
slices:
- sources:
  - layer_range: [0, 20]
    model: cognitivecomputations/dolphin-2.2-70b
- sources:
  - layer_range: [10, 30]
    model: WizardLM/WizardMath-70B-V1.0
    parameters:
      scale:
        - filter: o_proj
          value: 0.0
        - filter: down_proj
          value: 0.0
        - value: 1.0
)");
  EXPECT_TRUE(r.is_clean()) << r.text();
}

TEST(RecipePublished, KeysThatMergekitIgnores) {
  const std::string text = R"(models:
  - model: NousResearch/Meta-Llama-3-8B
    revision: main
    parameters:
      weight: 0.5
      density: 0.5
merge_method: linear
name: my-merge
dype: bfloat16
parameters:
  int8_mask: true
  t: 0.5
)";
  const Read lenient = read_lenient(text);
  // revision and dype are no keys of their place: errors everywhere. density, int8_mask and t are known to other methods, name to
  // files of several merges: graded.
  EXPECT_EQ(lenient.diagnostics.error_count(), 2) << lenient.text();
  EXPECT_EQ(lenient.recipe.unused.size(), 4u) << lenient.text();
  EXPECT_EQ(read(text).diagnostics.error_count(), 6) << read(text).text();
}

TEST(RecipePublished, TextsAsPeopleWriteThem) {
  std::string windows = "\xEF\xBB\xBF" + founding();
  for (std::size_t at = 0; (at = windows.find('\n', at)) != std::string::npos; at += 2) windows.replace(at, 1, "\r\n");
  std::string indented;
  for (std::size_t begin = 0; begin < founding().size();) {
    const std::size_t end = founding().find('\n', begin);
    indented += "    " + founding().substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  for (const std::string& text : {windows, indented, "\n\n" + founding(), "---\n" + founding() + "...\n", "---\n" + founding() + "---\n",
                                  "# комментарий 日本語 🙂\n" + founding(), founding() + "\n   \n\t\n"}) {
    const Read r = read(text);
    EXPECT_TRUE(r.is_clean()) << text << r.text();
    EXPECT_EQ(r.recipe.models.size(), 2u);
  }
}

TEST(RecipePublished, AnchorsAndMergeKeys) {
  const Read r = read(
      "merge_method: linear\nmodels:\n  - model: a\n    parameters: &p\n      weight: 0.5\n  - model: b\n    parameters: *p\n  - model: "
      "c\n    parameters:\n      <<: *p\n");
  ASSERT_TRUE(r.is_clean()) << r.text();
  EXPECT_EQ(r.recipe.models[2].parameters.size(), 1u);
  EXPECT_EQ(r.recipe.models[2].parameters[0].name_place, (Place{"r.yml", 5, 7}));
}

TEST(RecipePublished, WindowsPaths) {
  EXPECT_TRUE(read("merge_method: linear\nmodels: [{model: C:\\models\\a, parameters: {weight: 1}}]\n").is_clean());
  EXPECT_TRUE(read("merge_method: linear\nmodels:\n  - model: 'D:\\x y\\a'\n    parameters: {weight: 1}\n").is_clean());
  EXPECT_TRUE(read("merge_method: linear\nmodels:\n  - model: \"D:\\x\\a\"\n").says("write a Windows path in single quotes"));
}

TEST(RecipePublished, Json) {
  const Read r = read(
      "{\n\t\"merge_method\": \"linear\",\n\t\"models\": [\n\t\t{\"model\": \"a\", \"parameters\": {\"weight\": 1.0}}\n\t],\n\t\"dtype\": "
      "\"float16\"\n}\n");
  EXPECT_TRUE(r.is_clean()) << r.text();
}

TEST(RecipePublished, OpenRecipe) {
  Diagnostics diagnostics;
  const Recipe recipe = open_recipe("/nonexistent/recipe.yml", {}, diagnostics);
  EXPECT_TRUE(diagnostics.has_errors());
  EXPECT_EQ(recipe.file, "/nonexistent/recipe.yml");
}

}  // namespace
}  // namespace crucible
