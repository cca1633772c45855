// Keys, levels, types and texts of recipes: what is refused, where, and with which advice.
#include <gtest/gtest.h>

#include "recipe_test_util.h"

namespace crucible {
namespace {

using namespace recipe_test;

TEST(RecipeKeys, FoundingRecipe) {
  const Read r = read(founding());
  ASSERT_TRUE(r.is_clean()) << r.text();
  EXPECT_EQ(r.recipe.method_name, "della");
  ASSERT_EQ(r.recipe.models.size(), 2u);
  EXPECT_EQ(r.recipe.models[0].model.text(), "./model_a");
  EXPECT_EQ(r.recipe.base_model.value().text(), "microsoft/phi-2");
  EXPECT_EQ(r.recipe.dtype, DType::kF16);
  EXPECT_EQ(r.recipe.out_dtype, std::nullopt);
  EXPECT_EQ(r.recipe.parameters.size(), 3u);
  EXPECT_EQ(r.recipe.text, founding());
  EXPECT_TRUE(r.recipe.unused.empty());
}

TEST(RecipeKeys, AllProblemsAtOnceWithCarets) {
  const Read r = read(
      "# rezept für ü\nmodels:\n  - model: \"日本\"\n    parameters: {weight: 1, density: 1.3}\n  - modle: b\nmerge_method: dare-ties\n"
      "base_model: x\nmerge_method: ties\ndtype: bf16\n");
  const std::string text = r.text();
  EXPECT_TRUE(
      r.says("r.yml:4:38: error: `density` is 1.3, allowed is a number in [0, 1]\n"
             "      parameters: {weight: 1, density: 1.3}\n"
             "                                       ^\n"))
      << text;
  EXPECT_TRUE(
      r.says("r.yml:5:5: error: unknown key `modle` in an entry of `models`: allowed are model and parameters\n"
             "    - modle: b\n"
             "      ^\n"
             "  hint: did you mean `model`?\n"))
      << text;
  EXPECT_TRUE(
      r.says("r.yml:6:15: error: unknown merge method `dare-ties`\n  merge_method: dare-ties\n                ^\n  hint: did you mean "
             "`dare_ties`? methods: "))
      << text;
  EXPECT_TRUE(r.says("r.yml:8:1: error: duplicate key `merge_method`, first given at 6:1\n")) << text;
  EXPECT_TRUE(
      r.says("r.yml:9:8: error: `dtype` is `bf16`, allowed are bfloat16, float16, float32 and float64\n"
             "  dtype: bf16\n"
             "         ^\n"
             "  hint: did you mean `bfloat16`?\n"))
      << text;
  EXPECT_EQ(r.diagnostics.error_count(), 5) << text;
}

TEST(RecipeKeys, CaretUnderCharactersNotBytes) {
  const Read r = read("merge_method: linear\nmodels: [{model: \"ключ日本\", weigth: 1}]\n");
  EXPECT_TRUE(r.says("r.yml:2:28: error: unknown key `weigth`")) << r.text();
  EXPECT_TRUE(r.says("\n  models: [{model: \"ключ日本\", weigth: 1}]\n                             ^\n")) << r.text();
  EXPECT_TRUE(r.says("did you mean `weight`? It belongs under `parameters:`")) << r.text();
}

TEST(RecipeKeys, MisspelledKeysAreNotReportedAsMissingToo) {
  const Read r = read("modles:\n  - model: a\nmerge_methd: linear\n");
  EXPECT_EQ(r.diagnostics.error_count(), 2) << r.text();
  EXPECT_TRUE(r.says("did you mean `models`?"));
  EXPECT_TRUE(r.says("did you mean `merge_method`?"));
  const Read weight = read("models:\n  - model: a\n    weight: 1\nmerge_method: linear\n");
  EXPECT_EQ(weight.diagnostics.error_count(), 1) << weight.text();
  EXPECT_TRUE(weight.says("the parameter `weight` stands outside of `parameters:`"));
  EXPECT_TRUE(weight.says("write `parameters: {weight: ...}`"));
}

TEST(RecipeKeys, UnknownKeysAreErrorsInLenientReadingToo) {
  const Read r = read_lenient(della_with("dype: float16\nname: x\n"));
  EXPECT_EQ(r.diagnostics.error_count(), 1) << r.text();
  EXPECT_TRUE(r.says("r.yml:6:1: error: unknown key `dype` at the top level")) << r.text();
  // `name` is a key of mergekit's, without effect in a file of one merge.
  EXPECT_TRUE(r.says("r.yml:7:1: notice: `name` belongs to files with several merges")) << r.text();
  ASSERT_EQ(r.recipe.unused.size(), 1u);
  // Mistakes of structure stay errors.
  EXPECT_TRUE(read_lenient(della_with("dtype: [float16]\n")).diagnostics.has_errors());
  EXPECT_TRUE(read_lenient(della_with("dtype: float16\ndtype: float32\n")).diagnostics.has_errors());
}

TEST(RecipeKeys, WrongLevel) {
  EXPECT_TRUE(read(della_with("layer_range: [0, 1]\n"))
                  .says("`layer_range` does not belong at the top level: its place is in an entry of `sources`"));
  EXPECT_TRUE(read(della_with("density: 0.5\n")).says("r.yml:6:1: error: the parameter `density` stands outside of `parameters:`"));
  const Read r = read("merge_method: linear\nmodels:\n  - model: a\n    dtype: float16\n    parameters: {weight: 1}\n");
  EXPECT_TRUE(r.says("r.yml:4:5: error: `dtype` does not belong in an entry of `models`: its place is at the top level")) << r.text();
}

TEST(RecipeKeys, NeighbouringSpellings) {
  EXPECT_TRUE(read("merge_method: linear\nmodels:\n  - model: org/m\n    revision: v1\n    parameters: {weight: 1}\n")
                  .says("hint: write `model: org/m@v1`"));
  EXPECT_TRUE(read(della_with("parameters:\n  density: [{value: 0.5, pattern: mlp}]\n"))
                  .says("did you mean `filter`? It is a plain part of the tensor name"));
  EXPECT_TRUE(read("method: linear\nmodels: []\n").says("did you mean `merge_method`?"));
  EXPECT_TRUE(read("merge-method: linear\n").says("did you mean `merge_method`?"));
  EXPECT_TRUE(read("base: b\n").says("did you mean `base_model`?"));
  EXPECT_TRUE(read("output_dtype: float16\n").says("did you mean `out_dtype`?"));
  EXPECT_TRUE(read(della_with("dype: float16\n")).says("did you mean `dtype`?"));
  EXPECT_TRUE(read(della_with("name: m\n")).says("`name` belongs to files with several merges (crucible multi)"));
  EXPECT_TRUE(
      read("merge_method: linear\nmodels:\n  - model: a\n    weights: 1\n").says("did you mean `weight`? It belongs under `parameters:`"));
  EXPECT_TRUE(read(della_with("input_model_parameters: {}\n")).says("write them under `parameters` of each model"));
  EXPECT_TRUE(read("slices:\n  - sources:\n      - model: a\n        layers: [0, 1]\nmerge_method: passthrough\n")
                  .says("did you mean `layer_range: [begin, end]`?"));
  EXPECT_TRUE(read(della_with("\xC2\xA0"
                              "dtype: float16\n"))
                  .says("the key holds a blank that is no plain space"));
}

TEST(RecipeKeys, Types) {
  EXPECT_TRUE(read("just text\n").says("a recipe is a mapping with `merge_method` and `models`, not a text"));
  EXPECT_TRUE(read("- a\n- b\n").says("a recipe is a mapping with `merge_method` and `models`, not a list"));
  EXPECT_TRUE(read("merge_method: linear\nmodels:\n  - a\n").says("r.yml:3:5: error: an entry of `models` must be a mapping, not a text"));
  EXPECT_TRUE(read("merge_method: linear\nmodels:\n  - a\n").says("hint: write `- model: a`"));
  EXPECT_TRUE(read("merge_method: linear\nmodels: {a: {}}\n").says("`models` must be a list, not a mapping"));
  EXPECT_TRUE(read("merge_method: [a]\nmodels: []\n").says("`merge_method` must be the name of a method, not a list"));
  EXPECT_TRUE(read(della_with("parameters: 5\n")).says("`parameters` must be a mapping of names to values, not a number"));
  EXPECT_TRUE(read(della_with("parameters:\n  - density: 1\n")).says("write the names without `- `"));
  EXPECT_TRUE(read("merge_method: linear\nmodels:\n  - parameters: {weight: 1}\n").says("`model` is missing in this entry"));
  EXPECT_TRUE(read(della_with("dtype: 16\n")).says("`dtype` is `16`, allowed are"));
  EXPECT_TRUE(read("merge_method: linear\nmodules: [a]\n").says("`modules` must be a mapping of names to modules, not a list"));
}

TEST(RecipeKeys, Dtypes) {
  for (const char* name : {"bfloat16", "float16", "float32", "float64", "torch.bfloat16", "'float16'"}) {
    EXPECT_TRUE(read(della_with("out_dtype: " + std::string(name) + "\n")).is_clean()) << name;
  }
  EXPECT_TRUE(read(della_with("dtype: fp16\n")).says("did you mean `float16`?"));
  EXPECT_TRUE(read(della_with("dtype: half\n")).says("did you mean `float16`?"));
  EXPECT_TRUE(read(della_with("dtype: bfloat\n")).says("did you mean `bfloat16`?"));
  EXPECT_TRUE(read(della_with("out_dtype: int64\n")).says("weights are never averaged as int64"));
}

TEST(RecipeKeys, Methods) {
  EXPECT_TRUE(read("models: [{model: a}]\n").says("`merge_method` is missing"));
  EXPECT_TRUE(read("models: [{model: a}]\n").says("hint: methods: "));
  EXPECT_TRUE(read("models: [{model: a}]\nmerge_method: frobnicate\n").says("unknown merge method `frobnicate`"));
  // A misspelled method still serves to check the parameters.
  const Read r = read("models:\n  - model: a\n    parameters: {weight: 1, t: 3}\nmerge_method: Linear\n");
  EXPECT_TRUE(r.says("did you mean `linear`?")) << r.text();
  EXPECT_TRUE(r.says("`t` is not used by the method `linear`")) << r.text();
}

TEST(RecipeKeys, NullsAndDefaultsOfMergekitsWriter) {
  const Read r = read(
      "merge_method: linear\nmodels:\n- model:\n    model: {path: a, revision: null}\n    lora: null\n    override_architecture: null\n"
      "  parameters: {weight: 1.0}\nslices: null\nmodules: null\nbase_model: null\ndtype: null\nout_dtype: null\nparameters: null\n"
      "tokenizer_source: null\ntokenizer: null\nchat_template: null\nname: null\n");
  EXPECT_TRUE(r.is_clean()) << r.text();
  const Read slices = read(
      "merge_method: passthrough\nmodels: []\nslices:\n- sources:\n  - {model: a, layer_range: [0, 2], parameters: null}\n"
      "  base_model: null\n  residual_weight: null\n  parameters: null\n");
  EXPECT_TRUE(slices.is_clean()) << slices.text();
}

TEST(RecipeKeys, LaterWorkIsRefusedInOneLineEach) {
  const Read r = read(della_with("tokenizer_source: union\nchat_template: chatml\n"));
  EXPECT_EQ(r.diagnostics.error_count(), 2) << r.text();
  EXPECT_TRUE(r.says("r.yml:6:1: error: not supported yet: building a tokenizer (`tokenizer_source`)"));
  EXPECT_TRUE(r.says("r.yml:7:1: error: not supported yet: setting a chat template (`chat_template`)"));
  EXPECT_TRUE(read(della_with("tokenizer: {source: union, pad_to_multiple_of: 8}\n"))
                  .says("not supported yet: building a tokenizer (`tokenizer`)"));
  EXPECT_TRUE(read(della_with("tokenizer: {sorce: union}\n")).says("did you mean `source`?"));
  EXPECT_TRUE(read(della_with("tokenizer: {pad_to_multiple_of: x}\n")).says("`pad_to_multiple_of` must be an integer > 0"));
  EXPECT_TRUE(read(della_with("tokenizer: union\n")).says("`tokenizer` must be a mapping, not a text"));
  EXPECT_TRUE(read(della_with("tokenizer: {source: base}\ntokenizer_source: base\n")).says("`tokenizer` and `tokenizer_source` are given"));
  EXPECT_TRUE(
      read("merge_method: linear\nmodels: [{model: a+l, parameters: {weight: 1}}]\n").says("not supported yet: LoRA adapters (`a+l`)"));
  EXPECT_TRUE(read(founding() + "---\n" + founding()).says("r.yml:16:1: error: the file holds several merges; one is wanted here"));
  EXPECT_TRUE(read("merge_method: linear\nmodels: [{model: {model: a, override_architecture: X}, parameters: {weight: 1}}]\n")
                  .says("not supported yet: `override_architecture`"));
}

TEST(RecipeKeys, BaseTokenizerIsWhatHappensAnyhow) {
  for (const char* line :
       {"tokenizer_source: base\n", "tokenizer: {source: base}\n", "tokenizer: {source: base, tokens: {}, pad_to_multiple_of: null}\n"}) {
    const Read r = read(della_with(line));
    EXPECT_FALSE(r.diagnostics.has_errors()) << r.text();
    EXPECT_TRUE(r.says("notice: the tokenizer of the base model (or of the first model) is copied")) << r.text();
  }
}

TEST(RecipeKeys, EmptyFiles) {
  EXPECT_TRUE(read("").says("r.yml: error: the recipe is empty"));
  EXPECT_TRUE(read("# only a comment\n---\n---\n").says("the recipe is empty"));
  EXPECT_TRUE(read("{}\n").says("`merge_method` is missing"));
}

TEST(RecipeKeys, TerminalsAreSafe) {
  const Read r = read("merge_method: \"\\e[31m\"\n\"\\e[2Jx\": 1\nmodels: [{model: \"a\\e\"}]\n");
  EXPECT_EQ(r.text().find('\x1b'), std::string::npos);
  EXPECT_TRUE(read("a: \x1b[31m\n").text().find('\x1b') == std::string::npos);
}

TEST(RecipeKeys, ManyProblemsAreCut) {
  std::string text = "merge_method: linear\nmodels:\n";
  for (int i = 0; i < 1000; ++i) text += "  - model: a\n    bad_key_of_mine: 1\n";
  const Read r = read(text);
  EXPECT_LE(r.diagnostics.items().size(), 201u);
  EXPECT_TRUE(r.says("more problems"));
  // Notices alone do not become an error by being many.
  std::string graded = "merge_method: linear\nmodels:\n";
  for (int i = 0; i < 1000; ++i) graded += "  - model: a\n    parameters: {density: 1}\n";
  const Read notices = read_lenient(graded + "parameters: {weight: 1}\n");
  EXPECT_TRUE(notices.says("more problems"));
  EXPECT_FALSE(notices.diagnostics.has_errors()) << notices.text();
}

}  // namespace
}  // namespace crucible
