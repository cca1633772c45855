#include "recipe/settings.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/text_util.h"
#include "arch/roles.h"
#include "methods/method.h"
#include "recipe/keys.h"
#include "recipe/resolve.h"

namespace crucible {
namespace {

const Field* find_in(const FieldTable* table, std::string_view name) noexcept {
  if (table == nullptr) return nullptr;
  const auto index = table->find(name);
  return index ? &(*table)[*index] : nullptr;
}

std::vector<std::string> parameter_names(const Method& method) {
  std::vector<std::string> names;
  for (const FieldTable* table : {method.model, method.global}) {
    if (table == nullptr) continue;
    for (const Field& f : table->fields()) names.push_back(f.name);
  }
  return names;
}

// "`della` has density, epsilon and weight"
std::string has_text(const Method& method) {
  const std::vector<std::string> names = parameter_names(method);
  return names.empty() ? fmt::format("`{}` has no parameters", method.name)
                       : fmt::format("`{}` has {}", method.name, join_names(names, 20));
}

// What other programs call a parameter, where the right one is not the same number.
std::string_view foreign_parameter_hint(std::string_view name) noexcept {
  if (name == "drop_rate" || name == "drop_p" || name == "p") return "did you mean `density`? It is one minus the drop rate";
  if (name == "consensus_method" || name == "majority_sign_method") return "the sign is always elected by the sum; remove it";
  if (name == "seed" || name == "random_seed") return "the seed is an option of the command, not part of the recipe";
  if (name == "scaling_coefficient" || name == "scaling_factor")
    return "did you mean `lambda` (the merged task vector) or `weight` (one model)?";
  return "";
}

std::optional<Value> bind_scalar(const Node& node, const Field& field, BindContext& context) {
  if (node.is_null()) {
    context.diagnostics.error(node.place, fmt::format("`{}` has no value", field.name), fmt::format("allowed is {}", field.type_text()));
    return std::nullopt;
  }
  if (!node.is_scalar()) {
    context.diagnostics.error(
        node.place,
        fmt::format("`{}` has {} inside a list; a list holds numbers, or mappings with `value` and `filter`", field.name, describe(node)));
    return std::nullopt;
  }
  std::string why;
  auto value = field.parse(node.text, node.quoted, why);
  if (!value) context.diagnostics.error(node.place, fmt::format("`{}` {}", field.name, why));
  return value;
}

// A list of values over the layers.
std::optional<SettingValue> bind_gradient(const Node& node, const Field& field, BindContext& context) {
  SettingValue out;
  out.place = node.place;
  if (node.items.empty()) {
    context.diagnostics.error(node.place, fmt::format("`{}` is an empty list, which has no value", field.name));
    return std::nullopt;
  }
  if (node.items.size() > 1 && field.kind != FieldKind::kNumber) {
    context.diagnostics.error(node.place,
                              fmt::format("`{}` cannot change over the layers: allowed is one value, {}", field.name, field.type_text()),
                              "use conditions ({value, filter}) to set it for some tensors");
    return std::nullopt;
  }
  bool good = true;
  for (const Node& item : node.items) {
    if (auto value = bind_scalar(item, field, context)) {
      out.values.push_back(*value);
    } else {
      good = false;
    }
  }
  out.is_gradient = out.values.size() > 1;
  return good ? std::optional(std::move(out)) : std::nullopt;
}

// One value: a scalar or a gradient.
std::optional<SettingValue> bind_value(const Node& node, const Field& field, BindContext& context) {
  if (node.is_sequence()) return bind_gradient(node, field, context);
  if (node.is_map()) {
    context.diagnostics.error(node.place, fmt::format("`{}` has a condition inside a condition", field.name));
    return std::nullopt;
  }
  const auto value = bind_scalar(node, field, context);
  if (!value) return std::nullopt;
  return SettingValue{node.place, {*value}, false};
}

std::optional<std::string> bind_filter(const Node& node, BindContext& context) {
  if (!node.is_scalar()) {
    context.diagnostics.error(node.place, fmt::format("`filter` must be one text, not {}", describe(node)),
                              "write one condition for each part of a tensor name");
    return std::nullopt;
  }
  if (node.text.starts_with(kRoleFilter)) {
    const std::string word = node.text.substr(kRoleFilter.size());
    const std::vector<std::string>& words = role_words();
    if (std::find(words.begin(), words.end(), word) != words.end()) return node.text;
    const auto near = nearest_name(word, words);
    context.diagnostics.error(node.place, fmt::format("there is no role `{}`; roles are {}", printable(word, 60), join_names(words, 100)),
                              near ? fmt::format("did you mean `role:{}`?", *near) : std::string());
    return std::nullopt;
  }
  const bool looks_like_pattern = node.text != "*" && node.text.find_first_of("*?^$|[]()\\") != std::string::npos;
  if (looks_like_pattern) {
    context.diagnostics.notice(
        node.place, fmt::format("the filter `{}` is searched in tensor names as it stands; it is not a pattern", printable(node.text, 60)));
  }
  return node.text;
}

// {value: V, filter: F}
std::optional<Condition> bind_condition(const Node& node, const Field& field, BindContext& context) {
  check_keys(node, KeyLevel::kCondition, context);
  const Node* value = find_value(node, "value");
  const Node* filter = find_value(node, "filter");
  if (value == nullptr) {
    context.diagnostics.error(node.place, fmt::format("`value` is missing in a condition of `{}`", field.name),
                              "write {value: ..., filter: ...}");
  }
  Condition out;
  out.filter_place = filter != nullptr ? filter->place : Place{};
  const auto text = filter != nullptr ? bind_filter(*filter, context) : std::optional<std::string>("");
  auto bound = value != nullptr ? bind_value(*value, field, context) : std::nullopt;
  if (!text || !bound) return std::nullopt;
  out.filter = *text;
  out.value = *std::move(bound);
  return out;
}

std::vector<Condition> bind_condition_list(const Node& node, const Field& field, BindContext& context) {
  std::vector<Condition> out;
  const Node* catch_all = nullptr;
  bool told = false;
  for (const Node& item : node.items) {
    if (!item.is_map()) {
      context.diagnostics.error(item.place, fmt::format("`{}` mixes conditions with {}", field.name, describe(item)),
                                "write the last one as `- value: ...`");
      continue;
    }
    auto condition = bind_condition(item, field, context);
    if (catch_all != nullptr && !told) {
      told = true;
      context.diagnostics.notice(item.place, fmt::format("this condition of `{}` is never reached: the one at line {} matches every tensor",
                                                         field.name, catch_all->place.line));
    }
    if (!condition) continue;
    if (catch_all == nullptr && (condition->filter.empty() || condition->filter == "*")) catch_all = &item;
    out.push_back(*std::move(condition));
  }
  return out;
}

// All forms of a setting: a value, a gradient, a condition, a list of conditions.
std::vector<Condition> bind_conditions(const Node& node, const Field& field, BindContext& context) {
  std::vector<Condition> out;
  if (node.is_map()) {
    if (auto condition = bind_condition(node, field, context)) out.push_back(*std::move(condition));
    return out;
  }
  const bool has_mapping = std::any_of(node.items.begin(), node.items.end(), [](const Node& item) { return item.is_map(); });
  if (node.is_sequence() && has_mapping) return bind_condition_list(node, field, context);
  if (auto value = bind_value(node, field, context)) out.push_back({"", {}, *std::move(value)});
  return out;
}

// Reports a name that is not a parameter of the method at this level. True when it is one.
bool check_name_at(const Node::Entry& entry, Origin::Level level, BindContext& context) {
  const std::string shown = printable(entry.key, 60);
  const Method* method = context.method;
  if (method == nullptr) {
    if (!is_some_parameter(entry.key)) context.report_unknown(entry.key_place, fmt::format("unknown parameter `{}`", shown), "", "");
    return false;
  }
  if (find_in(method->model, entry.key) != nullptr) return true;
  if (find_in(method->global, entry.key) != nullptr) {
    if (level != Origin::Level::kModel) return true;
    if (context.options.unused == UnusedPolicy::kError) context.doubt(entry.key);  // a notice leaves it really missing
    context.report_ignored(entry.key, entry.key_place, fmt::format("`{}` applies to the whole merge, not to one model", shown), "",
                           "move it to the top-level `parameters`");
    return false;
  }
  if (is_some_parameter(entry.key)) {
    const std::string hint = context.options.unused == UnusedPolicy::kError ? "remove it, or pass --allow-unused" : "";
    context.report_ignored(entry.key, entry.key_place, fmt::format("`{}` is not used by the method `{}`", shown, method->name),
                           has_text(*method), hint);
    return false;
  }
  std::string hint(foreign_parameter_hint(entry.key));
  if (hint.empty()) {
    if (const auto near = nearest_name(entry.key, parameter_names(*method))) {
      hint = fmt::format("did you mean `{}`?", *near);
      context.doubt(*near);
    }
  }
  context.report_unknown(entry.key_place, fmt::format("unknown parameter `{}`", shown), has_text(*method), hint);
  return false;
}

}  // namespace

const Field* find_field(const Method& method, std::string_view name) noexcept {
  const Field* of_model = find_in(method.model, name);
  return of_model != nullptr ? of_model : find_in(method.global, name);
}

Settings bind_settings(const Node& owner, Origin::Level level, BindContext& context) {
  Settings out;
  const Node* parameters = find_value(owner, "parameters");
  if (parameters == nullptr) return out;
  if (!parameters->is_map()) {
    context.diagnostics.error(parameters->place,
                              fmt::format("`parameters` must be a mapping of names to values, not {}", describe(*parameters)),
                              parameters->is_sequence() ? "write the names without `- `" : "");
    context.all_is_doubtful = true;
    return out;
  }
  for (const Node::Entry& entry : parameters->entries) {
    if (!check_name_at(entry, level, context)) continue;
    const Field& field = *find_field(*context.method, entry.key);
    Setting setting{entry.key, entry.key_place, bind_conditions(entry.value, field, context)};
    // A setting whose value was refused still counts as given, so that it is not reported as missing too.
    out.push_back(std::move(setting));
  }
  return out;
}

}  // namespace crucible
