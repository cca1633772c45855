// crucible bakllama: stacks layers as a configuration of mergekit's bakllama says, sources of embedding and head included.
#include <algorithm>

#include <fmt/format.h>

#include "base/text_util.h"
#include "commands/command.h"
#include "commands/shared/front_end.h"
#include "commands/shared/stacking.h"
#include "io/file.h"
#include "text/lines.h"
#include "text/yaml.h"

namespace crucible {
namespace {

struct BakllamaFlags {
  FrontEnd front;
  std::string config;
  bool fp16 = false;
  bool clone_tensors = false;
};

class Reader {
 public:
  explicit Reader(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  Stacking read(const Node& document) {
    Stacking out;
    out.scaled = {"down_proj"};
    if (!document.is_map()) {
      diagnostics_.error(document.place, fmt::format("a configuration is a mapping with `layer_slices`, not {}", describe(document)));
      return out;
    }
    check_keys(document, {"layer_slices", "embedding_source", "lm_head_source"});
    out.embedding = optional_model(document, "embedding_source");
    out.head = optional_model(document, "lm_head_source");
    const Node* slices = document.find("layer_slices");
    if (slices == nullptr || !slices->is_sequence() || slices->items.empty()) {
      diagnostics_.error(slices != nullptr ? slices->place : document.place, "`layer_slices` must be a list with at least one entry",
                         "write `layer_slices:` with entries `- {model: PATH, start: 0, end: 16}`");
      return out;
    }
    for (const Node& item : slices->items) read_slice(item, out);
    return out;
  }

 private:
  void check_keys(const Node& map, const std::vector<std::string>& allowed) {
    for (const Node::Entry& entry : map.entries) {
      if (std::find(allowed.begin(), allowed.end(), entry.key) != allowed.end()) continue;
      const auto near = nearest_name(entry.key, allowed);
      diagnostics_.error(entry.key_place, fmt::format("unknown key `{}`: allowed are {}", printable(entry.key, 60), join_names(allowed)),
                         near ? fmt::format("did you mean `{}`?", *near) : "");
    }
  }

  std::optional<ModelRef> optional_model(const Node& map, std::string_view key) {
    const Node* node = map.find(key);
    if (node == nullptr || node->is_null()) return std::nullopt;
    return parse_model_ref(*node, diagnostics_);
  }

  std::optional<std::int64_t> layer(const Node& item, std::string_view key) {
    const Node* node = item.find(key);
    if (node == nullptr || node->is_null()) {
      diagnostics_.error(item.place, fmt::format("`{}` is missing in this entry of `layer_slices`", key));
      return std::nullopt;
    }
    const auto value = node->is_scalar() ? parse_integer(node->text) : std::nullopt;
    if (!value) diagnostics_.error(node->place, fmt::format("`{}` must be an integer", key));
    return value;
  }

  void read_slice(const Node& item, Stacking& out) {
    if (!item.is_map()) {
      diagnostics_.error(item.place, fmt::format("an entry of `layer_slices` must be a mapping, not {}", describe(item)));
      return;
    }
    check_keys(item, {"model", "start", "end", "scale"});
    StackedLayers slice;
    slice.place = item.place;
    const Node* model = item.find("model");
    if (model == nullptr) diagnostics_.error(item.place, "`model` is missing in this entry of `layer_slices`");
    const auto ref = model != nullptr ? parse_model_ref(*model, diagnostics_) : std::nullopt;
    const auto begin = layer(item, "start");
    const auto end = layer(item, "end");
    if (const Node* scale = item.find("scale"); scale != nullptr && !scale->is_null()) {
      slice.scale = scale->is_scalar() ? parse_number(scale->text) : std::nullopt;
      if (!slice.scale) diagnostics_.error(scale->place, "`scale` must be a number");
    }
    if (!ref || !begin || !end) return;
    slice.model = *ref;
    slice.begin = *begin;
    slice.end = *end;
    slice.shown = fmt::format("the range from {} to {}", *begin, *end);
    out.slices.push_back(std::move(slice));
  }

  Diagnostics& diagnostics_;
};

Stacking read_config(const std::string& path, const std::string& text, Diagnostics& diagnostics) {
  std::vector<Node> documents = parse_yaml(text, path, diagnostics);
  std::erase_if(documents, [](const Node& d) { return d.is_null(); });
  if (diagnostics.has_errors()) return {};
  if (documents.size() == 1) return Reader(diagnostics).read(documents.front());
  diagnostics.error({path, 0, 0}, fmt::format("the file holds {} documents; one is wanted", documents.size()));
  return {};
}

std::string read_text(const std::string& path) {
  try {
    return read_small_file(path, static_cast<std::int64_t>(YamlLimits{}.bytes));
  } catch (const Error& problem) {
    Diagnostics unreadable;
    unreadable.error({path, 0, 0}, fmt::format("the configuration cannot be read: {}", problem.what()));
    throw InputError(unreadable);
  }
}

// Shows the line of the configuration beside everything that is about a place in it.
void throw_with_lines(const Diagnostics& found, const std::string& text) {
  const LineIndex lines(without_byte_order_mark(text));
  Diagnostics shown;
  for (Diagnostic d : found.items()) {
    if (d.source_line.empty() && d.place.line > 0) d.source_line = lines.line_shown(d.place);
    shown.add(std::move(d));
  }
  shown.throw_if_errors();
}

int run_bakllama(BakllamaFlags& o) {
  if (o.fp16) o.front.dtype = "float16";
  const std::string text = read_text(o.config);
  Diagnostics diagnostics;
  Stacking stacking = read_config(o.config, text, diagnostics);
  stacking.dtype = dtype_of(o.front, diagnostics);
  const std::string recipe = stacking_recipe(stacking, make_request(o.front.merge).model_dirs, diagnostics);
  throw_with_lines(diagnostics, text);
  o.front.merge.overwrite = true;  // as mergekit's command does
  return run_recipe(o.front, "<bakllama>", recipe);
}

std::function<int()> declare_bakllama(CommandLine& line) {
  auto o = std::make_shared<BakllamaFlags>();
  line.option("config", o->config, "configuration (YAML) with layer_slices, embedding_source, lm_head_source").required();
  declare_front_end(line, o->front);
  line.flag("--fp16", o->fp16, "the same as --dtype float16");
  line.flag("--clone-tensors", o->clone_tensors, "no effect: tensors never share storage here").group("Accepted, without effect");
  return [o] { return run_bakllama(*o); };
}

}  // namespace

const Command& command_bakllama() {
  static const Command command = {"bakllama", "Stack layers as a configuration of mergekit's bakllama says", declare_bakllama};
  return command;
}

}  // namespace crucible
