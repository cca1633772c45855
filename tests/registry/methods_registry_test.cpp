// What every method file must have, whoever writes it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "support/kernel_driver.h"
#include "text/yaml.h"

namespace crucible::test {
namespace {

namespace fs = std::filesystem;

class EveryMethod : public testing::TestWithParam<const Method*> {};

TEST(Methods, AreTheFilesOfTheirFolder) {
  std::set<std::string> files, names;
  for (const auto& entry : fs::directory_iterator(fs::path(CRUCIBLE_SOURCE_DIR) / "src/methods")) {
    if (entry.path().extension() == ".cpp") files.insert(entry.path().stem().string());
  }
  for (const Method* m : all_methods()) names.emplace(m->name);
  EXPECT_EQ(names, files);
  EXPECT_GE(names.size(), 11u);
}

TEST(Methods, AreSortedAndUnique) {
  const auto all = all_methods();
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_LT(all[i - 1]->name, all[i]->name);
  for (const Method* m : all) EXPECT_EQ(find_method(m->name), m);
  EXPECT_EQ(find_method("no_such_method"), nullptr);
}

TEST_P(EveryMethod, ExplainsItself) {
  const Method& m = *GetParam();
  EXPECT_FALSE(m.title.empty());
  EXPECT_GT(m.summary.size(), 20u);
  EXPECT_EQ(m.summary.back(), '.');
  EXPECT_FALSE(m.formula.empty());
  EXPECT_NE(m.formula.find("out = "), std::string_view::npos) << "the formula says what the output is";
  EXPECT_FALSE(m.deviations.empty());
  EXPECT_FALSE(m.examples.empty());
  EXPECT_FALSE(m.laws.empty());
  EXPECT_EQ(std::set<Law>(m.laws.begin(), m.laws.end()).size(), m.laws.size());
  EXPECT_LE(m.min_models, m.max_models);
  ASSERT_NE(m.make_kernel, nullptr);
}

TEST_P(EveryMethod, DeclaresItsParameters) {
  const Method& m = *GetParam();
  std::set<std::string> names;
  for (const FieldTable* table : {m.global, m.model}) {
    ASSERT_NE(table, nullptr);
    for (const Field& f : table->fields()) {
      EXPECT_TRUE(names.insert(f.name).second) << f.name << " is declared twice";
      EXPECT_GT(f.help.size(), 10u) << f.name;
      EXPECT_TRUE(any_method_has_parameter(f.name));
      // Counterfactual runs switch a parameter off: that needs a value that does nothing. A choice without one has no "off".
      EXPECT_TRUE(f.neutral_value || f.kind == FieldKind::kChoice) << f.name;
      if (f.kind == FieldKind::kChoice) {
        EXPECT_GE(f.choices.size(), 2u) << f.name;
        EXPECT_LT(std::get<int>(f.default_value), std::ssize(f.choices)) << f.name;
      }
      std::string why;
      const auto back = f.parse(f.value_text(f.default_value), false, why);
      EXPECT_TRUE(back && *back == f.default_value) << f.name << ": the default is not a value a recipe may write: " << why;
      EXPECT_TRUE(!f.neutral_value || f.parse(f.value_text(*f.neutral_value), false, why)) << f.name << ": neutral " << why;
    }
  }
}

// The parameters that a method declares and its kernel does not take.
std::vector<std::string> untaken(const Method& method, bool with_base, std::int64_t models, const Args& choices = {}) {
  MergeCase merge;
  merge.shape = {3, 4};
  Rng rng(1);
  if (with_base) merge.base = make_values(Values::kNormal, 12, rng);
  for (std::int64_t m = 0; m < models; ++m) merge.models.push_back(make_values(Values::kNormal, 12, rng));
  for (const Arg& a : choices) {
    if (method.global->find(a.name)) merge.global.push_back(a);
    if (method.model->find(a.name)) merge.model_args.assign(static_cast<std::size_t>(models), {a});
  }
  return run_kernel(method, merge).untaken;
}

TEST_P(EveryMethod, TakesEveryParameter) {
  const Method& m = *GetParam();
  std::vector<bool> bases = {m.base == BaseRule::kRequired};
  if (m.base == BaseRule::kOptional) bases = {false, true};
  for (const bool base : bases) {
    for (const std::int64_t models : {m.min_models, std::min(m.max_models, 1), std::min(m.max_models, 3)}) {
      // At the ends of their ranges too, where a kernel may think that it needs less.
      for (const Args& args :
           {Args{}, Args{{"density", 0}}, Args{{"density", 0.5}}, Args{{"density", 1}}, Args{{"rank_scope", "tensor"}}}) {
        EXPECT_EQ(untaken(m, base, models, args), std::vector<std::string>{}) << base << models;
      }
    }
  }
}

TEST(TakesEveryParameter, SeesOneThatIsNot) {
  class Idle final : public Kernel {
   public:
    void map(const Tile& tile, const TileInputs&, float* out, Measure&, Scratch&) noexcept override { std::fill_n(out, tile.count, 0.0f); }
  };
  Method forgetful = *find_method("passthrough");
  forgetful.model = find_method("della")->model;
  forgetful.make_kernel = [](const KernelSpec&) -> std::unique_ptr<Kernel> { return std::make_unique<Idle>(); };
  EXPECT_EQ(untaken(forgetful, false, 1), find_method("della")->model->names());
}

// All keys of the `parameters` mappings of a recipe, wherever they are.
void collect_parameters(const Node& node, std::set<std::string>& names) {
  for (const Node& item : node.items) collect_parameters(item, names);
  for (const Node::Entry& e : node.entries) {
    if (e.key == "parameters") {
      for (const Node::Entry& p : e.value.entries) names.insert(p.key);
    }
    collect_parameters(e.value, names);
  }
}

TEST_P(EveryMethod, ExamplesUseWhatItDeclares) {
  const Method& m = *GetParam();
  for (const MethodExample& example : m.examples) {
    EXPECT_FALSE(example.title.empty());
    Diagnostics diagnostics;
    const auto documents = parse_yaml(example.recipe, "example", diagnostics);
    ASSERT_FALSE(diagnostics.has_errors()) << render_diagnostics(diagnostics);
    ASSERT_EQ(documents.size(), 1u);
    const Node* method = documents[0].find("merge_method");
    ASSERT_NE(method, nullptr);
    EXPECT_EQ(method->text, m.name);
    EXPECT_EQ(documents[0].find("base_model") != nullptr, m.base == BaseRule::kRequired);
    std::set<std::string> used;
    collect_parameters(documents[0], used);
    for (const std::string& name : used) EXPECT_TRUE(m.global->find(name) || m.model->find(name)) << name;
    for (const FieldTable* table : {m.global, m.model}) {
      for (const Field& f : table->fields()) {
        EXPECT_TRUE(!f.is_required || used.contains(f.name)) << f.name << " is required";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethod, testing::ValuesIn(all_methods().begin(), all_methods().end()),
                         [](const auto& p) { return std::string(p.param->name); });

}  // namespace
}  // namespace crucible::test
