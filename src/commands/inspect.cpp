// crucible inspect: what a model folder or a weight file holds, from its headers.
#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "arch/layers.h"
#include "base/text_util.h"
#include "base/units.h"
#include "checkpoint/locate.h"
#include "commands/command.h"
#include "commands/shared/process.h"
#include "crucible/checkpoint.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string path;
  bool json = false;
  bool tensors = false;
};

struct Totals {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> by_dtype;  // tensors, bytes
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> by_role;   // tensors, elements
  std::int64_t bytes = 0;
  std::int64_t elems = 0;
};

Totals total(const Checkpoint& checkpoint) {
  Totals t;
  for (const StoredTensor& s : checkpoint.tensors()) {
    auto& dtype = t.by_dtype[std::string(facts(s.info.dtype).name)];
    auto& role = t.by_role[std::string(to_string(role_of(s.info.name)))];
    ++dtype.first;
    dtype.second += s.bytes;
    ++role.first;
    role.second += elem_count(s.info.shape);
    t.bytes += s.bytes;
    t.elems += elem_count(s.info.shape);
  }
  return t;
}

std::vector<LayerStack> stacks_of(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const StoredTensor& s : checkpoint.tensors()) names.push_back(s.info.name);
  return find_layer_stacks(names, checkpoint.config_text());
}

void print_text(const Checkpoint& checkpoint, bool tensors) {
  const Totals t = total(checkpoint);
  std::string out = fmt::format("{}\n{} elements in {}, {} in {}\n", checkpoint.path(), t.elems,
                                render_count(static_cast<std::int64_t>(checkpoint.tensors().size()), "tensor"), render_bytes(t.bytes),
                                render_count(static_cast<std::int64_t>(checkpoint.files().size()), "file"));
  for (const auto& [name, n] : t.by_dtype) out += fmt::format("  {:<6} {:>6} tensors  {}\n", name, n.first, render_bytes(n.second));
  out += "roles, as far as names tell\n";
  for (const auto& [name, n] : t.by_role) out += fmt::format("  {:<10} {:>6} tensors  {} elements\n", name, n.first, n.second);
  for (const LayerStack& s : stacks_of(checkpoint)) {
    out +=
        fmt::format("layers {}: {}{}\n", printable(s.name), s.layers, s.config_key.empty() ? "" : " (config.json: " + s.config_key + ")");
  }
  if (!checkpoint.companion_files().empty()) out += fmt::format("other files: {}\n", join_names(checkpoint.companion_files(), 40));
  if (tensors) {
    for (const StoredTensor& s : checkpoint.tensors()) {
      out += fmt::format("{}  {} {}  {} at byte {}\n", printable(s.info.name), facts(s.info.dtype).name, to_string(s.info.shape),
                         checkpoint.files()[static_cast<std::size_t>(s.file)].name, s.offset);
    }
  }
  std::fputs(out.c_str(), stdout);
}

void print_json(const Checkpoint& checkpoint) {
  const Totals t = total(checkpoint);
  Json out = {{"path", checkpoint.path()}, {"elements", t.elems}, {"bytes", t.bytes}};
  for (const WeightFile& f : checkpoint.files())
    out["files"].push_back({{"name", f.name}, {"bytes", f.size_bytes}, {"header_hash", f.header_hash}});
  for (const LayerStack& s : stacks_of(checkpoint))
    out["layer_stacks"].push_back({{"name", s.name}, {"layers", s.layers}, {"config_key", s.config_key}});
  out["other_files"] = checkpoint.companion_files();
  for (const StoredTensor& s : checkpoint.tensors()) {
    Json tensor = {{"name", s.info.name},
                   {"dtype", facts(s.info.dtype).name},
                   {"shape", s.info.shape},
                   {"role", to_string(role_of(s.info.name))},
                   {"file", checkpoint.files()[static_cast<std::size_t>(s.file)].name},
                   {"offset", s.offset},
                   {"bytes", s.bytes}};
    if (const auto layer = parse_layer_name(s.info.name)) tensor["layer"] = layer->index;
    out["tensors"].push_back(std::move(tensor));
  }
  std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

int inspect(const Options& options) {
  Diagnostics diagnostics;
  LocateOptions locate;
  locate.mapping = LocateOptions::Mapping::kNone;
  const auto path = locate_model(options.path, {}, {}, locate, diagnostics);
  diagnostics.throw_if_errors();
  const Checkpoint checkpoint = Checkpoint::open(*path, diagnostics);
  diagnostics.throw_if_errors();
  print_diagnostics(diagnostics, Talk::kNormal);
  if (options.json) {
    print_json(checkpoint);
  } else {
    print_text(checkpoint, options.tensors);
  }
  return 0;
}

std::function<int()> declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("path", options->path, "a model folder, a .safetensors file, or the id of a model in the local Hub cache")->required();
  app.add_flag("--json", options->json, "print as JSON, every tensor included");
  app.add_flag("--tensors", options->tensors, "list every tensor");
  return [options] { return inspect(*options); };
}

}  // namespace

const Command& command_inspect() {
  static const Command command = {"inspect", "Show what a model folder or weight file holds", declare};
  return command;
}

}  // namespace crucible
