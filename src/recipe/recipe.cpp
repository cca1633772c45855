#include "recipe/recipe.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/text_util.h"
#include "io/file.h"
#include "methods/method.h"
#include "recipe/check.h"
#include "recipe/context.h"
#include "recipe/keys.h"
#include "recipe/settings.h"
#include "recipe/structure.h"
#include "text/lines.h"
#include "text/yaml.h"

namespace crucible {
namespace {

// All names that a `merge_method` may have meant.
std::vector<std::string> method_names() {
  std::set<std::string> names(mergekit_method_names().begin(), mergekit_method_names().end());
  for (const Method* m : all_methods()) names.insert(std::string(m->name));
  return {names.begin(), names.end()};
}

std::string available_methods() {
  std::vector<std::string> names;
  for (const Method* m : all_methods()) names.emplace_back(m->name);
  return "methods: " + join_names(names, 64);
}

// Sets the method of the recipe; a misspelled one is reported, and its likely meaning serves to check the rest.
void bind_method(const Node& document, Recipe& recipe, BindContext& context) {
  const Node* node = find_value(document, "merge_method");
  recipe.method_place = node != nullptr ? node->place : document.place;
  if (node == nullptr) {
    if (!context.was_meant("merge_method")) context.diagnostics.error(document.place, "`merge_method` is missing", available_methods());
    return;
  }
  if (!node->is_scalar()) {
    context.diagnostics.error(node->place, fmt::format("`merge_method` must be the name of a method, not {}", describe(*node)),
                              available_methods());
    return;
  }
  recipe.method_name = node->text;
  recipe.method = find_method(node->text);
  if (recipe.method != nullptr) return;
  const std::string shown = printable(node->text, 60);
  const auto& theirs = mergekit_method_names();
  if (std::find(theirs.begin(), theirs.end(), node->text) != theirs.end()) {
    context.diagnostics.error(node->place, fmt::format("not supported yet: the merge method `{}`", shown), available_methods());
    return;
  }
  const auto near = nearest_name(node->text, method_names());
  const std::string guess = near ? fmt::format("did you mean `{}`? ", *near) : "";
  context.diagnostics.error(node->place, fmt::format("unknown merge method `{}`", shown), guess + available_methods());
  if (near) recipe.method = find_method(*near);
}

// A dtype that merges can be computed and stored in.
std::optional<DType> bind_dtype(const Node& document, std::string_view key, BindContext& context) {
  const Node* node = find_value(document, key);
  if (node == nullptr) return std::nullopt;
  static const std::vector<std::string> names = {"bfloat16", "float16", "float32", "float64"};
  const std::string allowed = fmt::format("allowed are {}", join_names(names));
  if (!node->is_scalar()) {
    context.diagnostics.error(node->place, fmt::format("`{}` must be the name of a dtype, not {}; {}", key, describe(*node), allowed));
    return std::nullopt;
  }
  const std::string_view text = node->text;
  const auto dtype = find_torch_dtype(text);
  if (dtype && facts(*dtype).mergeable) return dtype;
  const std::string_view bare = text.starts_with("torch.") ? text.substr(6) : text;
  std::string hint;
  for (const auto& [alias, name] : {std::pair("bf16", 0u),
                                    {"BF16", 0u},
                                    {"fp16", 1u},
                                    {"f16", 1u},
                                    {"half", 1u},
                                    {"FP16", 1u},
                                    {"fp32", 2u},
                                    {"f32", 2u},
                                    {"float", 2u},
                                    {"FP32", 2u},
                                    {"fp64", 3u},
                                    {"f64", 3u},
                                    {"double", 3u}}) {
    if (bare == alias) hint = fmt::format("did you mean `{}`?", names[name]);
  }
  if (dtype && hint.empty()) {
    hint = fmt::format("weights are never averaged as {}", facts(*dtype).torch_name);
  } else if (hint.empty()) {
    if (const auto near = nearest_name(bare, names)) hint = fmt::format("did you mean `{}`?", *near);
  }
  context.diagnostics.error(node->place, fmt::format("`{}` is `{}`, {}", key, printable(text, 40), allowed), hint);
  return std::nullopt;
}

// Exactly one of `models`, `slices` and `modules` says what is merged; an empty list counts as absent.
void bind_what(const Node& document, Recipe& recipe, BindContext& context) {
  std::vector<const Node*> given;
  std::vector<std::string> given_names;
  const bool meant_any = context.was_meant("models") || context.was_meant("slices") || context.was_meant("modules");
  for (const std::string_view key : {"models", "slices", "modules"}) {
    const Node* node = find_value(document, key);
    const bool is_empty = node == nullptr || (node->is_sequence() && node->items.empty()) || (node->is_map() && node->entries.empty());
    if (is_empty) continue;
    given.push_back(node);
    given_names.push_back(fmt::format("`{}`", key));
    if (key == "models") recipe.models = bind_models(*node, context);
    if (key == "slices") recipe.slices = bind_slices(*node, context);
    if (key == "modules") recipe.modules = bind_modules(*node, context);
  }
  if (given.empty() && !meant_any) {
    context.diagnostics.error(document.place, "nothing to merge: one of `models`, `slices` and `modules` is needed",
                              "write `models:` with a list of models");
  } else if (given.size() > 1) {
    context.diagnostics.error(given[1]->place,
                              fmt::format("{} are given, allowed is one of `models`, `slices` and `modules`", join_names(given_names)));
  }
}

Recipe bind_document(const Node& document, const ReadOptions& options, Diagnostics& diagnostics) {
  Recipe recipe;
  BindContext context{.options = options, .diagnostics = diagnostics, .unused = &recipe.unused};
  if (!document.is_map()) {
    diagnostics.error(document.place, fmt::format("a recipe is a mapping with `merge_method` and `models`, not {}", describe(document)),
                      document.is_scalar() ? "write every key as `key: value`, with a space after the colon" : "");
    return recipe;
  }
  check_keys(document, KeyLevel::kDocument, context);
  if (find_value(document, "tokenizer") != nullptr && find_value(document, "tokenizer_source") != nullptr) {
    diagnostics.error(document.find("tokenizer_source")->place, "`tokenizer` and `tokenizer_source` are given, allowed is one of them");
  }
  if (const Node* name = find_value(document, "name"); name != nullptr && name->is_scalar()) {
    recipe.name = name->text;
    recipe.name_place = name->place;
  }
  const std::vector<std::string> meant = context.meant;
  bind_method(document, recipe, context);
  context.method = recipe.method;
  recipe.dtype = bind_dtype(document, "dtype", context);
  recipe.out_dtype = bind_dtype(document, "out_dtype", context);
  if (const Node* base = find_value(document, "base_model")) recipe.base_model = bind_reference(*base, context);
  recipe.parameters = bind_settings(document, Origin::Level::kGlobal, context);
  if (find_value(document, "base_model") != nullptr && !recipe.base_model) context.base_is_doubtful = true;
  context.meant = meant;
  bind_what(document, recipe, context);
  // Without the base nobody knows which models are inputs; more would only repeat what was said.
  if (recipe.method != nullptr && !context.base_is_doubtful) check_recipe(recipe, context);
  std::stable_sort(recipe.unused.begin(), recipe.unused.end(), [](const UnusedParameter& a, const UnusedParameter& b) {
    return std::tuple(a.place.line, a.place.column) < std::tuple(b.place.line, b.place.column);
  });
  return recipe;
}

// Every problem once, in file order, with its line.
void hand_over(const Diagnostics& found, std::string_view text, Diagnostics& out) {
  constexpr std::size_t kMostShown = 200;
  const LineIndex lines(without_byte_order_mark(text));
  std::vector<Diagnostic> items = found.items();
  const auto order = [](const Diagnostic& d) { return std::tuple(d.place.line == 0, d.place.line, d.place.column); };
  std::stable_sort(items.begin(), items.end(), [&](const Diagnostic& a, const Diagnostic& b) { return order(a) < order(b); });
  std::set<std::tuple<int, int, std::string>> told;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Diagnostic& d = items[i];
    if (!told.emplace(d.place.line, d.place.column, d.message).second) continue;
    if (told.size() > kMostShown) {
      const bool has_error = std::any_of(items.begin() + static_cast<std::ptrdiff_t>(i), items.end(),
                                         [](const Diagnostic& rest) { return rest.severity == Severity::kError; });
      out.add({has_error ? Severity::kError : Severity::kNotice,
               {d.place.file, 0, 0},
               fmt::format("and {} more problems", items.size() - i),
               {},
               {}});
      return;
    }
    if (d.source_line.empty() && d.place.line > 0) d.source_line = lines.line_shown(d.place);
    out.add(std::move(d));
  }
}

Recipe bind_documents(const std::vector<Node>& all, const std::string& file, const ReadOptions& options, Diagnostics& found) {
  // "---" at the end opens a document with nothing in it.
  std::vector<const Node*> documents;
  for (const Node& node : all) {
    if (!node.is_null()) documents.push_back(&node);
  }
  if (documents.empty()) {
    if (!found.has_errors())
      found.error({file, 0, 0}, "the recipe is empty", "write `merge_method: ...` and `models:` with a list of models");
    return {};
  }
  ReadOptions each = options;
  if (documents.size() > 1) each.count = RecipeCount::kSeveral;
  Recipe first = bind_document(*documents[0], each, found);
  for (std::size_t i = 1; i < documents.size(); ++i) bind_document(*documents[i], each, found);
  if (documents.size() > 1) {
    found.error(documents[1]->place, "the file holds several merges; one is wanted here",
                "`crucible multi` runs files with several merges");
  }
  return first;
}

}  // namespace

std::vector<ModelRef> Recipe::referenced_models() const {
  std::vector<ModelRef> out;
  std::set<std::string> seen;
  const auto add = [&](const ModelRef& model) {
    if (seen.insert(model.text()).second) out.push_back(model);
  };
  const auto add_slices = [&](const std::vector<OutputSlice>& list) {
    for (const OutputSlice& slice : list) {
      if (slice.base_model) add(*slice.base_model);
      for (const SliceSource& source : slice.sources) add(source.model);
    }
  };
  if (base_model) add(*base_model);
  for (const RecipeModel& m : models) add(m.model);
  add_slices(slices);
  for (const OutputModule& module : modules) {
    for (const RecipeModel& m : module.models) add(m.model);
    add_slices(module.slices);
  }
  return out;
}

Recipe parse_recipe(std::string_view text, const std::string& file, const ReadOptions& options, Diagnostics& diagnostics) {
  Diagnostics found;
  YamlLimits limits;
  limits.nodes = 1u << 18;
  const std::vector<Node> documents = parse_yaml(text, file, found, limits);
  Recipe recipe;
  if (!documents.empty() || !found.has_errors()) recipe = bind_documents(documents, file, options, found);
  recipe.file = file;
  recipe.text = text;
  recipe.paths = options.paths;
  hand_over(found, text, diagnostics);
  return recipe;
}

Recipe open_recipe(const std::string& path, const ReadOptions& options, Diagnostics& diagnostics) {
  std::string text;
  try {
    text = read_small_file(path, static_cast<std::int64_t>(YamlLimits{}.bytes));
  } catch (const Error& e) {
    diagnostics.error({path, 0, 0}, fmt::format("the recipe cannot be read: {}", e.what()));
    Recipe recipe;
    recipe.file = path;
    return recipe;
  }
  return parse_recipe(text, path, options, diagnostics);
}

}  // namespace crucible
