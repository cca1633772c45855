// Rules between the parts of a recipe: what is merged, how many models, which base, which parameters are required.
#include <gtest/gtest.h>

#include "recipe_test_util.h"

namespace crucible {
namespace {

using namespace recipe_test;

std::string slices(const std::string& method, const std::string& sources, const std::string& more = "") {
  return "merge_method: " + method + "\nslices:\n  - sources: [" + sources + "]\n" + more;
}

TEST(RecipeCheck, ExactlyOneOfModelsSlicesModules) {
  EXPECT_TRUE(read("merge_method: linear\n").says("nothing to merge: one of `models`, `slices` and `modules` is needed"));
  EXPECT_TRUE(read("merge_method: linear\nmodels: []\n").says("nothing to merge"));
  EXPECT_TRUE(read("merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\nslices: [{sources: [{model: a, layer_range: [0, "
                   "1], parameters: {weight: 1}}]}]\n")
                  .says("`models` and `slices` are given, allowed is one of `models`, `slices` and `modules`"));
  EXPECT_TRUE(read("merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\nslices: []\n").is_clean());
}

TEST(RecipeCheck, LayerRanges) {
  const auto range = [](const std::string& text) { return read(slices("passthrough", "{model: a, layer_range: " + text + "}")); };
  for (const char* good : {"[0, 32]", "['0', \"32\"]", "[0.0, 32.0]"}) {
    const Read r = range(good);
    ASSERT_TRUE(r.is_clean()) << good << r.text();
    EXPECT_EQ(r.recipe.slices[0].sources[0].layer_begin, 0);
    EXPECT_EQ(r.recipe.slices[0].sources[0].layer_end, 32);
    EXPECT_EQ(r.recipe.slices[0].sources[0].range_place, (Place{"r.yml", 3, 39}));
  }
  // Ranges without layers are told where the model's layers are known: cli/slices_test.
  EXPECT_TRUE(range("[0, 99999999999]").says("`layer_range` [0, 99999999999]"));
  EXPECT_TRUE(range("[0, 1.5]").says("r.yml:3:43: error: a layer number must be an integer, not `1.5`"));
  EXPECT_TRUE(range("[a, [b]]").says("a layer number must be an integer, not `a`"));
  EXPECT_TRUE(range("[a, [b]]").says("a layer number must be an integer, not a list"));
  EXPECT_TRUE(range("[0, 1, 2]").says("`layer_range` must be two integers, not a list of 3"));
  EXPECT_TRUE(range("0-32").says("`layer_range` must be two integers, not a number"));
  EXPECT_TRUE(read(slices("passthrough", "{model: a}")).says("`layer_range` is missing in this entry of `sources`"));
  EXPECT_TRUE(read("merge_method: passthrough\nslices: [{}]\n").says("`sources` is missing in this slice"));
  EXPECT_TRUE(read(slices("passthrough", "")).says("`sources` is an empty list"));
}

TEST(RecipeCheck, SourcesOfASliceHaveEqualLengths) {
  const Read r =
      read(slices("slerp", "{model: a, layer_range: [0, 4]}, {model: b, layer_range: [4, 9]}", "base_model: a\nparameters: {t: 0.5}\n"));
  EXPECT_TRUE(r.says("all sources of a slice must have the same number of layers: this one has 5, the first one 4")) << r.text();
}

TEST(RecipeCheck, ResidualWeight) {
  const std::string text = "merge_method: passthrough\nslices:\n  - sources: [{model: a, layer_range: [0, 1]}]\n    residual_weight: 0.3\n";
  EXPECT_TRUE(read(text).says("r.yml:4:5: error: `residual_weight` has no meaning: no merge method uses it"));
  EXPECT_FALSE(read_lenient(text).diagnostics.has_errors());
}

TEST(RecipeCheck, BaseIsRequired) {
  const Read r = read("merge_method: ties\nmodels: [{model: a, parameters: {weight: 1}}]\n");
  EXPECT_TRUE(r.says("r.yml:1:15: error: `ties` needs a `base_model`")) << r.text();
  EXPECT_EQ(r.diagnostics.error_count(), 1);
  // A slice may bring its own.
  EXPECT_TRUE(read("merge_method: slerp\nparameters: {t: 0}\nslices:\n  - base_model: a\n    sources: [{model: a, layer_range: [0, 1]}, "
                   "{model: b, layer_range: [0, 1]}]\n")
                  .is_clean());
}

TEST(RecipeCheck, NumberOfModels) {
  const std::string slerp = "merge_method: slerp\nbase_model: a\nparameters: {t: 0.5}\nmodels: ";
  EXPECT_TRUE(read(slerp + "[{model: a}, {model: b}]\n").is_clean());
  EXPECT_TRUE(read(slerp + "[{model: b}]\n").is_clean());
  EXPECT_TRUE(read(slerp + "[{model: b}, {model: c}]\n").says("`slerp` needs exactly 1 model besides the base model, and `models` has 2"));
  const Read only_base = read(slerp + "[{model: a}]\n");
  EXPECT_TRUE(only_base.says("`slerp` needs exactly 1 model besides the base model, and `models` has 0")) << only_base.text();
  EXPECT_TRUE(only_base.says("hint: `a` is the base model and does not count")) << only_base.text();
  EXPECT_TRUE(read(slices("passthrough", "{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}"))
                  .says("r.yml:3:5: error: `passthrough` needs exactly 1 model, and this slice has 2"));
}

TEST(RecipeCheck, RequiredParametersOfModels) {
  const std::string head =
      "merge_method: ties\nbase_model: b\nmodels:\n  - model: a\n  - model: c\n    parameters: {weight: 1}\n  - model: b\n";
  const Read r = read(head);
  EXPECT_TRUE(r.says("r.yml:4:12: error: `weight` is missing for `a`: `ties` needs it for every model\n    - model: a\n             ^\n"))
      << r.text();
  EXPECT_EQ(r.diagnostics.error_count(), 1) << r.text();
  EXPECT_TRUE(read(head + "parameters: {weight: 1}\n").is_clean());
  // Conditions without a fallback are left to the tensors.
  EXPECT_TRUE(read(head + "parameters: {weight: [{filter: mlp, value: 1}]}\n").is_clean());
  // For an ordinary input that is also the base it is required.
  EXPECT_TRUE(read("merge_method: linear\nbase_model: b\nmodels: [{model: b}]\n").says("`weight` is missing for `b`"));
}

TEST(RecipeCheck, RequiredParametersInSlicesAndModules) {
  const std::string sources = "{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}";
  EXPECT_TRUE(read(slices("slerp", sources, "base_model: a\n")).says("r.yml:1:15: error: `t` is missing: `slerp` needs it"));
  EXPECT_TRUE(read(slices("slerp", sources, "    parameters: {t: 0.5}\nbase_model: a\n")).is_clean());
  EXPECT_TRUE(read(slices("linear", sources, "    parameters: {weight: 0.5}\n")).is_clean());
  EXPECT_TRUE(read("merge_method: linear\nmodules:\n  text:\n    parameters: {weight: 1}\n    models: [{model: a}]\n").is_clean());
  EXPECT_TRUE(read("merge_method: linear\nmodules:\n  text:\n    models: [{model: a}]\n").says("`weight` is missing for `a`"));
}

TEST(RecipeCheck, Modules) {
  const std::string model = "models: [{model: a}]";
  const std::string slice = "slices: [{sources: [{model: a, layer_range: [0, 2]}]}]";
  const std::string head = "merge_method: passthrough\nmodules:\n  text: {";
  EXPECT_TRUE(read(head + model + "}\n  vision: {" + slice + "}\n").is_clean());
  EXPECT_TRUE(read(head + model + ", " + slice + "}\n").says("the module `text` has both `models` and `slices`"));
  EXPECT_TRUE(read(head + "}\n").says("r.yml:3:3: error: the module `text` has neither `models` nor `slices`"));
  EXPECT_TRUE(read("merge_method: passthrough\nmodules: {text: 3}\n").says("the module `text` must be a mapping, not a number"));
}

TEST(RecipeCheck, BaseThatIsNoInput) {
  const Read r = read("merge_method: linear\nbase_model: b\nmodels: [{model: a, parameters: {weight: 1}}]\n");
  EXPECT_FALSE(r.diagnostics.has_errors()) << r.text();
  EXPECT_TRUE(r.says("r.yml:2:13: notice: `base_model` is not an input of `linear`: it gives config and tokenizer")) << r.text();
  EXPECT_TRUE(read("merge_method: linear\nbase_model: a\nmodels: [{model: a, parameters: {weight: 1}}]\n").is_clean());
}

TEST(RecipeCheck, BaseOutsideOfASlice) {
  const std::string one = "  - sources: [{model: a, layer_range: [0, 1]}]\n";
  const Read r = read("merge_method: slerp\nbase_model: base\nparameters: {t: 0.5}\nslices:\n" + one + one + one);
  EXPECT_FALSE(r.diagnostics.has_errors()) << r.text();
  EXPECT_EQ(r.diagnostics.items().size(), 1u) << r.text();
  EXPECT_TRUE(
      r.says("r.yml:5:5: notice: the base model is not among the sources of this slice (and of 2 other slices): its layers are those of "
             "the first source"))
      << r.text();
  const std::string twice = "{model: base, layer_range: [0, 1]}, {model: base, layer_range: [1, 2]}, {model: a, layer_range: [0, 1]}";
  EXPECT_TRUE(read(slices("slerp", twice, "base_model: base\nparameters: {t: 0.5}\n"))
                  .says("the base model `base` stands 2 times in this slice; allowed is once"));
}

TEST(RecipeCheck, ParametersOfAListedBase) {
  const Read r = read(
      "merge_method: ties\nbase_model: b\nmodels:\n  - model: b\n    parameters: {weight: 0.3}\n  - model: a\n    parameters: {weight: "
      "1}\n");
  EXPECT_FALSE(r.diagnostics.has_errors());
  EXPECT_TRUE(r.says("r.yml:5:18: notice: `weight` has no effect here: `b` is the base model, which `ties` does not merge as an input"))
      << r.text();
  EXPECT_EQ(r.recipe.unused.size(), 1u);
  EXPECT_TRUE(r.recipe.models[0].parameters.empty());
}

TEST(RecipeCheck, RepeatedModels) {
  const Read r = read("merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: a}, {model: a}]\n");
  EXPECT_FALSE(r.diagnostics.has_errors());
  EXPECT_TRUE(r.says("notice: `a` stands more than once in `models`; each counts as an input")) << r.text();
  EXPECT_EQ(r.diagnostics.items().size(), 1u);
  EXPECT_EQ(r.recipe.models.size(), 3u);
}

TEST(RecipeCheck, ReferencedModels) {
  const Read r = read(
      "merge_method: slerp\nbase_model: b\nparameters: {t: 0}\nslices:\n"
      "  - sources: [{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}]\n"
      "  - base_model: c\n    sources: [{model: a, layer_range: [0, 1]}, {model: c, layer_range: [0, 1]}]\n");
  ASSERT_TRUE(r.is_clean()) << r.text();
  std::string names;
  for (const ModelRef& m : r.recipe.referenced_models()) names += m.text() + " ";
  EXPECT_EQ(names, "b a c ");
}

}  // namespace
}  // namespace crucible
