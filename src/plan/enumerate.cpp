#include "plan/enumerate.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "arch/layers.h"
#include "base/check.h"
#include "base/text_util.h"

namespace crucible {
namespace {

// One model's part in one output slice, after both spellings (`models`, `slices`) are brought to one.
struct SourceView {
  int input = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  const Settings* parameters = nullptr;
};

struct SliceView {
  std::vector<SourceView> sources;
  std::optional<SourceView> base;
  const Settings* settings = nullptr;
  const Settings* module = nullptr;
};

// Position in the model: section (before, layers, after), stack, layer, rest.
using OrderKey = std::tuple<int, std::string, std::int64_t, std::string>;

OrderKey order_key(const std::string& name) {
  if (const auto layer = parse_layer_name(name)) return {1, layer->stack, layer->index, layer->rest};
  return {comes_before_layers(name) ? 0 : 2, {}, 0, name};
}

// Tensors of equal keys keep their order.
void sort_in_model_order(std::vector<LogicalTensor>& tensors) {
  std::vector<std::pair<OrderKey, std::size_t>> order;
  order.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) order.emplace_back(order_key(tensors[i].name), i);
  std::sort(order.begin(), order.end());
  std::vector<LogicalTensor> sorted;
  sorted.reserve(tensors.size());
  for (const auto& [key, i] : order) sorted.push_back(std::move(tensors[i]));
  tensors = std::move(sorted);
}

std::vector<std::string> names_of(const ModelView& view) {
  std::vector<std::string> names;
  for (const ViewTensor& t : view.tensors()) names.push_back(t.info.name);
  return names;
}

class Enumerator {
 public:
  Enumerator(const Plan& plan, Diagnostics& diagnostics) : plan_(plan), diagnostics_(diagnostics) {
    for (const PlanInput& input : plan.inputs) {
      stacks_.push_back(find_layer_stacks(names_of(*input.view), input.checkpoint.config_text()));
    }
  }

  Enumeration run() {
    const Recipe& recipe = plan_.recipe;
    if (!recipe.models.empty()) {
      add_whole_models(recipe.models, nullptr, [](const std::string&) { return true; });
    } else if (!recipe.slices.empty()) {
      add_slices(recipe.slices, nullptr, [](const std::string&) { return true; });
    } else {
      add_modules(recipe.modules);
    }
    sort_in_model_order(out_.tensors);
    return std::move(out_);
  }

 private:
  bool base_is_input() const { return plan_.method->base == BaseRule::kOnlyListed; }

  std::optional<int> effective_base(const OutputSlice* slice) const {
    if (slice != nullptr && slice->base_model) return input_of(plan_, *slice->base_model);
    return plan_.base;
  }

  const LayerStack* stack_named(int input, const std::string& name) const {
    for (const LayerStack& s : stacks_[static_cast<std::size_t>(input)]) {
      if (s.name == name) return &s;
    }
    return nullptr;
  }

  template <typename Covers>
  void add_whole_models(const std::vector<RecipeModel>& models, const Settings* module, const Covers& covers) {
    SliceView slice;
    slice.module = module;
    const std::optional<int> base = effective_base(nullptr);
    const Settings* base_settings = nullptr;
    for (const RecipeModel& m : models) {
      const int input = input_of(plan_, m.model);
      if (!base_is_input() && base && input == *base) {
        base_settings = &m.parameters;
        continue;
      }
      slice.sources.push_back({input, 0, 0, &m.parameters});
    }
    if (!base_is_input() && base) slice.base = SourceView{*base, 0, 0, base_settings};

    std::set<std::string> names;
    const auto collect = [&](const SourceView& s) {
      for (const ViewTensor& t : plan_.inputs[static_cast<std::size_t>(s.input)].view->tensors()) names.insert(t.info.name);
    };
    for (const SourceView& s : slice.sources) collect(s);
    if (slice.base) collect(*slice.base);
    const int reference = slice.base ? slice.base->input : slice.sources.front().input;
    for (const std::string& name : names) {
      if (!covers(name)) continue;
      double t = 0;
      if (const auto layer = parse_layer_name(name)) {
        if (const LayerStack* stack = stack_named(reference, layer->stack)) t = position(layer->index, stack->layers);
      }
      add_tensor(slice, name, t, [&](const SourceView&) { return name; });
    }
  }

  // t of layer k of n: k / (n - 1), 1 where there is one layer, 0 outside the layers.
  static double position(std::int64_t k, std::int64_t n) {
    if (k >= n) return 0;
    return n == 1 ? 1.0 : static_cast<double>(k) / static_cast<double>(n - 1);
  }

  template <typename NameFor>
  void add_tensor(const SliceView& slice, const std::string& output_name, double t, const NameFor& name_for) {
    LogicalTensor tensor;
    tensor.name = output_name;
    tensor.t = t;
    tensor.slice = slice.settings;
    tensor.module = slice.module;
    for (const SourceView& s : slice.sources) tensor.sources.push_back({s.input, name_for(s), s.parameters});
    if (slice.base) tensor.base = TensorUse{slice.base->input, name_for(*slice.base), slice.base->parameters};
    out_.tensors.push_back(std::move(tensor));
  }

  // The one stack that slices cut, the same in all models.
  const LayerStack* main_stack(int input, const Place& place) {
    const auto& stacks = stacks_[static_cast<std::size_t>(input)];
    if (stacks.size() == 1) return &stacks.front();
    std::vector<std::string> names;
    for (const LayerStack& s : stacks) names.push_back(fmt::format("`{}` ({} layers)", printable(s.name), s.layers));
    diagnostics_.error(place,
                       stacks.empty()
                           ? fmt::format("{} has no numbered layers to slice", plan_.inputs[static_cast<std::size_t>(input)].ref.text())
                           : fmt::format("{} has several stacks of layers: {}", plan_.inputs[static_cast<std::size_t>(input)].ref.text(),
                                         join_names(names)),
                       stacks.empty() ? "" : "slice one of them under modules:");
    return nullptr;
  }

  template <typename Covers>
  void add_slices(const std::vector<OutputSlice>& slices, const Settings* module, const Covers& covers) {
    std::vector<SliceView> views;
    std::int64_t layers = 0;
    bool good = true;
    for (const OutputSlice& slice : slices) {
      SliceView view;
      view.settings = &slice.parameters;
      view.module = module;
      good = fill_slice(slice, covers, view) && good;
      views.push_back(std::move(view));
    }
    if (!good || views.empty()) return;
    const LayerStack* reference = covered_stack(views.front().sources.front().input, slices.front().place, covers);
    if (reference == nullptr) return;
    for (const SliceView& view : views) add_layers(view, reference->name, layers);
    add_outside(views, covers);
    report_left_out(views, covers);
    if (!reference->config_key.empty()) {
      out_.config_changes.push_back({reference->config_key, std::to_string(layers), "the number of layers of the output"});
    }
  }

  template <typename Covers>
  const LayerStack* covered_stack(int input, const Place& place, const Covers& covers) {
    const LayerStack* found = nullptr;
    int count = 0;
    for (const LayerStack& s : stacks_[static_cast<std::size_t>(input)]) {
      if (!covers(s.name + ".")) continue;
      found = &s;
      ++count;
    }
    return count == 1 ? found : main_stack(input, place);
  }

  template <typename Covers>
  bool fill_slice(const OutputSlice& slice, const Covers& covers, SliceView& view) {
    bool good = true;
    const std::optional<int> base = effective_base(&slice);
    for (const SliceSource& source : slice.sources) {
      const int input = input_of(plan_, source.model);
      const LayerStack* stack = covered_stack(input, source.model.place, covers);
      if (stack == nullptr) return false;
      if (source.layer_end > stack->layers) {
        diagnostics_.error(source.range_place,
                           fmt::format("layer_range [{}, {}] reaches past the last layer: {} has {} layers, 0 to {}", source.layer_begin,
                                       source.layer_end, source.model.text(), stack->layers, stack->layers - 1),
                           fmt::format("the end is exclusive: at most {}", stack->layers));
        good = false;
      }
      const SourceView s{input, source.layer_begin, source.layer_end, &source.parameters};
      if (s.end - s.begin != slice.sources.front().layer_end - slice.sources.front().layer_begin) {
        diagnostics_.error(source.range_place, "all sources of a slice must have the same number of layers",
                           fmt::format("the first source has {}, this one {}",
                                       slice.sources.front().layer_end - slice.sources.front().layer_begin, s.end - s.begin));
        good = false;
      }
      if (!base_is_input() && base && input == *base && !view.base) {
        view.base = s;
      } else {
        view.sources.push_back(s);
      }
    }
    if (!base_is_input() && base && !view.base) {
      view.base = SourceView{*base, slice.sources.front().layer_begin, slice.sources.front().layer_end, nullptr};
    }
    return good;
  }

  const SourceView& reference_of(const SliceView& view) const { return view.base ? *view.base : view.sources.front(); }

  void add_layers(const SliceView& view, const std::string& stack, std::int64_t& next_layer) {
    const SourceView& reference = reference_of(view);
    const std::int64_t count = reference.end - reference.begin;
    // Layers of one stack may differ (mixture layers among dense ones): each layer's own tensors decide.
    std::map<std::int64_t, std::vector<LayerName>> by_layer;
    for (const ViewTensor& t : plan_.inputs[static_cast<std::size_t>(reference.input)].view->tensors()) {
      const auto layer = parse_layer_name(t.info.name);
      if (layer && layer->stack == stack) by_layer[layer->index].push_back(*layer);
    }
    for (std::int64_t k = 0; k < count; ++k) {
      for (const LayerName& layer : by_layer[reference.begin + k]) {
        add_tensor(view, layer.with_index(next_layer), position(k, count),
                   [&](const SourceView& s) { return layer.with_index(s.begin + k); });
      }
      std::vector<std::string> from;
      for (const SourceView& s : view.sources) {
        from.push_back(fmt::format("{} {}", plan_.inputs[static_cast<std::size_t>(s.input)].ref.text(), s.begin + k));
      }
      out_.layer_map.push_back(fmt::format("{} <- {}", next_layer, fmt::join(from, ", ")));
      ++next_layer;
    }
  }

  // Tensors outside the layers come from the first slice's models (embeddings) or the last one's (final norm, head).
  template <typename Covers>
  void add_outside(const std::vector<SliceView>& views, const Covers& covers) {
    for (const bool before : {true, false}) {
      const SliceView& view = before ? views.front() : views.back();
      const int reference = reference_of(view).input;
      for (const ViewTensor& t : plan_.inputs[static_cast<std::size_t>(reference)].view->tensors()) {
        const std::string& name = t.info.name;
        if (!covers(name) || comes_before_layers(name) != before) continue;
        if (const auto layer = parse_layer_name(name)) {
          const auto* stack = stack_named(reference, layer->stack);
          // Of the sliced stack, layers beyond the counted ones (prediction heads) have no place in a new order.
          if (stack != nullptr && covers(stack->name + ".")) continue;
        }
        add_tensor(view, name, 0, [&](const SourceView&) { return name; });
      }
    }
  }

  // Slices choose layers, so leaving layers out is asked for; leaving out a tensor of a chosen layer, or outside the layers, is not.
  template <typename Covers>
  void report_left_out(const std::vector<SliceView>& views, const Covers& covers) {
    std::set<std::pair<int, std::string>> used;
    for (const LogicalTensor& t : out_.tensors) {
      for (const TensorUse& use : t.sources) used.emplace(use.input, use.name);
      if (t.base) used.emplace(t.base->input, t.base->name);
    }
    std::set<std::string> left;
    for (const SliceView& view : views) {
      for (const SourceView& s : view.sources) {
        for (const ViewTensor& t : plan_.inputs[static_cast<std::size_t>(s.input)].view->tensors()) {
          if (!covers(t.info.name) || used.contains({s.input, t.info.name})) continue;
          const auto layer = parse_layer_name(t.info.name);
          const LayerStack* stack = layer ? stack_named(s.input, layer->stack) : nullptr;
          const bool outside = stack == nullptr || layer->index >= stack->layers;
          const bool chosen = layer && layer->index >= s.begin && layer->index < s.end;
          // Outside the layers only the first and the last slice's models are asked.
          const bool asked = &view == &views.front() || &view == &views.back();
          if (chosen || (outside && asked))
            left.insert(fmt::format("{} of {}", printable(t.info.name), plan_.inputs[static_cast<std::size_t>(s.input)].ref.text()));
        }
      }
    }
    if (left.empty()) return;
    diagnostics_.notice(plan_.recipe.method_place,
                        fmt::format("the slices leave out {}", join_names(std::vector<std::string>(left.begin(), left.end()), 4)),
                        "tensors outside the layers come from the first slice (embeddings) and the last one (final norm, head)");
  }

  void add_modules(const std::vector<OutputModule>& modules) {
    // A module covers the tensors below its name; `default` (or the text decoder of a model with towers) covers what no other does.
    const auto below = [](const std::string& module, const std::string& tensor) {
      return tensor.starts_with(module + ".") || tensor.find("." + module + ".") != std::string::npos;
    };
    const auto is_rest = [](const OutputModule& m) { return m.name == "default" || m.name == "text_decoder"; };
    std::set<std::string> done;
    for (const OutputModule& module : modules) {
      const auto covers = [&](const std::string& name) {
        if (!is_rest(module)) return below(module.name, name);
        return std::none_of(modules.begin(), modules.end(), [&](const OutputModule& o) { return !is_rest(o) && below(o.name, name); });
      };
      const std::size_t before = out_.tensors.size();
      if (!module.models.empty()) {
        add_whole_models(module.models, &module.parameters, covers);
      } else {
        add_slices(module.slices, &module.parameters, covers);
      }
      if (out_.tensors.size() == before && !diagnostics_.has_errors()) {
        diagnostics_.error(module.place, fmt::format("no tensor belongs to module `{}`", printable(module.name)),
                           "a module covers the tensors below its name; `default` covers all that no other module does");
      }
    }
    report_uncovered(modules, below, is_rest);
  }

  template <typename Below, typename IsRest>
  void report_uncovered(const std::vector<OutputModule>& modules, const Below& below, const IsRest& is_rest) {
    if (std::any_of(modules.begin(), modules.end(), is_rest) || diagnostics_.has_errors()) return;
    std::vector<std::string> left;
    for (const ViewTensor& t : plan_.inputs[static_cast<std::size_t>(plan_.donor)].view->tensors()) {
      if (std::none_of(modules.begin(), modules.end(), [&](const OutputModule& m) { return below(m.name, t.info.name); })) {
        left.push_back(printable(t.info.name));
      }
    }
    if (left.empty()) return;
    diagnostics_.error(modules.front().place, fmt::format("no module covers {}", join_names(left, 4)),
                       "add a module `default` for the rest; mergekit 0.1.4 leaves such tensors out of the output (D52)");
  }

  const Plan& plan_;
  Diagnostics& diagnostics_;
  std::vector<std::vector<LayerStack>> stacks_;
  Enumeration out_;
};

}  // namespace

int input_of(const Plan& plan, const ModelRef& ref) {
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    if (plan.inputs[i].ref.same_as(ref)) return static_cast<int>(i);
  }
  CHECK(false, "model {} was not opened", ref.text());
}

Enumeration enumerate_tensors(const Plan& plan, Diagnostics& diagnostics) { return Enumerator(plan, diagnostics).run(); }

}  // namespace crucible
