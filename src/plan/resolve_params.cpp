#include "plan/resolve_params.h"

#include <fmt/format.h>

#include "arch/layers.h"
#include "base/text_util.h"
#include "recipe/resolve.h"

namespace crucible {
namespace {

std::string key_of(const Place& place) { return fmt::format("{}:{}:{}", place.file, place.line, place.column); }

// Two parameter sets with equal text are equal: values, and where each came from.
std::string identity(const Params& params) {
  std::string text = fmt::format("{}|", static_cast<const void*>(&params.table()));
  for (std::size_t i = 0; i < params.table().size(); ++i) {
    const Origin& o = params.origin(i);
    text += fmt::format("{};{};{};{};{}|", params.table()[i].value_text(params.value(i)), static_cast<int>(o.level), key_of(o.place),
                        o.t.value_or(-1), o.filter);
  }
  return text;
}

bool same(const Origin& a, const Origin& b) { return a.level == b.level && a.place == b.place && a.filter == b.filter && a.t == b.t; }

bool same(const Params& a, const Params& b) {
  if (&a.table() != &b.table()) return false;
  for (std::size_t i = 0; i < a.table().size(); ++i) {
    if (a.value(i) != b.value(i) || !same(a.origin(i), b.origin(i))) return false;
  }
  return true;
}

// Is a field's value the same for every tensor that these levels speak of?
bool is_unconditional(const Field& field, const std::vector<SettingLevel>& levels) {
  for (const SettingLevel& level : levels) {
    for (const Setting& setting : *level.settings) {
      if (setting.name != field.name) continue;
      for (const Condition& c : setting.conditions) {
        if (!c.filter.empty() || c.value.is_gradient) return false;
      }
    }
  }
  return true;
}

}  // namespace

std::shared_ptr<const Params> ParamResolver::resolve_all(const FieldTable& table, const std::vector<SettingLevel>& levels,
                                                         const LogicalTensor& logical, const std::string& tensor,
                                                         const std::string& owner) {
  // Values without filters and gradients are the same for all tensors of these levels.
  std::vector<const void*> asked = {&table};
  for (const SettingLevel& level : levels) asked.push_back(level.settings);
  if (const auto known = of_all_.find(asked); known != of_all_.end()) return known->second;
  bool is_of_all = true;
  const bool in_layers = split_layer_name(tensor).has_value();
  auto params = std::make_shared<Params>(table);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Field& field = table[i];
    const auto resolved = resolve(field, levels, tensor, logical.t, logical.role);
    is_of_all = is_of_all && is_unconditional(field, levels);
    if (!resolved) {
      if (field.is_required && missing_reported_.insert(field.name + "|" + owner).second) {
        diagnostics_.error(recipe_.method_place,
                           fmt::format("`{}` needs a value for `{}`{}; tensor {} has none", recipe_.method_name, field.name,
                                       owner.empty() ? std::string() : " of " + owner, printable(tensor)),
                           "add a last condition without filter, or a value at a higher level");
      }
      continue;
    }
    places_used_.insert(resolved->origin.place);
    if (resolved->origin.t && in_layers) positions_used_[resolved->origin.place].insert(*resolved->origin.t);
    params->set(i, resolved->value, resolved->origin);
  }
  // Neighbours mostly have the same: only where they differ is a text worth its price.
  std::shared_ptr<const Params>& last = last_[owner];
  if (last == nullptr || !same(*last, *params)) last = known_.emplace(identity(*params), params).first->second;
  if (is_of_all) of_all_.emplace(std::move(asked), last);
  return last;
}

std::shared_ptr<const Params> ParamResolver::global(const LogicalTensor& tensor) {
  std::vector<SettingLevel> levels;
  if (tensor.slice != nullptr) levels.push_back({Origin::Level::kSlice, tensor.slice});
  if (tensor.module != nullptr) levels.push_back({Origin::Level::kModule, tensor.module});
  levels.push_back({Origin::Level::kGlobal, &recipe_.parameters});
  return resolve_all(*method_.global, levels, tensor, tensor.decided_by(), {});
}

std::shared_ptr<const Params> ParamResolver::model(const LogicalTensor& tensor, const TensorUse& use, const std::string& model_name) {
  std::vector<SettingLevel> levels;
  if (use.parameters != nullptr) levels.push_back({Origin::Level::kModel, use.parameters});
  if (tensor.slice != nullptr) levels.push_back({Origin::Level::kSlice, tensor.slice});
  if (tensor.module != nullptr) levels.push_back({Origin::Level::kModule, tensor.module});
  levels.push_back({Origin::Level::kGlobal, &recipe_.parameters});
  return resolve_all(*method_.model, levels, tensor, use.name(), model_name);
}

void ParamResolver::report_unused_of(const Settings& settings) {
  for (const Setting& setting : settings) {
    for (const Condition& condition : setting.conditions) {
      if (places_used_.contains(condition.value.place)) {
        report_flat_gradient(setting, condition);
        continue;
      }
      diagnostics_.notice(
          condition.value.place,
          condition.filter.empty() ? fmt::format("this value of `{}` applies to no tensor", setting.name)
                                   : fmt::format("this value of `{}` applies to no tensor: filter `{}` matches none that is left for it",
                                                 setting.name, printable(condition.filter)),
          condition.filter.empty() ? "a nearer level or an earlier condition decides everywhere, or the model is the base" : "");
    }
  }
}

// Points over the layers, and all layers at one place.
void ParamResolver::report_flat_gradient(const Setting& setting, const Condition& condition) {
  const auto used = positions_used_.find(condition.value.place);
  if (condition.value.values.size() < 2 || (used != positions_used_.end() && used->second.size() > 1)) return;
  const bool no_layer = used == positions_used_.end();
  const bool last = !no_layer && *used->second.begin() == 1.0;
  diagnostics_.notice(condition.value.place,
                      no_layer ? fmt::format("the gradient of `{}` reaches no layer: it is its first value everywhere", setting.name)
                               : fmt::format("the gradient of `{}` is taken at one place only: every layer that takes it gets {}",
                                             setting.name, last ? "its last value" : "the same value"),
                      no_layer ? "tensors outside the layers are at position 0" : "there is one layer for it; write the value itself");
}

void ParamResolver::report_unused() {
  report_unused_of(recipe_.parameters);
  const auto slice_settings = [this](const std::vector<OutputSlice>& slices) {
    for (const OutputSlice& slice : slices) {
      report_unused_of(slice.parameters);
      for (const SliceSource& source : slice.sources) report_unused_of(source.parameters);
    }
  };
  for (const RecipeModel& m : recipe_.models) report_unused_of(m.parameters);
  slice_settings(recipe_.slices);
  for (const OutputModule& module : recipe_.modules) {
    report_unused_of(module.parameters);
    for (const RecipeModel& m : module.models) report_unused_of(m.parameters);
    slice_settings(module.slices);
  }
}

}  // namespace crucible
