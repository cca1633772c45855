// Parameters: forms of a value, names, levels, and what is done with parameters that have no effect.
#include <gtest/gtest.h>

#include "recipe_test_util.h"

namespace crucible {
namespace {

using namespace recipe_test;

Read density(const std::string& value) { return read(della_with("parameters:\n  density: " + value + "\n")); }

const Setting& setting(const Read& r, const std::string& name) {
  for (const Setting& s : r.recipe.parameters) {
    if (s.name == name) return s;
  }
  throw std::runtime_error("no setting " + name);
}

TEST(RecipeSettings, Forms) {
  for (const char* scalar : {"0.5", "\"0.5\"", "+.5", "5e-1", "[0.5]", "{value: 0.5}", "[{value: 0.5}]", "{value: [0.5], filter: null}",
                             "[{value: 0.5, filter: '*'}]"}) {
    const Read r = density(scalar);
    ASSERT_TRUE(r.is_clean()) << scalar << r.text();
    const Setting& s = setting(r, "density");
    ASSERT_EQ(s.conditions.size(), 1u) << scalar;
    EXPECT_FALSE(s.conditions[0].value.is_gradient) << scalar;
    EXPECT_EQ(s.conditions[0].value.values, std::vector<Value>{0.5}) << scalar;
  }
  const Read gradient = density("[0, 0.5, true, \"0.25\"]");
  ASSERT_TRUE(gradient.is_clean()) << gradient.text();
  EXPECT_TRUE(setting(gradient, "density").conditions[0].value.is_gradient);
  EXPECT_EQ(setting(gradient, "density").conditions[0].value.values, (std::vector<Value>{0.0, 0.5, 1.0, 0.25}));
}

TEST(RecipeSettings, Conditions) {
  const Read r = density("\n    - {filter: mlp, value: [0.1, 0.2]}\n    - filter: self_attn\n      value: 0.3\n    - value: 0.4");
  ASSERT_TRUE(r.is_clean()) << r.text();
  const auto& conditions = setting(r, "density").conditions;
  ASSERT_EQ(conditions.size(), 3u);
  EXPECT_EQ(conditions[0].filter, "mlp");
  EXPECT_TRUE(conditions[0].value.is_gradient);
  EXPECT_EQ(conditions[1].filter_place, (Place{"r.yml", 9, 15}));
  EXPECT_EQ(conditions[1].value.place, (Place{"r.yml", 10, 14}));
  EXPECT_EQ(conditions[2].filter, "");
}

TEST(RecipeSettings, WrongValues) {
  EXPECT_TRUE(density("1.3").says("r.yml:7:12: error: `density` is 1.3, allowed is a number in [0, 1]"));
  EXPECT_TRUE(density("[0.1, 7]").says("r.yml:7:18: error: `density` is 7, allowed is a number in [0, 1]"));
  EXPECT_TRUE(density("high").says("`density` is `high`, allowed is a number in [0, 1]"));
  EXPECT_TRUE(density(".nan").says("it must be finite"));
  EXPECT_TRUE(density("[]").says("`density` is an empty list, which has no value"));
  EXPECT_TRUE(density("").says("`density` has no value"));
  EXPECT_TRUE(density("[0.1, [0.2]]").says("`density` has a list inside a list"));
  EXPECT_TRUE(density("[0.1, ~]").says("`density` has no value"));
  EXPECT_TRUE(density("[0.1, {value: 1}]").says("`density` mixes conditions with a number"));
  EXPECT_TRUE(density("{filter: mlp}").says("`value` is missing in a condition of `density`"));
  EXPECT_TRUE(density("{value: {value: 1}}").says("`density` has a condition inside a condition"));
  EXPECT_TRUE(density("{value: [{value: 1}]}").says("`density` has a mapping inside a list"));
  EXPECT_TRUE(density("[{value: 1, filter: [a, b]}]").says("`filter` must be one text, not a list"));
  EXPECT_TRUE(density("[{valeu: 1}]").says("did you mean `value`?"));
  EXPECT_TRUE(read(della_with("parameters: {normalize: 0.5}\n")).says("`normalize` is 0.5, allowed is true or false"));
  EXPECT_TRUE(read(della_with("parameters: {normalize: [0, 1]}\n")).says("`normalize` cannot change over the layers"));
  EXPECT_TRUE(read(della_with("parameters: {normalize: [true]}\n")).is_clean());
}

TEST(RecipeSettings, FlagsAsPeopleWriteThem) {
  for (const char* text : {"true", "True", "yes", "on", "1", "1.0"}) {
    const Read r = read(della_with("parameters: {normalize: " + std::string(text) + "}\n"));
    ASSERT_TRUE(r.is_clean()) << r.text();
    EXPECT_EQ(setting(r, "normalize").conditions[0].value.values, std::vector<Value>{true}) << text;
  }
}

TEST(RecipeSettings, NumbersAsPeopleWriteThem) {
  const Read r = read("merge_method: linear\nmodels:\n  - model: a\n    parameters: {weight: 1e-10}\n");
  ASSERT_TRUE(r.is_clean()) << r.text();
  EXPECT_EQ(r.recipe.models[0].parameters[0].conditions[0].value.values, std::vector<Value>{1e-10});
}

TEST(RecipeSettings, UnusedParameters) {
  const std::string text =
      "merge_method: slerp\nbase_model: b\nmodels:\n  - model: a\n    parameters:\n      weight: 0.5\nparameters:\n  t: 0.5\n  lambda: 1\n";
  const Read strict = read(text);
  EXPECT_EQ(strict.diagnostics.error_count(), 2) << strict.text();
  EXPECT_TRUE(
      strict.says("r.yml:6:7: error: `weight` is not used by the method `slerp`: `slerp` has t\n"
                  "        weight: 0.5\n"
                  "        ^\n"
                  "  hint: remove it, or pass --allow-unused\n"))
      << strict.text();
  const Read lenient = read_lenient(text);
  EXPECT_FALSE(lenient.diagnostics.has_errors()) << lenient.text();
  EXPECT_TRUE(lenient.says("r.yml:6:7: notice: `weight` is not used by the method `slerp`, so it has no effect")) << lenient.text();
  for (const Read* r : {&strict, &lenient}) {
    ASSERT_EQ(r->recipe.unused.size(), 2u);
    EXPECT_EQ(r->recipe.unused[0].name, "weight");
    EXPECT_EQ(r->recipe.unused[1].name, "lambda");
    EXPECT_EQ(r->recipe.unused[1].place, (Place{"r.yml", 9, 3}));
  }
  EXPECT_TRUE(lenient.recipe.models[0].parameters.empty());
  EXPECT_EQ(lenient.recipe.parameters.size(), 1u);
}

TEST(RecipeSettings, ParametersOfEveryMergekitMethodAreKnown) {
  for (const char* name : {"weight",
                           "density",
                           "epsilon",
                           "gamma",
                           "lambda",
                           "rescale",
                           "t",
                           "scale",
                           "select_topk",
                           "filter_wise",
                           "nuslerp_row_wise",
                           "nuslerp_flatten",
                           "normalize_weights",
                           "eps",
                           "max_iter",
                           "tol",
                           "r",
                           "alpha",
                           "int8_mask",
                           "normalize"}) {
    const Read r = read("merge_method: passthrough\nmodels: [{model: a}]\nparameters: {" + std::string(name) + ": 1}\n");
    const bool is_used = std::string(name) == "scale";
    EXPECT_EQ(r.says("is not used by the method `passthrough`"), !is_used) << name << r.text();
    EXPECT_EQ(r.recipe.unused.size(), is_used ? 0u : 1u) << name;
  }
}

TEST(RecipeSettings, UnknownParameters) {
  const Read r = read(della_with("parameters: {densty: 0.5, drop_rate: 0.2, frobnicate: 1}\n"));
  EXPECT_TRUE(r.says("r.yml:6:14: error: unknown parameter `densty`: `della` has ")) << r.text();
  EXPECT_TRUE(r.says("did you mean `density`?")) << r.text();
  EXPECT_TRUE(r.says("did you mean `density`? It is one minus the drop rate")) << r.text();
  EXPECT_TRUE(r.says("unknown parameter `frobnicate`")) << r.text();
  EXPECT_TRUE(read_lenient(della_with("parameters: {frobnicate: 1}\n")).diagnostics.has_errors());
}

TEST(RecipeSettings, GlobalParameterUnderAModel) {
  const std::string text = "merge_method: della\nbase_model: b\nmodels:\n  - model: a\n    parameters: {weight: 1, lambda: 0.5}\n";
  EXPECT_TRUE(read(text).says("r.yml:5:29: error: `lambda` applies to the whole merge, not to one model")) << read(text).text();
  EXPECT_TRUE(read(text).says("hint: move it to the top-level `parameters`"));
  const Read lenient = read_lenient(text);
  EXPECT_FALSE(lenient.diagnostics.has_errors());
  EXPECT_EQ(lenient.recipe.unused.size(), 1u);
  EXPECT_EQ(lenient.recipe.models[0].parameters.size(), 1u);
}

TEST(RecipeSettings, Int8MaskIsGradedLikeEveryUnusedParameter) {
  const std::string text = della_with("parameters: {int8_mask: true}\n");
  EXPECT_EQ(read(text).diagnostics.error_count(), 1) << read(text).text();
  const Read lenient = read_lenient(text);
  EXPECT_FALSE(lenient.diagnostics.has_errors()) << lenient.text();
  EXPECT_EQ(lenient.recipe.unused.size(), 1u);
}

TEST(RecipeSettings, FiltersThatLookLikePatternsAndConditionsNeverReached) {
  EXPECT_TRUE(density("[{filter: 'mlp.*', value: 1}]").says("notice: the filter `mlp.*` is searched in tensor names as it stands"));
  const Read r = density("[{value: 1}, {filter: mlp, value: 0.5}, {value: 0.2}]");
  EXPECT_TRUE(r.says("notice: this condition of `density` is never reached: the one at line 7 matches every tensor")) << r.text();
  EXPECT_EQ(r.diagnostics.items().size(), 1u);
}

}  // namespace
}  // namespace crucible
