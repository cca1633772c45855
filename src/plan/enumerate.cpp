#include "plan/enumerate.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "arch/layers.h"
#include "arch/roles.h"
#include "base/check.h"
#include "base/text_util.h"
#include "plan/model_facts.h"
#include "plan/slices.h"

namespace crucible {
namespace {

// Position in the model: part, section (before, layers, after), stack, layer, rest.
using OrderKey = std::tuple<std::size_t, int, std::string_view, std::int64_t, std::string_view>;

OrderKey order_key(std::string_view name, const std::vector<ModelPart>& parts) {
  const std::size_t part = part_of(parts, name);
  const std::string_view own = name_in_folder(name, parts[part].folder);
  if (const auto layer = split_layer_name(own)) return {part, 1, layer->stack, layer->index, layer->rest};
  return {part, comes_before_layers(own) ? 0 : 2, {}, 0, own};
}

// Tensors of equal keys keep their order.
void sort_in_model_order(std::vector<LogicalTensor>& tensors, const std::vector<ModelPart>& parts) {
  std::vector<OrderKey> keys;
  keys.reserve(tensors.size());
  for (const LogicalTensor& t : tensors) keys.push_back(order_key(t.name, parts));
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&keys](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  keys.clear();  // they lie in the names, which move now
  std::vector<LogicalTensor> sorted;
  sorted.reserve(tensors.size());
  for (const std::size_t i : order) sorted.push_back(std::move(tensors[i]));
  tensors = std::move(sorted);
}

class Enumerator {
 public:
  Enumerator(const Plan& plan, Diagnostics& diagnostics) : plan_(plan), diagnostics_(diagnostics), facts_(plan) {}

  Enumeration run() {
    const Recipe& recipe = plan_.recipe;
    if (!recipe.models.empty()) {
      add_whole_models(recipe.models, nullptr, [](const std::string&) { return true; });
    } else if (!recipe.slices.empty()) {
      add_slices(
          plan_, facts_, recipe.slices, nullptr, [](const std::string&) { return true; }, out_, diagnostics_);
    } else {
      add_modules(recipe.modules);
    }
    tie_head();
    sort_in_model_order(out_.tensors, plan_.model_parts());
    return std::move(out_);
  }

 private:
  // A head that is the embedding, stored once more, is made as the embedding is: from the same tensors, with its parameters and draws.
  void tie_head() {
    if (!plan_.tied_head) return;
    const auto find = [&](const std::string& name) {
      return std::find_if(out_.tensors.begin(), out_.tensors.end(), [&](const LogicalTensor& t) { return t.name == name; });
    };
    const auto head = find(plan_.tied_head->head), embedding = find(plan_.tied_head->embedding);
    if (head == out_.tensors.end() || embedding == out_.tensors.end()) return;
    const auto of_one_model = [](const TensorUse& a, const TensorUse& b) { return a.input == b.input; };
    if (!std::equal(head->sources.begin(), head->sources.end(), embedding->sources.begin(), embedding->sources.end(), of_one_model)) {
      diagnostics_.notice(
          {}, fmt::format("{} is tied to {}, and made from the same models as that", printable(head->name), printable(embedding->name)));
    }
    LogicalTensor tied = *embedding;
    tied.name = head->name;
    tied.as = embedding->name;
    *head = std::move(tied);
  }

  bool base_is_input() const { return plan_.method->base == BaseRule::kOnlyListed; }

  void add_whole_models(const std::vector<RecipeModel>& models, const Settings* module, const Covers& covers) {
    SliceView slice;
    slice.module = module;
    const std::optional<int> base = plan_.base;
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

    const int reference = slice.reference().input;
    for (const std::string* name : names_of(slice)) {
      if (!covers(*name)) continue;
      double t = 0;
      if (const auto layer = split_layer_name(*name)) {
        if (const LayerStack* stack = facts_.stack_named(reference, layer->stack)) t = layer_position(layer->index, stack->layers);
      }
      add_tensor(facts_, out_, slice, *name, t, [name](const SourceView&) -> const std::string& { return *name; });
    }
  }

  // All names of the models of a slice, sorted, each once.
  std::vector<const std::string*> names_of(const SliceView& slice) const {
    std::set<int> inputs;
    for (const SourceView& s : slice.sources) inputs.insert(s.input);
    if (slice.base) inputs.insert(slice.base->input);
    std::vector<const std::string*> all;
    for (const int input : inputs) {
      std::vector<const std::string*> own, both;
      for (const ViewTensor& t : plan_.inputs[static_cast<std::size_t>(input)].view->tensors()) own.push_back(&t.info.name);
      const auto same = [](const std::string* a, const std::string* b) { return *a == *b; };
      if (all.size() == own.size() && std::equal(all.begin(), all.end(), own.begin(), same)) continue;
      std::set_union(all.begin(), all.end(), own.begin(), own.end(), std::back_inserter(both),
                     [](const std::string* a, const std::string* b) { return *a < *b; });
      all = std::move(both);
    }
    return all;
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
        add_slices(plan_, facts_, module.slices, &module.parameters, covers, out_, diagnostics_);
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
  ModelFacts facts_;
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
