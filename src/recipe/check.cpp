#include "recipe/check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "base/units.h"
#include "methods/method.h"

namespace crucible {
namespace {

// Models that are merged into the same tensors: one `models` list, or the sources of one slice.
struct Entry {
  const ModelRef* model;
  Settings* parameters;
  bool is_input = true;  // not the base of the method
};

struct Group {
  std::string_view noun;  // "`models`", "this slice"
  Place place;
  std::vector<Entry> entries;
  const ModelRef* base = nullptr;
  bool is_slice = false;
  std::vector<const Settings*> outer;  // slice, module, recipe
};

// Problems that many slices share are told once, at the first one.
struct Repeated {
  Place place;
  int count = 0;
};

std::string shown(const ModelRef& model) { return printable(model.text(), 80); }

bool says(const Settings& settings, std::string_view name) {
  return std::any_of(settings.begin(), settings.end(), [&](const Setting& s) { return s.name == name; });
}

bool says_outside(const Group& group, std::string_view name) {
  return std::any_of(group.outer.begin(), group.outer.end(), [&](const Settings* s) { return says(*s, name); });
}

class Checker {
 public:
  Checker(const Method& method, BindContext& context) : method_(method), context_(context) {}

  void check(Group& group);
  void finish(const Recipe& recipe);

 private:
  void mark_base(Group& group);
  void check_base(const Group& group);
  void check_count(const Group& group);
  void check_repeats(const Group& group);
  void check_required(const Group& group);
  void drop_base_parameters(const Group& group);
  bool base_is_special() const { return method_.base != BaseRule::kOnlyListed; }

  const Method& method_;
  BindContext& context_;
  bool base_was_listed_ = false;
  Repeated base_beside_slices_;
  std::map<std::string, Repeated> missing_global_;
};

void Checker::check(Group& group) {
  mark_base(group);
  check_base(group);
  if (!context_.entries_are_missing) check_count(group);
  check_repeats(group);
  check_required(group);
  drop_base_parameters(group);
}

void Checker::mark_base(Group& group) {
  if (group.base == nullptr) return;
  for (Entry& entry : group.entries) {
    if (!entry.model->same_as(*group.base)) continue;
    base_was_listed_ = true;
    entry.is_input = !base_is_special();
  }
}

void Checker::check_base(const Group& group) {
  if (method_.base == BaseRule::kRequired && group.base == nullptr) {
    Repeated& told = missing_global_["base_model"];
    if (told.count++ == 0) told.place = group.place;
    return;
  }
  if (group.base == nullptr || !base_is_special()) return;
  const auto listed = std::count_if(group.entries.begin(), group.entries.end(), [](const Entry& e) { return !e.is_input; });
  if (listed > 1 && group.is_slice) {
    context_.diagnostics.error(
        group.place, fmt::format("the base model `{}` stands {} times in {}; allowed is once", shown(*group.base), listed, group.noun));
  } else if (listed > 1) {
    context_.diagnostics.notice(
        group.place, fmt::format("the base model `{}` stands {} times in {}; once is enough", shown(*group.base), listed, group.noun));
  } else if (listed == 0 && group.is_slice && base_beside_slices_.count++ == 0) {
    base_beside_slices_.place = group.place;
  }
}

void Checker::check_count(const Group& group) {
  if (method_.base == BaseRule::kRequired && group.base == nullptr) return;  // which of them is the base is not known
  const auto inputs =
      static_cast<int>(std::count_if(group.entries.begin(), group.entries.end(), [](const Entry& e) { return e.is_input; }));
  if (inputs >= method_.min_models && inputs <= method_.max_models) return;
  const std::string_view besides = base_is_special() ? " besides the base model" : "";
  const std::string wanted = method_.min_models == method_.max_models ? fmt::format("exactly {}", render_count(method_.min_models, "model"))
                             : inputs < method_.min_models ? fmt::format("at least {}", render_count(method_.min_models, "model"))
                                                           : fmt::format("at most {}", render_count(method_.max_models, "model"));
  std::string hint;
  if (base_is_special() && inputs < static_cast<int>(group.entries.size()))
    hint = fmt::format("`{}` is the base model and does not count", shown(*group.base));
  context_.diagnostics.error(group.place, fmt::format("`{}` needs {}{}, and {} has {}", method_.name, wanted, besides, group.noun, inputs),
                             hint);
}

void Checker::check_repeats(const Group& group) {
  std::map<std::string, int> seen;
  for (const Entry& entry : group.entries) {
    if (!entry.is_input || ++seen[entry.model->text()] != 2) continue;
    context_.diagnostics.notice(entry.model->place,
                                fmt::format("`{}` stands more than once in {}; each counts as an input (mergekit keeps only the last)",
                                            shown(*entry.model), group.noun));
  }
}

void Checker::check_required(const Group& group) {
  if (method_.model != nullptr) {
    for (const Field& field : method_.model->fields()) {
      if (!field.is_required || says_outside(group, field.name) || context_.is_doubtful(field.name)) continue;
      for (const Entry& entry : group.entries) {
        if (!entry.is_input || says(*entry.parameters, field.name)) continue;
        context_.diagnostics.error(
            entry.model->place,
            fmt::format("`{}` is missing for `{}`: `{}` needs it for every model", field.name, shown(*entry.model), method_.name),
            fmt::format("write `parameters: {{{}: ...}}` there or at the top level; allowed is {}", field.name, field.type_text()));
      }
    }
  }
  if (method_.global == nullptr) return;
  for (const Field& field : method_.global->fields()) {
    if (!field.is_required || says_outside(group, field.name) || context_.is_doubtful(field.name)) continue;
    Repeated& told = missing_global_[field.name];
    if (told.count++ == 0) told.place = group.place;
  }
}

void Checker::drop_base_parameters(const Group& group) {
  for (const Entry& entry : group.entries) {
    if (entry.is_input) continue;
    for (const Setting& setting : *entry.parameters) {
      context_.unused->push_back({setting.name, setting.name_place});
      context_.diagnostics.notice(setting.name_place,
                                  fmt::format("`{}` has no effect here: `{}` is the base model, which `{}` does not merge as an input",
                                              setting.name, shown(*entry.model), method_.name));
    }
    entry.parameters->clear();
  }
}

void Checker::finish(const Recipe& recipe) {
  for (const auto& [name, told] : missing_global_) {
    if (name == "base_model") {
      context_.diagnostics.error(recipe.method_place, fmt::format("`{}` needs a `base_model`", method_.name), "write `base_model: PATH`");
      continue;
    }
    const Field& field = (*method_.global)[method_.global->find(name).value()];
    context_.diagnostics.error(recipe.method_place, fmt::format("`{}` is missing: `{}` needs it", name, method_.name),
                               fmt::format("write `parameters: {{{}: ...}}` at the top level; allowed is {}", name, field.type_text()));
  }
  if (base_beside_slices_.count > 0) {
    const std::string others =
        base_beside_slices_.count > 1 ? fmt::format(" (and of {})", render_count(base_beside_slices_.count - 1, "other slice")) : "";
    context_.diagnostics.notice(
        base_beside_slices_.place,
        fmt::format("the base model is not among the sources of this slice{}: its layers are those of the first source", others));
  }
  if (!base_is_special() && recipe.base_model && !base_was_listed_) {
    context_.diagnostics.notice(recipe.base_model->place,
                                fmt::format("`base_model` is not an input of `{}`: it gives config and tokenizer", method_.name),
                                "list it among the models to merge it");
  }
}

Group group_of(std::vector<RecipeModel>& models, const ModelRef* base, std::vector<const Settings*> outer) {
  Group group;
  group.noun = "`models`";
  group.base = base;
  group.outer = std::move(outer);
  group.place = models.front().model.place;
  for (RecipeModel& m : models) group.entries.push_back({&m.model, &m.parameters});
  return group;
}

Group group_of(OutputSlice& slice, const ModelRef* base, std::vector<const Settings*> outer) {
  Group group;
  group.noun = "this slice";
  group.base = slice.base_model ? &*slice.base_model : base;
  group.is_slice = true;
  group.outer = std::move(outer);
  group.outer.insert(group.outer.begin(), &slice.parameters);
  group.place = slice.place;
  for (SliceSource& s : slice.sources) group.entries.push_back({&s.model, &s.parameters});
  return group;
}

void check_equal_lengths(const OutputSlice& slice, Diagnostics& diagnostics) {
  const SliceSource* first = nullptr;
  for (const SliceSource& source : slice.sources) {
    const std::int64_t layers = source.layer_end - source.layer_begin;
    if (layers <= 0) continue;  // refused before
    if (first == nullptr) first = &source;
    const std::int64_t wanted = first->layer_end - first->layer_begin;
    if (layers == wanted) continue;
    diagnostics.error(
        source.range_place,
        fmt::format("all sources of a slice must have the same number of layers: this one has {}, the first one {}", layers, wanted));
  }
}

void check_slices(std::vector<OutputSlice>& slices, const ModelRef* base, const std::vector<const Settings*>& outer, Checker& checker,
                  Diagnostics& diagnostics) {
  for (OutputSlice& slice : slices) {
    check_equal_lengths(slice, diagnostics);
    if (slice.sources.empty()) continue;
    Group group = group_of(slice, base, outer);
    checker.check(group);
  }
}

}  // namespace

void check_recipe(Recipe& recipe, BindContext& context) {
  CHECK(recipe.method != nullptr);
  Checker checker(*recipe.method, context);
  const ModelRef* base = recipe.base_model ? &*recipe.base_model : nullptr;
  const std::vector<const Settings*> outer = {&recipe.parameters};
  if (!recipe.models.empty()) {
    Group group = group_of(recipe.models, base, outer);
    checker.check(group);
  }
  check_slices(recipe.slices, base, outer, checker, context.diagnostics);
  for (OutputModule& module : recipe.modules) {
    const std::vector<const Settings*> inner = {&module.parameters, &recipe.parameters};
    if (!module.models.empty()) {
      Group group = group_of(module.models, base, inner);
      checker.check(group);
    }
    check_slices(module.slices, base, inner, checker, context.diagnostics);
  }
  checker.finish(recipe);
}

}  // namespace crucible
