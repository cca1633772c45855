// crucible inspect: what a model folder or a weight file holds, from its headers.
#include <algorithm>
#include <cstdio>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "arch/parts.h"
#include "arch/vocabulary.h"
#include "base/text_util.h"
#include "base/units.h"
#include "checkpoint/locate.h"
#include "commands/command.h"
#include "commands/shared/process.h"
#include "crucible/checkpoint.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string path;
  bool json = false;
  bool tensors = false;
};

struct Sum {
  std::int64_t tensors = 0, amount = 0;  // bytes or elements
  void add(std::int64_t n) {
    ++tensors;
    amount += n;
  }
};

// All that is shown of a model, found once.
struct Findings {
  explicit Findings(const Checkpoint& model) : checkpoint(model) {
    by_part.resize(model.parts().size());
    for (const StoredTensor& s : model.tensors()) {
      by_part[model.files()[static_cast<std::size_t>(s.file)].part].add(s.bytes);
      infos.push_back(&s.info);
      bytes += s.bytes;
      elems += elem_count(s.info.shape);
      by_dtype[std::string(facts(s.info.dtype).name)].add(s.bytes);
    }
    stacks = find_layer_stacks(infos, model.parts());
    roles = infer_roles(infos, model.parts());
    vocabulary = vocabulary_of(split_by_part(infos, model.parts()).front().tensors, model.config_text());
    for (std::size_t i = 0; i < roles.size(); ++i) {
      const std::int64_t n = elem_count(infos[i]->shape);
      by_role[roles[i].path].add(n);
      auto& why = why_of[roles[i].path];
      ++why[roles[i].why];
      if (roles[i].tower != Tower::kNone) by_trait[std::string(to_string(roles[i].tower))].add(n);
      if (roles[i].is_bias) by_trait["bias"].add(n);
      if (roles[i].is_extra) by_trait["mtp"].add(n);
    }
  }

  // The reason that most tensors of a role have, and how many others there are.
  std::string why(const std::string& role) const {
    const auto& all = why_of.at(role);
    const auto most = std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    return most->first + (all.size() > 1 ? fmt::format(", and {} more", all.size() - 1) : std::string());
  }

  // Roles in the order of a forward pass, parts after their group.
  std::vector<std::string> role_order() const {
    std::vector<std::string> out;
    for (const std::string_view group : role_groups()) {
      for (const auto& [role, sum] : by_role) {
        if (std::string_view(role).substr(0, role.find('.')) == group) out.push_back(role);
      }
    }
    return out;
  }

  const Checkpoint& checkpoint;
  std::vector<const TensorInfo*> infos;
  std::vector<TensorRole> roles;
  std::vector<LayerStack> stacks;
  VocabularyFacts vocabulary;
  std::vector<Sum> by_part;  // in the order of Checkpoint::parts()
  std::map<std::string, Sum> by_dtype, by_role, by_trait;
  std::map<std::string, std::map<std::string, std::int64_t>> why_of;
  std::int64_t bytes = 0, elems = 0;
};

std::string stack_text(const LayerStack& s) {
  std::string out = fmt::format("layers {}: {}", printable(s.name), s.layers);
  if (s.tower != Tower::kNone) out += fmt::format(", {}", to_string(s.tower));
  if (!s.config_key.empty()) out += fmt::format(" ({}: {}", printable(name_below(s.folder, "config.json")), s.config_key);
  for (const std::string& key : s.also_keys) out += ", " + key;
  out += s.config_key.empty() ? " (no number of config.json agrees)" : ")";
  if (s.indices > s.layers) out += fmt::format("; {} extra behind them", s.indices - s.layers);
  if (s.is_main) out += "; layer_range cuts these";
  return out + "\n";
}

std::string tie_text(const VocabularyFacts& v) {
  if (v.embedding.empty() && v.head.empty()) return "no token embedding found";
  std::string out = fmt::format("embedding {}, {} rows; ", v.embedding.empty() ? "none" : printable(v.embedding), v.rows);
  if (!v.head.empty()) return out + "head " + printable(v.head);
  return out + (v.is_tied() ? "tied: it is the head too" : "no head stored");
}

void print_text(const Findings& f, bool tensors) {
  const Checkpoint& c = f.checkpoint;
  std::string out = fmt::format("{}\n{} elements in {}, {} in {}\n", c.path(), f.elems,
                                render_count(static_cast<std::int64_t>(c.tensors().size()), "tensor"), render_bytes(f.bytes),
                                render_count(static_cast<std::int64_t>(c.files().size()), "file"));
  for (const auto& [name, n] : f.by_dtype) out += fmt::format("  {:<6} {:>6} tensors  {}\n", name, n.tensors, render_bytes(n.amount));
  for (std::size_t p = 0; f.by_part.size() > 1 && p < f.by_part.size(); ++p) {
    if (f.by_part[p].tensors == 0) continue;
    const std::string& folder = c.parts()[p].folder;
    out += fmt::format("  part {:<22} {:>6} tensors  {}\n", folder.empty() ? "(the folder itself)" : printable(folder) + "/",
                       f.by_part[p].tensors, render_bytes(f.by_part[p].amount));
  }
  out += "roles, and what tells them\n";
  for (const std::string& role : f.role_order()) {
    const Sum& n = f.by_role.at(role);
    out += fmt::format("  {:<22} {:>6} tensors  {:>14} elements  {}\n", role, n.tensors, n.amount, printable(f.why(role)));
  }
  for (const auto& [name, n] : f.by_trait)
    out += fmt::format("  of them {:<14} {:>6} tensors  {:>14} elements\n", name, n.tensors, n.amount);
  for (const LayerStack& s : f.stacks) out += stack_text(s);
  out += fmt::format("vocabulary: {}\n", tie_text(f.vocabulary));
  if (!c.companion_files().empty()) out += fmt::format("other files: {}\n", join_names(c.companion_files(), 40));
  for (std::size_t i = 0; tensors && i < f.roles.size(); ++i) {
    const StoredTensor& s = c.tensors()[i];
    out += fmt::format("{}  {} {}  {} at byte {}\n    {}: {}\n", printable(s.info.name), facts(s.info.dtype).name, to_string(s.info.shape),
                       c.files()[static_cast<std::size_t>(s.file)].name, s.offset, f.roles[i].text(), printable(f.roles[i].why));
  }
  std::fputs(out.c_str(), stdout);
}

Json vocabulary_json(const VocabularyFacts& v) {
  Json out = {{"embedding", v.embedding}, {"head", v.head}, {"rows", v.rows}, {"tied", v.is_tied()}};
  if (v.config_size) out["config_size"] = *v.config_size;
  if (v.config_tied) out["config_tied"] = *v.config_tied;
  return out;
}

void print_json(const Findings& f) {
  const Checkpoint& c = f.checkpoint;
  Json out = {{"path", c.path()}, {"elements", f.elems}, {"bytes", f.bytes}};
  for (const WeightFile& file : c.files())
    out["files"].push_back({{"name", file.name}, {"bytes", file.size_bytes}, {"header_hash", file.header_hash}});
  for (std::size_t p = 0; f.by_part.size() > 1 && p < f.by_part.size(); ++p)
    out["parts"].push_back({{"folder", c.parts()[p].folder}, {"tensors", f.by_part[p].tensors}, {"bytes", f.by_part[p].amount}});
  for (const LayerStack& s : f.stacks) {
    out["layer_stacks"].push_back({{"name", s.name},
                                   {"layers", s.layers},
                                   {"config_key", s.config_key},
                                   {"also_keys", s.also_keys},
                                   {"tower", to_string(s.tower)},
                                   {"extra", s.indices - s.layers},
                                   {"main", s.is_main}});
    if (!s.folder.empty()) out["layer_stacks"].back()["part"] = s.folder;
  }
  for (const std::string& role : f.role_order()) {
    const Sum& n = f.by_role.at(role);
    out["roles"].push_back({{"role", role}, {"tensors", n.tensors}, {"elements", n.amount}, {"why", f.why(role)}});
  }
  for (const auto& [name, n] : f.by_trait) out["traits"].push_back({{"trait", name}, {"tensors", n.tensors}, {"elements", n.amount}});
  out["vocabulary"] = vocabulary_json(f.vocabulary);
  out["other_files"] = c.companion_files();
  for (std::size_t i = 0; i < f.roles.size(); ++i) {
    const StoredTensor& s = c.tensors()[i];
    const TensorRole& role = f.roles[i];
    Json tensor = {{"name", s.info.name},   {"dtype", facts(s.info.dtype).name},
                   {"shape", s.info.shape}, {"role", role.path},
                   {"why", role.why},       {"file", c.files()[static_cast<std::size_t>(s.file)].name},
                   {"offset", s.offset},    {"bytes", s.bytes}};
    if (role.tower != Tower::kNone) tensor["tower"] = to_string(role.tower);
    if (role.is_bias) tensor["bias"] = true;
    if (role.is_extra) tensor["mtp"] = true;
    if (const auto layer = parse_layer_name(s.info.name)) tensor["layer"] = layer->index;
    out["tensors"].push_back(std::move(tensor));
  }
  std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

int inspect(const InspectFlags& options) {
  Diagnostics diagnostics;
  LocateOptions locate;
  locate.mapping = LocateOptions::Mapping::kNone;
  const auto path = locate_model(options.path, {}, {}, locate, diagnostics);
  diagnostics.throw_if_errors();
  const Checkpoint checkpoint = Checkpoint::open(*path, diagnostics);
  diagnostics.throw_if_errors();
  print_diagnostics(diagnostics, Talk::kNormal);
  const Findings findings(checkpoint);
  if (options.json) {
    print_json(findings);
  } else {
    print_text(findings, options.tensors);
  }
  return 0;
}

std::function<int()> declare_inspect(CommandLine& line) {
  auto options = std::make_shared<InspectFlags>();
  line.option("path", options->path, "a model folder, a .safetensors file, or the id of a model in the local Hub cache").required();
  line.flag("--json", options->json, "print as JSON, every tensor included");
  line.flag("--tensors", options->tensors, "list every tensor, with its role and the reason");
  return [options] { return inspect(*options); };
}

}  // namespace

const Command& command_inspect() {
  static const Command command = {"inspect", "Show what a model folder or weight file holds", declare_inspect};
  return command;
}

}  // namespace crucible
