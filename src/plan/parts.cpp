#include "plan/parts.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/text_util.h"

namespace crucible {
namespace {

// A model may hold a part's tensors in other files than a folder's: their names say whose they are.
bool has_tensors_of(const PlanInput& input, const std::string& folder) {
  const auto& tensors = input.checkpoint.tensors();
  const auto at = std::lower_bound(tensors.begin(), tensors.end(), folder + "/",
                                   [](const StoredTensor& t, const std::string& name) { return t.info.name < name; });
  return at != tensors.end() && name_in_folder(at->info.name, folder).size() != at->info.name.size();
}

// The folders of parts of `of` whose tensors `in` lacks, as messages show them.
std::vector<std::string> parts_lacking(const PlanInput& in, const PlanInput& of) {
  std::vector<std::string> out;
  for (const ModelPart& part : of.checkpoint.parts()) {
    if (!part.folder.empty() && !has_tensors_of(in, part.folder)) out.push_back(printable(part.folder) + "/");
  }
  return out;
}

}  // namespace

void make_parts(Plan& plan, Diagnostics& diagnostics) {
  const PlanInput& donor = plan.inputs[static_cast<std::size_t>(plan.donor)];
  plan.parts.clear();
  for (const ModelPart& part : donor.checkpoint.parts()) plan.parts.push_back({part.folder, {}, {}, {}, {}});
  const MissingTensors policy = plan.options.missing;
  for (const PlanInput& input : plan.inputs) {
    const auto lacking = parts_lacking(input, donor);
    const auto more = parts_lacking(donor, input);
    if (!lacking.empty() && policy == MissingTensors::kError) {
      diagnostics.error(input.ref.place,
                        fmt::format("{} has no {}, which {} has", input.ref.text(), join_names(lacking, 8), donor.ref.text()),
                        "merge models of the same parts; --allow-missing takes such a part from the models that have it");
    }
    if (more.empty()) continue;
    if (policy == MissingTensors::kError) {
      diagnostics.error(donor.ref.place, fmt::format("{} has no {}, which {} has", donor.ref.text(), join_names(more, 8), input.ref.text()),
                        "merge models of the same parts; --allow-missing leaves out what only others have");
    } else if (policy == MissingTensors::kUnion) {
      diagnostics.error(input.ref.place,
                        fmt::format("the output would have {} of {}, and {}, which gives its other files, lists no such part",
                                    join_names(more, 8), input.ref.text(), donor.ref.text()),
                        "list the model with all parts first, or name it with --copy-from");
    }
  }
}

void edit_configs(Plan& plan, Diagnostics& diagnostics) {
  const auto& donors = plan.inputs[static_cast<std::size_t>(plan.donor)].checkpoint.parts();
  const auto dtype = plan.recipe.out_dtype ? plan.recipe.out_dtype : plan.recipe.dtype;
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    PlanPart& part = plan.parts[p];
    const std::string& before = donors[p].config_text;
    if (dtype) {
      // The loaders of parts take what stands there for arguments of their classes, and few know this one: nothing is added.
      const auto add = part.folder.empty() ? DtypeKey::kAddWhereAbsent : DtypeKey::kOnlyWherePresent;
      for (ConfigChange& change : dtype_changes(before, facts(*dtype).torch_name, add)) part.config_changes.push_back(std::move(change));
    }
    part.config_changes = effective_changes(before, part.config_changes);
    part.config_text = edit_config(before, part.config_changes, part.config_name(), diagnostics);
  }
}

}  // namespace crucible
