#include <gtest/gtest.h>

#include "recipe_test_util.h"

namespace crucible {
namespace {

using namespace recipe_test;

std::string canonical(const std::string& text) {
  const Read r = read_lenient(text);
  EXPECT_FALSE(r.diagnostics.has_errors()) << r.text();
  if (r.diagnostics.has_errors()) return "";
  const std::string once = canonical_text(r.recipe);
  const Read again = read(once);
  EXPECT_FALSE(again.diagnostics.has_errors()) << once << again.text();
  EXPECT_EQ(again.diagnostics.has_errors() ? "" : canonical_text(again.recipe), once);
  return once;
}

TEST(RecipeCanonical, FoundingRecipe) {
  EXPECT_EQ(canonical(founding()),
            "merge_method: della\n"
            "base_model: \"microsoft/phi-2\"\n"
            "dtype: float16\n"
            "parameters:\n"
            "  density: 0.8\n"
            "  epsilon: 0.3\n"
            "models:\n"
            "  - model: \"./model_a\"\n"
            "    parameters:\n"
            "      weight: 1\n"
            "  - model: \"./model_b\"\n"
            "    parameters:\n"
            "      weight: 1\n");
}

TEST(RecipeCanonical, DifferentTextsOfOneRecipe) {
  const std::string expected = canonical(founding());
  const std::string other =
      "dtype: torch.float16\n"
      "parameters: {normalize: yes, epsilon: \"0.3\", density: [{value: 8e-1}]}\n"
      "base_model: {model: {path: microsoft/phi-2}}\n"
      "models:\n"
      "- {model: ./model_a, parameters: &p {weight: 1}}\n"
      "- {model: ./model_b, parameters: *p}\n"
      "merge_method: \"della\"\n"
      "out_dtype:\n";
  EXPECT_EQ(canonical(other), expected);
}

TEST(RecipeCanonical, GradientsFiltersSlicesAndModules) {
  EXPECT_EQ(canonical("merge_method: slerp\nbase_model: a\nslices:\n- sources:\n  - {model: a, layer_range: [0, 4]}\n  - {model: b, "
                      "layer_range: ['4', 8.0]}\n"
                      "  parameters: {t: [{filter: \"self \\\"attn\\\"\", value: [0, 0.5]}, {filter: '*', value: 0.3}, {value: "
                      "1}]}\nout_dtype: float32\n"),
            "merge_method: slerp\n"
            "base_model: \"a\"\n"
            "out_dtype: float32\n"
            "slices:\n"
            "  - sources:\n"
            "      - model: \"a\"\n"
            "        layer_range: [0, 4]\n"
            "      - model: \"b\"\n"
            "        layer_range: [4, 8]\n"
            "    parameters:\n"
            "      t:\n"
            "        - filter: \"self \\\"attn\\\"\"\n"
            "          value: [0, 0.5]\n"
            "        - value: 0.3\n");
  EXPECT_EQ(canonical("merge_method: linear\nmodules:\n  text: {models: [{model: 'a'}], parameters: {weight: 1}}\n"),
            "merge_method: linear\n"
            "modules:\n"
            "  \"text\":\n"
            "    parameters:\n"
            "      weight: 1\n"
            "    models:\n"
            "      - model: \"a\"\n");
}

TEST(RecipeCanonical, DefaultsAreLeftOutOnlyWhereNothingIsBelow) {
  // normalize of della is true by default; in a slice it hides the value of the recipe, so it stays.
  const std::string text = canonical(
      "merge_method: della\nbase_model: b\nparameters: {normalize: false, lambda: 1, weight: 1}\nslices:\n"
      "- sources: [{model: b, layer_range: [0, 1]}, {model: a, layer_range: [0, 1]}]\n  parameters: {normalize: true}\n");
  EXPECT_NE(text.find("parameters:\n  normalize: false\n"), std::string::npos) << text;
  EXPECT_NE(text.find("      normalize: true\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("lambda"), std::string::npos) << text;
}

TEST(RecipeCanonical, StrangeNames) {
  const std::string text = canonical(
      "merge_method: linear\nparameters: {weight: 1}\nmodels:\n- model: 'C:\\models\\a \"b\"'\n- model: {model: {path: 'x+y@z', revision: "
      "r}}\n- model: 'null'\n- model: 日本@ü\n");
  EXPECT_NE(text.find("- model: \"C:\\\\models\\\\a \\\"b\\\"\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("- model: {model: {path: \"x+y@z\", revision: \"r\"}}\n"), std::string::npos) << text;
  EXPECT_NE(text.find("- model: \"null\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("- model: \"日本@ü\"\n"), std::string::npos) << text;
}

TEST(RecipeCanonical, WhatHasNoEffectIsLeftOut) {
  const std::string with = "merge_method: linear\nparameters: {t: 3, weight: 1}\nmodels: [{model: a}]\n";
  EXPECT_EQ(canonical(with), canonical("merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}]\n"));
}

}  // namespace
}  // namespace crucible
