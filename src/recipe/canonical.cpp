#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "methods/method.h"
#include "recipe/quote.h"
#include "recipe/recipe.h"
#include "recipe/settings.h"

namespace crucible {
namespace {

// Builds indented YAML. Every level is two blanks; an entry of a list starts with "- ".
class Writer {
 public:
  explicit Writer(const Method& method) : method_(method) {}

  std::string take() { return std::move(out_); }

  void line(int indent, std::string_view text) {
    out_.append(static_cast<std::size_t>(indent), ' ');
    out_ += text;
    out_ += '\n';
  }

  void settings(int indent, const Settings& settings, bool is_lowest_level);
  void models(int indent, const std::vector<RecipeModel>& models);
  void slices(int indent, const std::vector<OutputSlice>& slices);

 private:
  void setting(int indent, const Setting& setting, const Field& field);

  const Method& method_;
  std::string out_;
};

std::string model_text(const ModelRef& model) {
  const std::string text = model.text();
  return text.starts_with('{') ? text : yaml_quoted(text);
}

std::string value_text(const SettingValue& value, const Field& field) {
  if (!value.is_gradient) return field.value_text(value.values.front());
  std::vector<std::string> points;
  for (const Value& v : value.values) points.push_back(field.value_text(v));
  return fmt::format("[{}]", fmt::join(points, ", "));
}

bool matches_all(const Condition& condition) { return condition.filter.empty() || condition.filter == "*"; }

// At the lowest level a plain default is the same as nothing. A default that is only described is not a value, so it stays.
bool is_default(const Setting& setting, const Field& field) {
  if (field.is_required || !field.default_note.empty() || setting.conditions.empty()) return false;
  const Condition& first = setting.conditions.front();
  return matches_all(first) && !first.value.is_gradient &&
         field.value_text(first.value.values.front()) == field.value_text(field.default_value);
}

void Writer::setting(int indent, const Setting& setting, const Field& field) {
  if (matches_all(setting.conditions.front())) {
    line(indent, fmt::format("{}: {}", setting.name, value_text(setting.conditions.front().value, field)));
    return;
  }
  line(indent, setting.name + ":");
  for (const Condition& condition : setting.conditions) {
    const std::string value = "value: " + value_text(condition.value, field);
    if (matches_all(condition)) {
      line(indent + 2, "- " + value);
      return;  // the ones behind are never reached
    }
    line(indent + 2, "- filter: " + yaml_quoted(condition.filter));
    line(indent + 4, value);
  }
}

void Writer::settings(int indent, const Settings& settings, bool is_lowest_level) {
  std::vector<const Setting*> sorted;
  for (const Setting& s : settings) {
    if (s.conditions.empty()) continue;
    const Field* field = find_field(method_, s.name);
    CHECK(field != nullptr, "{} has no parameter {}", method_.name, s.name);
    if (!(is_lowest_level && is_default(s, *field))) sorted.push_back(&s);
  }
  if (sorted.empty()) return;
  std::sort(sorted.begin(), sorted.end(), [](const Setting* a, const Setting* b) { return a->name < b->name; });
  line(indent, "parameters:");
  for (const Setting* s : sorted) setting(indent + 2, *s, *find_field(method_, s->name));
}

void Writer::models(int indent, const std::vector<RecipeModel>& models) {
  if (models.empty()) return;
  line(indent, "models:");
  for (const RecipeModel& m : models) {
    line(indent + 2, "- model: " + model_text(m.model));
    settings(indent + 4, m.parameters, false);
  }
}

void Writer::slices(int indent, const std::vector<OutputSlice>& slices) {
  if (slices.empty()) return;
  line(indent, "slices:");
  for (const OutputSlice& slice : slices) {
    line(indent + 2, "- sources:");
    for (const SliceSource& source : slice.sources) {
      line(indent + 6, "- model: " + model_text(source.model));
      line(indent + 8, fmt::format("layer_range: [{}, {}]", source.layer_begin, source.layer_end));
      settings(indent + 8, source.parameters, false);
    }
    if (slice.base_model) line(indent + 4, "base_model: " + model_text(*slice.base_model));
    settings(indent + 4, slice.parameters, false);
  }
}

}  // namespace

std::string canonical_text(const Recipe& recipe) {
  CHECK(recipe.method != nullptr, "a recipe with errors has no canonical text");
  Writer writer(*recipe.method);
  writer.line(0, fmt::format("merge_method: {}", recipe.method->name));
  if (recipe.base_model) writer.line(0, "base_model: " + model_text(*recipe.base_model));
  if (recipe.dtype) writer.line(0, fmt::format("dtype: {}", facts(*recipe.dtype).torch_name));
  if (recipe.out_dtype) writer.line(0, fmt::format("out_dtype: {}", facts(*recipe.out_dtype).torch_name));
  writer.settings(0, recipe.parameters, true);
  writer.models(0, recipe.models);
  writer.slices(0, recipe.slices);
  if (!recipe.modules.empty()) writer.line(0, "modules:");
  for (const OutputModule& module : recipe.modules) {
    writer.line(2, yaml_quoted(module.name) + ":");
    writer.settings(4, module.parameters, false);
    writer.models(4, module.models);
    writer.slices(4, module.slices);
  }
  return writer.take();
}

}  // namespace crucible
