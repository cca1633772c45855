#include "recipe/structure.h"

#include <cmath>

#include <fmt/format.h>

#include "base/text_util.h"
#include "recipe/keys.h"
#include "recipe/later.h"
#include "recipe/settings.h"

namespace crucible {
namespace {

constexpr std::int64_t kMostLayers = 1 << 20;  // far above any model; keeps later arithmetic small

// `models`, `slices` and `sources` are lists of mappings; calls bind for every mapping.
template <typename Bind>
void for_each_mapping(const Node& list, std::string_view name, std::string_view entry_hint, BindContext& context, Bind bind) {
  if (!list.is_sequence()) {
    context.diagnostics.error(list.place, fmt::format("`{}` must be a list, not {}", name, describe(list)),
                              fmt::format("write every entry as `{}`", entry_hint));
    context.entries_are_missing = true;
    return;
  }
  for (const Node& item : list.items) {
    if (item.is_map()) {
      bind(item);
    } else {
      context.entries_are_missing = true;
      const bool is_model = item.is_scalar() && entry_hint.starts_with("- model");
      context.diagnostics.error(
          item.place, fmt::format("an entry of `{}` must be a mapping, not {}", name, describe(item)),
          is_model ? fmt::format("write `- model: {}`", printable(item.text, 60)) : fmt::format("write it as `{}`", entry_hint));
    }
  }
}

// The `model` of an entry of `models` or `sources`.
std::optional<ModelRef> bind_model_key(const Node& entry, BindContext& context) {
  const Node* model = find_value(entry, "model");
  auto reference = model != nullptr ? bind_reference(*model, context) : std::nullopt;
  if (!reference) context.entries_are_missing = true;
  if (model != nullptr) return reference;
  if (!context.was_meant("model")) context.diagnostics.error(entry.place, "`model` is missing in this entry", "write `model: PATH`");
  return std::nullopt;
}

std::optional<std::int64_t> parse_layer(const Node& node) {
  if (!node.is_scalar()) return std::nullopt;
  if (const auto integer = parse_integer(node.text)) return *integer;
  const auto number = parse_number(node.text);
  if (!number || std::trunc(*number) != *number || std::abs(*number) > static_cast<double>(kMostLayers)) return std::nullopt;
  return static_cast<std::int64_t>(*number);
}

void bind_layer_range(const Node& entry, SliceSource& source, BindContext& context) {
  constexpr std::string_view kHint = "write `layer_range: [begin, end]`: the first layer and the one after the last, counted from 0";
  const Node* range = find_value(entry, "layer_range");
  if (range == nullptr) {
    if (!context.was_meant("layer_range"))
      context.diagnostics.error(entry.place, "`layer_range` is missing in this entry of `sources`", std::string(kHint));
    return;
  }
  source.range_place = range->place;
  if (!range->is_sequence() || range->items.size() != 2) {
    const std::string what = range->is_sequence() ? fmt::format("a list of {}", range->items.size()) : std::string(describe(*range));
    context.diagnostics.error(range->place, fmt::format("`layer_range` must be two integers, not {}", what), std::string(kHint));
    return;
  }
  const auto begin = parse_layer(range->items[0]);
  const auto end = parse_layer(range->items[1]);
  for (const auto& [value, node] : {std::pair(begin, &range->items[0]), std::pair(end, &range->items[1])}) {
    if (value) continue;
    const std::string shown = node->is_scalar() ? fmt::format("`{}`", printable(node->text, 40)) : std::string(describe(*node));
    context.diagnostics.error(node->place, fmt::format("a layer number must be an integer, not {}", shown), std::string(kHint));
  }
  if (!begin || !end) return;
  // Whether the range holds layers is said where the model's layers are known.
  if (*begin < -kMostLayers || *begin > kMostLayers || *end < -kMostLayers || *end > kMostLayers) {
    context.diagnostics.error(
        range->place,
        fmt::format("`layer_range` [{}, {}] is no range of layers; allowed is 0 <= begin < end <= {}", *begin, *end, kMostLayers),
        std::string(kHint));
    return;
  }
  source.layer_begin = *begin;
  source.layer_end = *end;
}

std::vector<SliceSource> bind_sources(const Node& node, BindContext& context) {
  std::vector<SliceSource> out;
  for_each_mapping(node, "sources", "- model: PATH", context, [&](const Node& item) {
    context.meant.clear();
    check_keys(item, KeyLevel::kSource, context);
    SliceSource source;
    const auto model = bind_model_key(item, context);
    bind_layer_range(item, source, context);
    source.parameters = bind_settings(item, Origin::Level::kModel, context);
    if (!model) return;
    source.model = *model;
    out.push_back(std::move(source));
  });
  return out;
}

OutputSlice bind_slice(const Node& item, BindContext& context) {
  OutputSlice slice;
  slice.place = item.place;
  context.meant.clear();
  check_keys(item, KeyLevel::kSlice, context);
  const Node* base = find_value(item, "base_model");
  const Node* sources = find_value(item, "sources");
  if (base != nullptr) slice.base_model = bind_reference(*base, context);
  slice.parameters = bind_settings(item, Origin::Level::kSlice, context);
  if (sources == nullptr) {
    if (!context.was_meant("sources"))
      context.diagnostics.error(item.place, "`sources` is missing in this slice", "write `sources:` with a list of models");
    return slice;
  }
  if (sources->is_sequence() && sources->items.empty()) context.diagnostics.error(sources->place, "`sources` is an empty list");
  slice.sources = bind_sources(*sources, context);
  return slice;
}

OutputModule bind_module(const Node::Entry& entry, BindContext& context) {
  constexpr std::size_t kLongestName = 255;
  const std::string shown = printable(entry.key, 60);
  OutputModule module;
  module.name = entry.key;
  module.place = entry.key_place;
  if (entry.key.empty() || entry.key.size() > kLongestName) {
    context.diagnostics.error(entry.key_place, fmt::format("the name of a module must have 1 to {} bytes", kLongestName));
  }
  if (!entry.value.is_map()) {
    context.diagnostics.error(entry.value.place, fmt::format("the module `{}` must be a mapping, not {}", shown, describe(entry.value)));
    return module;
  }
  context.meant.clear();
  check_keys(entry.value, KeyLevel::kModule, context);
  const bool meant_either = context.was_meant("models") || context.was_meant("slices");
  module.parameters = bind_settings(entry.value, Origin::Level::kModule, context);
  const Node* models = find_value(entry.value, "models");
  const Node* slices = find_value(entry.value, "slices");
  const auto is_given = [](const Node* node) { return node != nullptr && !(node->is_sequence() && node->items.empty()); };
  if (is_given(models) && is_given(slices)) {
    context.diagnostics.error(slices->place, fmt::format("the module `{}` has both `models` and `slices`, allowed is one of them", shown));
  } else if (!is_given(models) && !is_given(slices) && !meant_either) {
    context.diagnostics.error(entry.key_place, fmt::format("the module `{}` has neither `models` nor `slices`", shown));
  }
  if (models != nullptr) module.models = bind_models(*models, context);
  if (slices != nullptr) module.slices = bind_slices(*slices, context);
  return module;
}

}  // namespace

std::optional<ModelRef> bind_reference(const Node& node, BindContext& context) {
  auto reference = parse_model_ref(node, context.diagnostics, context.options.paths);
  if (reference) check_reference(*reference, context);
  return reference;
}

std::vector<RecipeModel> bind_models(const Node& node, BindContext& context) {
  std::vector<RecipeModel> out;
  for_each_mapping(node, "models", "- model: PATH", context, [&](const Node& item) {
    context.meant.clear();
    check_keys(item, KeyLevel::kModel, context);
    const auto model = bind_model_key(item, context);
    Settings parameters = bind_settings(item, Origin::Level::kModel, context);
    if (model) out.push_back({*model, std::move(parameters)});
  });
  return out;
}

std::vector<OutputSlice> bind_slices(const Node& node, BindContext& context) {
  std::vector<OutputSlice> out;
  for_each_mapping(node, "slices", "- sources: [...]", context, [&](const Node& item) { out.push_back(bind_slice(item, context)); });
  return out;
}

std::vector<OutputModule> bind_modules(const Node& node, BindContext& context) {
  std::vector<OutputModule> out;
  if (!node.is_map()) {
    context.diagnostics.error(node.place, fmt::format("`modules` must be a mapping of names to modules, not {}", describe(node)));
    return out;
  }
  for (const Node::Entry& entry : node.entries) out.push_back(bind_module(entry, context));
  return out;
}

}  // namespace crucible
