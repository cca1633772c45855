#include "plan/slices.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "arch/layer_config.h"
#include "base/text_util.h"

namespace crucible {
namespace {

class Slicer {
 public:
  Slicer(const Plan& plan, ModelFacts& facts, const Covers& covers, Enumeration& out, Diagnostics& diagnostics)
      : plan_(plan), facts_(facts), covers_(covers), out_(out), diagnostics_(diagnostics) {}

  void run(const std::vector<OutputSlice>& slices, const Settings* module) {
    bool good = true;
    for (const OutputSlice& slice : slices) {
      SliceView view;
      view.settings = &slice.parameters;
      view.module = module;
      good = fill_slice(slice, view) && good;
      views_.push_back(std::move(view));
    }
    if (!good || views_.empty()) return;
    const LayerStack* reference = cut_stack(views_.front().reference().input, slices.front().place);
    if (reference == nullptr) return;
    stack_ = reference->name;
    for (std::size_t i = 0; i < views_.size(); ++i) {
      if (!has_stack(views_[i], slices[i].place)) return;
      add_layers(views_[i]);
    }
    add_outside();
    add_extra_layers();
    report_left_out();
    adapt_config(slices.front().place);
  }

 private:
  const PlanInput& input(int i) const { return plan_.inputs[static_cast<std::size_t>(i)]; }
  bool base_is_input() const { return plan_.method->base == BaseRule::kOnlyListed; }

  // The one stack that slices cut: what the module covers, else the text network's, by what config.json counts.
  const LayerStack* cut_stack(int model, const Place& place) {
    std::vector<const LayerStack*> covered;
    for (const LayerStack& s : facts_.stacks(model)) {
      if (covers_(s.name + ".")) covered.push_back(&s);
    }
    if (covered.size() == 1 && !covered.front()->folder.empty()) {
      diagnostics_.error(place,
                         fmt::format("the layers of {} are those of its part {}/, and slices of parts are not cut", input(model).ref.text(),
                                     printable(covered.front()->folder)),
                         "slice the folder of that part alone");
      return nullptr;
    }
    if (covered.size() == 1) return covered.front();
    for (const LayerStack* s : covered) {
      if (s->is_main) return s;
    }
    std::vector<std::string> names;
    names.reserve(covered.size());
    for (const LayerStack* s : covered) names.push_back(fmt::format("`{}` ({} layers)", printable(s->name), s->layers));
    const std::string text = input(model).ref.text();
    if (covered.empty()) {
      diagnostics_.error(place, fmt::format("{} has no numbered layers to slice", text));
    } else {
      diagnostics_.error(place, fmt::format("{} has several stacks of layers: {}", text, join_names(names)),
                         "slice one of them under modules:");
    }
    return nullptr;
  }

  bool check_range(const SliceSource& source, const LayerStack& stack) {
    const std::string range = fmt::format("[{}, {}]", source.layer_begin, source.layer_end);
    const std::string has = fmt::format("{} has {} layers, 0 to {}", source.model.text(), stack.layers, stack.layers - 1);
    if (source.layer_begin < 0 || source.layer_end <= source.layer_begin) {
      diagnostics_.error(source.range_place, fmt::format("`layer_range` {} holds no layers: {}", range, has),
                         fmt::format("allowed is 0 <= begin < end <= {}", stack.layers));
      return false;
    }
    if (source.layer_end > stack.layers) {
      diagnostics_.error(source.range_place, fmt::format("layer_range {} reaches past the last layer: {}", range, has),
                         fmt::format("the end is exclusive: at most {}", stack.layers));
      return false;
    }
    return true;
  }

  bool fill_slice(const OutputSlice& slice, SliceView& view) {
    bool good = true;
    const std::optional<int> base = slice.base_model ? std::optional(input_of(plan_, *slice.base_model)) : plan_.base;
    const SliceSource& first = slice.sources.front();
    const std::int64_t length = first.layer_end - first.layer_begin;
    for (const SliceSource& source : slice.sources) {
      const int model = input_of(plan_, source.model);
      const LayerStack* stack = cut_stack(model, source.model.place);
      if (stack == nullptr) return false;
      good = check_range(source, *stack) && good;
      const SourceView s{model, source.layer_begin, source.layer_end, &source.parameters};
      if (s.end - s.begin != length) {
        diagnostics_.error(source.range_place, "all sources of a slice must have the same number of layers",
                           fmt::format("the first source has {}, this one {}", length, s.end - s.begin));
        good = false;
      }
      if (!base_is_input() && base && model == *base && !view.base) {
        view.base = s;
      } else {
        view.sources.push_back(s);
      }
    }
    if (!base_is_input() && base && !view.base) {
      const LayerStack* stack = cut_stack(*base, slice.place);
      if (stack == nullptr) return false;
      if (good && first.layer_end > stack->layers) {
        diagnostics_.error(first.range_place, fmt::format("layer_range [{}, {}] reaches past the last layer of the base: {} has {} layers",
                                                          first.layer_begin, first.layer_end, input(*base).ref.text(), stack->layers));
        good = false;
      }
      view.base = SourceView{*base, first.layer_begin, first.layer_end, nullptr};
    }
    return good;
  }

  // Every model of a slice must have the stack under the output's name.
  bool has_stack(const SliceView& view, const Place& place) {
    std::vector<int> models = {view.reference().input};
    for (const SourceView& s : view.sources) models.push_back(s.input);
    for (const int model : models) {
      if (facts_.stack_named(model, stack_) != nullptr) continue;
      const LayerStack* own = cut_stack(model, place);
      diagnostics_.error(place, fmt::format("{} keeps its layers in `{}`, the output in `{}`", input(model).ref.text(),
                                            own != nullptr ? printable(own->name) : "another stack", printable(stack_)));
      return false;
    }
    return true;
  }

  void add_layers(const SliceView& view) {
    const SourceView& reference = view.reference();
    const std::int64_t count = reference.end - reference.begin;
    const auto& by_layer = names_of_layers(reference.input);
    for (std::int64_t k = 0; k < count; ++k) {
      // Layers of one stack may differ (mixture layers among dense ones): each layer's own tensors decide.
      if (const auto names = by_layer.find(reference.begin + k); names != by_layer.end()) {
        for (const std::string_view rest : names->second) {
          add_tensor(facts_, out_, view, layer_tensor_name(stack_, layers_, rest), layer_position(k, count),
                     [&](const SourceView& s) { return layer_tensor_name(stack_, s.begin + k, rest); });
        }
      }
      LayerOrigin origin{stack_, layers_, {}};
      for (const SourceView& s : view.sources) origin.from.push_back({s.input, s.begin + k});
      out_.layer_map.push_back(std::move(origin));
      configured_.emplace_back(reference.input, reference.begin + k);
      ++layers_;
    }
  }

  // The names of the tensors of each layer, below its number.
  const std::map<std::int64_t, std::vector<std::string_view>>& names_of_layers(int model) {
    auto [it, fresh] = layer_names_.try_emplace(model);
    if (!fresh) return it->second;
    for (const ViewTensor& t : input(model).view->tensors()) {
      const auto layer = split_layer_name(t.info.name);
      if (layer && layer->stack == stack_) it->second[layer->index].push_back(layer->rest);
    }
    return it->second;
  }

  // Tensors outside the layers that are cut: from the first slice's models (embeddings, towers) or the last one's (final norm, head).
  void add_outside() {
    for (const bool before : {true, false}) {
      const SliceView& view = before ? views_.front() : views_.back();
      const int reference = view.reference().input;
      for (const ViewTensor& t : input(reference).view->tensors()) {
        const std::string& name = t.info.name;
        const auto layer = split_layer_name(name);
        if ((layer && layer->stack == stack_) || !covers_(name) || comes_before_layers(name) != before) continue;
        const LayerStack* other = layer ? facts_.stack_named(reference, layer->stack) : nullptr;
        const double at = other != nullptr ? layer_position(layer->index, other->layers) : 0;
        add_tensor(facts_, out_, view, name, at, [&name](const SourceView&) -> const std::string& { return name; });
      }
    }
  }

  // Extra prediction layers stand behind the layers that config.json counts; they keep that place behind the last slice's models.
  void add_extra_layers() {
    const SliceView& view = views_.back();
    const int reference = view.reference().input;
    const std::int64_t first = facts_.stack_named(reference, stack_)->layers;
    for (const auto& [index, names] : names_of_layers(reference)) {
      const std::int64_t behind = index - first;
      if (behind < 0) continue;
      for (const std::string_view rest : names) {
        add_tensor(facts_, out_, view, layer_tensor_name(stack_, layers_ + behind, rest), 0, [&](const SourceView& s) {
          return layer_tensor_name(stack_, facts_.stack_named(s.input, stack_)->layers + behind, rest);
        });
      }
    }
  }

  // Slices choose layers, so leaving layers out is asked for; leaving out a tensor of a chosen layer, or outside the layers, is not.
  void report_left_out() {
    std::map<int, std::vector<bool>> used;  // by input, in the order of its view
    const auto note = [&](const TensorUse& use) {
      if (use.tensor == nullptr) return;
      const std::vector<ViewTensor>& all = input(use.input).view->tensors();
      std::vector<bool>& seen = used[use.input];
      if (seen.empty()) seen.resize(all.size());
      seen[static_cast<std::size_t>(use.tensor - all.data())] = true;
    };
    for (const LogicalTensor& t : out_.tensors) {
      for (const TensorUse& use : t.sources) note(use);
      if (t.base) note(*t.base);
    }
    struct Asked {
      std::set<std::int64_t> layers;
      bool outside = false;  // only the first and the last slice's models are asked outside the layers
    };
    std::map<int, Asked> asked;
    for (const SliceView& view : views_) {
      for (const SourceView& s : view.sources) {
        Asked& a = asked[s.input];
        for (std::int64_t k = s.begin; k < s.end; ++k) a.layers.insert(k);
        a.outside = a.outside || &view == &views_.front() || &view == &views_.back();
      }
    }
    std::set<std::string> left;
    for (const auto& [model, a] : asked) {
      const std::int64_t counted = facts_.stack_named(model, stack_)->layers;
      const std::vector<ViewTensor>& tensors = input(model).view->tensors();
      const std::vector<bool>& seen = used[model];
      for (std::size_t i = 0; i < tensors.size(); ++i) {
        const ViewTensor& t = tensors[i];
        if ((!seen.empty() && seen[i]) || !covers_(t.info.name)) continue;
        const auto layer = split_layer_name(t.info.name);
        const bool cut = layer && layer->stack == stack_;
        if (cut && layer->index < counted ? a.layers.contains(layer->index) : a.outside)
          left.insert(fmt::format("{} of {}", printable(t.info.name), input(model).ref.text()));
      }
    }
    if (left.empty()) return;
    diagnostics_.notice(plan_.recipe.method_place,
                        fmt::format("the slices leave out {}", join_names(std::vector<std::string>(left.begin(), left.end()), 4)),
                        "tensors outside the layers come from the first slice (embeddings, towers) and the last one (final norm, head)");
  }

  SlicedStack sliced_stack(int model) {
    SlicedStack out{input(model).ref.text(), input(model).checkpoint.config_text(), {}, {}};
    const LayerStack* stack = facts_.stack_named(model, stack_);
    if (stack == nullptr) return out;
    out.stack = *stack;
    out.kinds.resize(static_cast<std::size_t>(stack->layers));
    for (const ViewTensor& t : input(model).view->tensors()) {
      const auto layer = split_layer_name(t.info.name);
      if (!layer || layer->stack != stack_ || layer->index >= stack->layers) continue;
      const std::string_view group = facts_.role(model, t).group();
      LayerKind& kind = out.kinds[static_cast<std::size_t>(layer->index)];
      kind.experts = kind.experts || group == "expert" || group == "router";
      kind.attention = kind.attention || group == "attention";
    }
    return out;
  }

  void adapt_config(const Place& place) {
    const bool as_before = keeps_order();
    if (!as_before) refuse_joint_tensors(place);
    if (input(plan_.donor).checkpoint.config_text().empty()) return;
    std::map<int, std::size_t> numbers;
    std::vector<SlicedStack> models;
    std::vector<LayerSource> layers;
    for (const auto& [model, layer] : configured_) {
      const auto [it, fresh] = numbers.try_emplace(model, models.size());
      if (fresh) models.push_back(sliced_stack(model));
      layers.push_back({it->second, layer});
    }
    LayerConfigAnswer answer = adapt_layer_config(sliced_stack(plan_.donor), models, layers);
    for (ConfigChange& c : answer.changes) out_.config_changes.push_back(std::move(c));
    for (std::string& text : answer.errors) diagnostics_.error(place, std::move(text));
    for (std::string& text : answer.notices) diagnostics_.notice(place, std::move(text));
  }

  // All layers of the donor, each where it was.
  bool keeps_order() const {
    const LayerStack* stack = facts_.stack_named(plan_.donor, stack_);
    if (stack == nullptr || stack->layers != layers_) return false;
    for (std::size_t i = 0; i < configured_.size(); ++i) {
      if (configured_[i].second != static_cast<std::int64_t>(i)) return false;
    }
    return true;
  }

  void refuse_joint_tensors(const Place& place) {
    for (const LogicalTensor& t : out_.tensors) {
      if (!holds_part_of_every_layer(t.name)) continue;
      diagnostics_.error(place, fmt::format("the layers of this model cannot be moved: {} holds a part for every layer", printable(t.name)),
                         "merge whole models instead");
      return;
    }
  }

  const Plan& plan_;
  ModelFacts& facts_;
  const Covers& covers_;
  Enumeration& out_;
  Diagnostics& diagnostics_;
  std::vector<SliceView> views_;
  std::string stack_;                                     // the stack that is cut, by its name in the output
  std::int64_t layers_ = 0;                               // of the output so far
  std::vector<std::pair<int, std::int64_t>> configured_;  // for each output layer the model and layer whose config describes it
  std::map<int, std::map<std::int64_t, std::vector<std::string_view>>> layer_names_;
};

}  // namespace

void add_slices(const Plan& plan, ModelFacts& facts, const std::vector<OutputSlice>& slices, const Settings* module, const Covers& covers,
                Enumeration& out, Diagnostics& diagnostics) {
  Slicer(plan, facts, covers, out, diagnostics).run(slices, module);
}

}  // namespace crucible
