#include "audit/retrace.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "arch/parts.h"
#include "arch/roles.h"
#include "base/text_util.h"
#include "tensor/tensor_infos.h"
#include "text/yaml.h"

namespace crucible {
namespace {

// Nothing there, or null.
const Node* part(const Node* node, std::string_view key) {
  if (node == nullptr || !node->is_map()) return nullptr;
  const Node* found = node->find(key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

const std::vector<Node>& items(const Node* node) {
  static const std::vector<Node> none;
  return node != nullptr && node->is_sequence() ? node->items : none;
}

// A list of one may be written without the list.
std::vector<const Node*> as_list(const Node* node) {
  std::vector<const Node*> all;
  for (const Node& item : items(node)) all.push_back(&item);
  if (all.empty() && node != nullptr && node->is_map()) all.push_back(node);
  return all;
}

struct Read {
  double number = 0;
  std::string text;  // of a choice
  Place place;
};

// The number or choice that one scalar means to a field.
std::optional<Read> scalar(const Node& node, const Field& field) {
  std::string why;
  const auto value = field.parse(node.text, node.quoted, why);
  if (!value) return std::nullopt;
  Read read{0, field.value_text(*value), node.place};
  if (!std::holds_alternative<int>(*value)) read.number = std::visit([](auto v) { return static_cast<double>(v); }, *value);
  return read;
}

// A scalar, or points over the layers.
std::optional<Read> evaluate(const Node& node, const Field& field, double t) {
  if (node.is_scalar()) return scalar(node, field);
  std::vector<double> points;
  for (const Node& item : items(&node)) {
    const auto read = scalar(item, field);
    if (!read) return std::nullopt;
    points.push_back(read->number);
  }
  if (points.empty()) return std::nullopt;
  const double at = t * static_cast<double>(points.size() - 1);
  const auto before = std::min(static_cast<std::size_t>(at), points.size() - 1);
  const auto after = std::min(before + 1, points.size() - 1);
  const double rest = at - static_cast<double>(before);
  return Read{points[before] + rest * (points[after] - points[before]), {}, node.place};
}

// Does the text after `role:` speak of this tensor? A trait, or the role's path up to a dot.
bool is_of_role(const TensorRole& role, const std::string& word) {
  if (word == "bias") return role.is_bias;
  if (word == "mtp") return role.is_extra;
  if (!word.empty() && word == to_string(role.tower)) return true;
  return (role.path + ".").rfind(word + ".", 0) == 0;
}

bool filter_speaks(const Node* filter, const std::string& tensor, const TensorRole& role) {
  if (filter == nullptr || filter->text.empty() || filter->text == "*") return true;
  if (filter->text.rfind("role:", 0) == 0) return is_of_role(role, filter->text.substr(5));
  return tensor.find(filter->text) != std::string::npos;
}

// What one `parameters` mapping says of a field for a tensor.
std::optional<Read> look_up(const Node* parameters, const Field& field, const std::string& tensor, const TensorRole& role, double t) {
  const Node* setting = part(parameters, field.name);
  if (setting == nullptr) return std::nullopt;
  const auto is_condition = [](const Node& n) { return n.is_map(); };
  if (!is_condition(*setting) && std::none_of(items(setting).begin(), items(setting).end(), is_condition))
    return evaluate(*setting, field, t);
  for (const Node* condition : as_list(setting)) {
    const Node* filter = part(condition, "filter");
    const Node* value = part(condition, "value");
    if (filter_speaks(filter, tensor, role) && value != nullptr) return evaluate(*value, field, t);
  }
  return std::nullopt;
}

// Where a tensor lies in the recipe.
struct Whereabouts {
  const Node* module = nullptr;
  const Node* slice = nullptr;
  const Node* entries = nullptr;  // `models` or `sources`
  double t = 0;
};

class Retracer {
 public:
  Retracer(const Plan& plan, Node root) : plan_(plan), root_(std::move(root)) {}

  std::vector<Detour> run() {
    for (const Job& job : plan_.jobs) {
      if (!job.global) continue;  // integers, copied as they are
      const Whereabouts here = find(job);
      compare(job, *job.global, {}, levels(here, nullptr), job.decided_by(), here.t);
      std::map<int, int> seen;
      for (std::size_t i = 0; i < job.sources.size() && i < job.models.size(); ++i) {
        const int input = job.sources[i].input;
        const Node* entry = entry_of(here.entries, input, seen[input]++);
        compare(job, *job.models[i], plan_.inputs[static_cast<std::size_t>(input)].ref.text(), levels(here, entry),
                job.sources[i].tensor->info.name, here.t);
      }
    }
    return std::move(detours_);
  }

 private:
  // A module covers the tensors below its name; `default` and `text_decoder` what no other covers.
  static bool is_rest(const std::string& name) { return name == "default" || name == "text_decoder"; }
  static bool below(const std::string& module, const std::string& tensor) {
    return tensor.rfind(module + ".", 0) == 0 || tensor.find("." + module + ".") != std::string::npos;
  }
  const Node::Entry* module_of(const std::string& tensor) const {
    const Node* modules = part(&root_, "modules");
    const Node::Entry* rest = nullptr;
    for (const Node::Entry& e : modules->entries) {
      if (is_rest(e.key)) {
        rest = &e;
      } else if (below(e.key, tensor)) {
        return &e;
      }
    }
    return rest;
  }

  Whereabouts find(const Job& job) {
    Whereabouts here;
    const Node* owner = &root_;
    if (part(&root_, "modules") != nullptr) {
      const Node::Entry* module = module_of(job.decided_by());
      if (module == nullptr) return here;
      here.module = owner = &module->value;
    }
    const auto layer = parse_layer_name(job.decided_by());
    if (const Node* models = part(owner, "models")) {
      here.entries = models;
      if (layer) here.t = position(layer->index, layers_of(job.base ? job.base->input : first_listed(models), layer->stack));
      return here;
    }
    return in_slices(here, as_list(part(owner, "slices")), layer, job);
  }

  Whereabouts in_slices(Whereabouts here, const std::vector<const Node*>& slices, const std::optional<LayerName>& layer, const Job& job) {
    if (slices.empty()) return here;
    // Outside the layers: embeddings and towers belong to the first slice, all else to the last one.
    here.slice = comes_before_layers(job.decided_by()) ? slices.front() : slices.back();
    const auto first = as_list(part(slices.front(), "sources"));
    const int reference = first.empty() ? 0 : input_of_entry(*first.front());
    if (layer && layer->stack == cut_stack(reference, here.module)) {
      std::int64_t begin = 0;
      here.slice = slices.back();  // extra prediction layers stand behind all others
      for (const Node* slice : slices) {
        const std::int64_t n = length_of(*slice);
        if (layer->index < begin + n) {
          here.slice = slice;
          here.t = position(layer->index - begin, n);
          break;
        }
        begin += n;
      }
    } else if (layer) {
      here.t = position(layer->index, layers_of(job.base ? job.base->input : reference_of(*here.slice), layer->stack));
    }
    here.entries = part(here.slice, "sources");
    return here;
  }

  int reference_of(const Node& slice) const {
    const auto sources = as_list(part(&slice, "sources"));
    return sources.empty() ? 0 : input_of_entry(*sources.front());
  }

  // The stack that slices cut: the only one that the module covers, or the one that config.json counts for the text network.
  std::string cut_stack(int input, const Node* module) {
    std::vector<LayerStack> covered;
    for (const LayerStack& s : stacks_of(input)) {
      const Node::Entry* owner = module == nullptr ? nullptr : module_of(s.name + ".");
      if (module == nullptr || (owner != nullptr && &owner->value == module)) covered.push_back(s);
    }
    for (const LayerStack& s : covered) {
      if (covered.size() == 1 || s.is_main) return s.name;
    }
    return "?";
  }

  static std::int64_t length_of(const Node& slice) {
    const auto sources = as_list(part(&slice, "sources"));
    if (sources.empty()) return 0;
    const auto& range = items(part(sources.front(), "layer_range"));
    if (range.size() != 2) return 0;
    return parse_integer(range[1].text).value_or(0) - parse_integer(range[0].text).value_or(0);
  }

  static double position(std::int64_t k, std::int64_t n) {
    if (k >= n) return 0;
    return n == 1 ? 1 : static_cast<double>(k) / static_cast<double>(n - 1);
  }

  const std::vector<LayerStack>& stacks_of(int input) {
    auto [it, fresh] = stacks_.try_emplace(input);
    if (fresh) {
      const PlanInput& model = plan_.inputs[static_cast<std::size_t>(input)];
      it->second = find_layer_stacks(tensor_infos(model.view->tensors()), model.checkpoint.parts());
    }
    return it->second;
  }

  std::int64_t layers_of(int input, const std::string& stack) {
    for (const LayerStack& s : stacks_of(input)) {
      if (s.name == stack) return s.layers;
    }
    return 0;
  }

  std::optional<std::string> ref_text(const Node& entry) const {
    const Node* model = part(&entry, "model");
    if (model == nullptr) return std::nullopt;
    Diagnostics ignored;
    const auto ref = parse_model_ref(*model, ignored, plan_.recipe.paths);
    return ref ? std::optional(ref->text()) : std::nullopt;
  }

  int input_of_entry(const Node& entry) const {
    const auto text = ref_text(entry);
    for (std::size_t i = 0; text && i < plan_.inputs.size(); ++i) {
      if (plan_.inputs[i].ref.text() == *text) return static_cast<int>(i);
    }
    return 0;
  }

  // The first model that is an input of the method, when there is no base.
  int first_listed(const Node* models) const {
    const auto all = as_list(models);
    return all.empty() ? 0 : input_of_entry(*all.front());
  }

  const Node* entry_of(const Node* entries, int input, int repeat) const {
    for (const Node* entry : as_list(entries)) {
      if (ref_text(*entry) == plan_.inputs[static_cast<std::size_t>(input)].ref.text() && repeat-- == 0) return entry;
    }
    return nullptr;
  }

  // The `parameters` that may speak, nearest first.
  std::vector<const Node*> levels(const Whereabouts& here, const Node* entry) const {
    std::vector<const Node*> all;
    for (const Node* owner : {entry, here.slice, here.module, &root_}) {
      if (const Node* p = part(owner, "parameters")) all.push_back(p);
    }
    return all;
  }

  void compare(const Job& job, const Params& params, const std::string& model, const std::vector<const Node*>& levels,
               const std::string& tensor, double t) {
    for (std::size_t i = 0; i < params.table().size(); ++i) {
      const Field& field = params.table()[i];
      std::optional<Read> read;
      for (const Node* level : levels) {
        if ((read = look_up(level, field, tensor, job.role, t))) break;
      }
      if (agrees(params, i, read)) continue;
      note(job, params, i, model, read);
    }
  }

  static bool agrees(const Params& params, std::size_t i, const std::optional<Read>& read) {
    const Value& value = params.value(i);
    if (!read) return params.is_default(i) && value == params.table()[i].default_value;
    if (params.is_default(i)) return false;
    if (std::holds_alternative<int>(value)) return params.table()[i].value_text(value) == read->text;
    const double planned = std::visit([](auto v) { return static_cast<double>(v); }, value);
    return std::abs(planned - read->number) <= 1e-12 * std::max(1.0, std::abs(planned));
  }

  void note(const Job& job, const Params& params, std::size_t i, const std::string& model, const std::optional<Read>& read) {
    const std::string& name = params.table()[i].name;
    for (Detour& d : detours_) {
      if (d.parameter != name || d.model != model) continue;
      ++d.tensors;
      return;
    }
    std::string asked = "the default";
    if (read) asked = read->text.empty() ? render_number(read->number) : read->text;
    detours_.push_back({name, model, job.info.name, shown_value(params, i), asked, read ? read->place : Place{}, 1});
  }

  const Plan& plan_;
  Node root_;
  std::map<int, std::vector<LayerStack>> stacks_;
  std::vector<Detour> detours_;
};

}  // namespace

std::vector<Detour> retrace(const Plan& plan) {
  Diagnostics diagnostics;
  std::vector<Node> documents = parse_yaml(plan.recipe.text, plan.recipe.file, diagnostics);
  const auto recipe = std::find_if(documents.begin(), documents.end(), [](const Node& d) { return d.is_map(); });
  if (recipe == documents.end()) return {};
  return Retracer(plan, std::move(*recipe)).run();
}

std::vector<std::string> render_detours(const std::vector<Detour>& detours) {
  std::vector<std::string> lines;
  for (const Detour& d : detours) {
    std::string text = fmt::format("`{}`", d.parameter);
    if (!d.model.empty()) text += fmt::format(" of {}", d.model);
    text += fmt::format(": the recipe says {}", d.recipe);
    if (d.place.line > 0) text += fmt::format(" ({})", to_string(d.place));
    text += fmt::format(", the plan holds {} for tensor {}", d.planned, printable(d.tensor));
    if (d.tensors > 1) text += fmt::format(" and {} more", d.tensors - 1);
    lines.push_back(std::move(text));
  }
  return lines;
}

}  // namespace crucible
