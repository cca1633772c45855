#include "commands/shared/model_layers.h"

#include <set>

#include <fmt/format.h>

#include "arch/parts.h"
#include "base/text_util.h"
#include "base/units.h"
#include "checkpoint/locate.h"
#include "crucible/checkpoint.h"
#include "tensor/tensor_infos.h"

namespace crucible {

const ModelLayers::Look& ModelLayers::look(const ModelRef& ref, Diagnostics& diagnostics) {
  const auto [it, is_new] = looks_.try_emplace(ref.text());
  Look& look = it->second;
  if (!is_new) return look;
  LocateOptions locate;
  locate.model_dirs = model_dirs_;
  const auto path = locate_model(ref.model.path, ref.model.revision, ref.place, locate, diagnostics);
  if (!path) return look;
  const int errors = diagnostics.error_count();
  const Checkpoint checkpoint = Checkpoint::open(*path, diagnostics);
  if (diagnostics.error_count() > errors) return look;
  look.opened = true;
  for (const StoredTensor& t : checkpoint.tensors()) look.names.push_back(t.info.name);
  const auto stacks = find_layer_stacks(tensor_infos(checkpoint.tensors()), checkpoint.parts());
  for (const LayerStack& s : stacks) {
    if (stacks.size() > 1 && !s.is_main) continue;
    look.layers = s.layers;
    return look;
  }
  std::vector<std::string> shown;
  shown.reserve(stacks.size());
  for (const LayerStack& s : stacks) shown.push_back(fmt::format("`{}` ({})", printable(s.name), render_count(s.layers, "layer")));
  diagnostics.error(ref.place,
                    stacks.empty() ? fmt::format("{} has no numbered layers", printable(ref.text(), 400))
                                   : fmt::format("{} has several stacks of layers: {}", printable(ref.text(), 400), join_names(shown)),
                    stacks.empty() ? "" : "write a recipe that slices one of them under modules:");
  return look;
}

std::optional<std::int64_t> ModelLayers::count(const ModelRef& ref, Diagnostics& diagnostics) { return look(ref, diagnostics).layers; }

std::vector<std::string> ModelLayers::outer_modules(const ModelRef& ref, Outer what, Diagnostics& diagnostics) {
  const Look& found = look(ref, diagnostics);
  const std::string_view wanted = what == Outer::kEmbedding ? "embedding" : "head";
  std::set<std::string> modules;
  for (const std::string& name : found.names) {
    if (parse_layer_name(name) || role_of_name(name).path != wanted) continue;
    const std::size_t dot = name.rfind('.');
    modules.insert(name.substr(0, dot));
  }
  if (modules.empty() && found.opened) {
    const bool head = what == Outer::kHead;
    diagnostics.error(ref.place, fmt::format("{} has no {} of its own", printable(ref.text(), 400), head ? "head" : "embedding"),
                      head ? "a model with tied embeddings uses its embedding as its head: name it as the source of the embedding, or a "
                             "model with a head"
                           : "");
  }
  return {modules.begin(), modules.end()};
}

}  // namespace crucible
