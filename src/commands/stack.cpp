// crucible stack: layers of models put on top of one another (a passthrough merge of slices).
#include <fmt/format.h>

#include "base/text_util.h"
#include "commands/command.h"
#include "commands/shared/front_end.h"
#include "commands/shared/stacking.h"

namespace crucible {
namespace {

constexpr std::string_view kForm = "write MODEL:BEGIN-END, END not included: ./a:0-16; MODEL:8- is all from 8, MODEL alone all layers";

struct StackFlags {
  FrontEnd front;
  std::vector<std::string> layers;
  std::vector<std::string> scaled = {"o_proj", "down_proj"};
  double scale = 1;
  Option scale_option;
  std::string embedding;
  std::string head;
};

// BEGIN-END, BEGIN- or one layer. False: it is none of these.
bool parse_range(std::string_view text, StackedLayers& out) {
  const std::size_t dash = text.find('-', 1);
  const auto begin = parse_integer(text.substr(0, dash));
  if (!begin) return false;
  out.begin = *begin;
  if (dash == std::string_view::npos) {
    out.end = *begin + 1;
    return true;
  }
  if (dash + 1 == text.size()) return true;
  out.end = parse_integer(text.substr(dash + 1));
  return out.end.has_value();
}

// Cuts ":scale=X" and then ":BEGIN-END" off the end of an argument; the rest is the model, which may hold colons itself.
std::optional<StackedLayers> parse_layers(const std::string& argument, Diagnostics& diagnostics) {
  const std::string shown = fmt::format("--layers {}", printable(argument, 200));
  StackedLayers out;
  out.shown = shown;
  std::string rest = argument;
  const auto cut = [&rest]() -> std::string {
    const std::size_t colon = rest.rfind(':');
    return colon == std::string::npos ? std::string() : rest.substr(colon + 1);
  };
  if (const std::string last = cut(); last.starts_with("scale=")) {
    out.scale = parse_number(std::string_view(last).substr(6));
    if (!out.scale) {
      diagnostics.error({}, fmt::format("{}: `{}` is not a number", shown, printable(last.substr(6), 40)), "write MODEL:0-16:scale=0.7");
      return std::nullopt;
    }
    rest.resize(rest.rfind(':'));
  }
  const std::string last = cut();
  const bool has_range = rest.find(':') != std::string::npos;
  if (has_range && parse_range(last, out)) {
    rest.resize(rest.rfind(':'));
  } else if (has_range && (last.empty() || last.find('/') == std::string::npos)) {
    diagnostics.error({}, fmt::format("{}: `{}` is no range of layers", shown, printable(last, 40)), std::string(kForm));
    return std::nullopt;
  }
  const auto model = model_argument(rest, diagnostics);
  if (!model) return std::nullopt;
  out.model = *model;
  return out;
}

int run_stack(StackFlags& o) {
  Diagnostics diagnostics;
  Stacking stacking;
  stacking.scaled = o.scaled;
  stacking.dtype = dtype_of(o.front, diagnostics);
  for (const std::string& argument : o.layers) {
    auto slice = parse_layers(argument, diagnostics);
    if (!slice) continue;
    if (!slice->scale && o.scale_option.count() > 0) slice->scale = o.scale;
    stacking.slices.push_back(std::move(*slice));
  }
  if (!o.embedding.empty()) stacking.embedding = model_argument(o.embedding, diagnostics);
  if (!o.head.empty()) stacking.head = model_argument(o.head, diagnostics);
  const auto model_dirs = make_request(o.front.merge).model_dirs;
  const std::string recipe = stacking_recipe(stacking, model_dirs, diagnostics);
  diagnostics.throw_if_errors();
  return run_recipe(o.front, "<crucible stack>", recipe);
}

std::function<int()> declare_stack(CommandLine& line) {
  auto o = std::make_shared<StackFlags>();
  declare_front_end(line, o->front);
  line.option("--layers", o->layers,
              "MODEL:BEGIN-END[:scale=X]: the next layers of the output, END not included; MODEL:8- is all from 8, MODEL:5 one layer, "
              "MODEL alone all (repeatable, in the order of the output)")
      .required()
      .repeatable();
  o->scale_option = line.option("--scale", o->scale, "factor on the tensors that --scaled names, where --layers says none");
  line.option("--scaled", o->scaled, "part of the names of tensors that are scaled (repeatable)").repeatable().shows_default();
  line.option("--embedding", o->embedding, "model whose embedding is used (default: of the first --layers)");
  line.option("--head", o->head, "model whose head is used (default: of the last --layers)");
  return [o] { return run_stack(*o); };
}

}  // namespace

const Command& command_stack() {
  static const Command command = {"stack", "Put layers of models on top of one another (a frankenmerge)", declare_stack};
  return command;
}

}  // namespace crucible
