#include "plan/donor.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text_util.h"
#include "checkpoint/companions.h"
#include "io/file.h"

namespace crucible {
namespace {

// The weights that the merge reads, and their indices.
bool is_read(const PlanInput& input, const std::string& name) {
  const auto& files = input.checkpoint.files();
  return name.ends_with(".safetensors.index.json") ||
         std::any_of(files.begin(), files.end(), [&](const WeightFile& f) { return f.name == name; });
}

bool is_made(const Plan& plan, const std::string& name) {
  return std::any_of(plan.parts.begin(), plan.parts.end(), [&](const PlanPart& part) { return part.config_name() == name; });
}

}  // namespace

int find_donor(const Plan& plan, Diagnostics& diagnostics) {
  const int usual = plan.base.value_or(0);
  const std::string& wanted = plan.options.copy_from;
  if (wanted.empty()) return usual;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    const ModelRef& ref = plan.inputs[i].ref;
    if (wanted == ref.text() || wanted == ref.model.path || wanted == ref.model.path + "@" + ref.model.revision) return static_cast<int>(i);
    names.push_back(ref.text());
  }
  diagnostics.error({}, fmt::format("--copy-from {}: the recipe names no such model", printable(wanted, 400)),
                    "it names " + printable(join_names(names), 400));
  return usual;
}

void choose_companions(Plan& plan, Diagnostics& diagnostics) {
  const PlanInput& donor = plan.inputs[static_cast<std::size_t>(plan.donor)];
  if (!is_folder(donor.path)) return;
  Diagnostics told;  // when it was opened
  std::vector<std::string> code;
  for (FolderFile& file : survey_folder(donor.path, told)) {
    if (is_read(donor, file.name)) continue;  // nothing of it is left out: it was merged
    if (!file.left_out.empty()) {
      plan.left_out.push_back(std::move(file));
    } else if (!is_made(plan, file.name)) {
      if (file.is_code) code.push_back(printable(file.name));
      plan.companions.push_back(std::move(file.name));
    }
  }
  if (code.empty()) return;
  diagnostics.notice({}, fmt::format("code of {} is copied into the output: {}", donor.ref.text(), join_names(code, 20)),
                     "loaders run it when they are told to trust remote code: read it first");
}

}  // namespace crucible
