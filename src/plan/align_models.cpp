#include "plan/align_models.h"

#include <map>

#include <fmt/format.h>

#include "arch/align.h"
#include "arch/config_edit.h"
#include "arch/parts.h"
#include "base/text_util.h"
#include "base/units.h"
#include "tensor/tensor_infos.h"

namespace crucible {
namespace {

bool same_names(const Checkpoint& a, const Checkpoint& b) {
  const auto& x = a.tensors();
  const auto& y = b.tensors();
  if (x.size() != y.size()) return false;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i].info.name != y[i].info.name) return false;
  }
  return true;
}

ViewTensor view_of(int input, const Checkpoint& checkpoint, AlignedTensor aligned) {
  ViewTensor tensor;
  tensor.info = std::move(aligned.info);
  for (const AlignedPiece& p : aligned.pieces) tensor.pieces.push_back({input, &checkpoint.tensors()[p.tensor], p.begin, p.count});
  const bool is_whole = tensor.pieces.size() == 1 && tensor.pieces.front().count == elem_count(tensor.pieces.front().tensor->info.shape);
  tensor.bytes = is_whole ? tensor.pieces.front().tensor->bytes : byte_count(tensor.info);
  if (aligned.is_mapped) tensor.how = "stored as " + tensor.stored_name();
  return tensor;
}

// Two stored tensors with one name in the end, or pieces whose elements do not fill whole bytes.
bool check_view(const std::vector<ViewTensor>& tensors, const PlanInput& input, Diagnostics& diagnostics) {
  std::map<std::string_view, const ViewTensor*> known;
  bool good = true;
  for (const ViewTensor& t : tensors) {
    const auto [it, fresh] = known.emplace(t.info.name, &t);
    if (fresh) continue;
    diagnostics.error(input.ref.place,
                      fmt::format("{} holds tensor {} in two spellings: {} and {}", input.ref.text(), printable(t.info.name),
                                  printable(it->second->stored_name()), printable(t.stored_name())));
    good = false;
  }
  return good;
}

}  // namespace

namespace {

// The tensors of one input, part by part under the names in their files.
struct SplitInput {
  explicit SplitInput(const PlanInput& input)
      : parts(input.checkpoint.parts()), split(split_by_part(tensor_infos(input.checkpoint.tensors()), parts)) {}
  const PartTensors* find(const std::string& folder) const {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      if (parts[p].folder == folder) return &split[p];
    }
    return nullptr;
  }
  const std::vector<ModelPart>& parts;
  std::vector<PartTensors> split;
};

// One input against the donor. Where any difference is found, and then only, `tensors` becomes all that it has under the donor's names.
bool align_input(const Plan& plan, std::size_t number, const SplitInput& donors, std::vector<ViewTensor>& tensors,
                 Diagnostics& diagnostics) {
  const PlanInput& input = plan.inputs[number];
  const SplitInput own(input);
  bool differs = false;
  std::vector<Alignment> aligned;  // by part
  for (std::size_t p = 0; p < own.parts.size(); ++p) {
    static const PartTensors none;
    const PartTensors* donor = donors.find(own.parts[p].folder);
    const std::string model_type = config_value(own.parts[p].config_text, "model_type").value_or("");
    const std::string bare = model_type.size() > 2 ? model_type.substr(1, model_type.size() - 2) : std::string();
    aligned.push_back(align_names(donor != nullptr ? donor->tensors : none.tensors, own.split[p].tensors, bare));
    const std::string& folder = own.parts[p].folder;
    const std::string model = folder.empty() ? input.ref.text() : fmt::format("{} ({}/)", input.ref.text(), printable(folder));
    for (const std::string& problem : aligned[p].problems) diagnostics.error(input.ref.place, fmt::format("{}: {}", model, problem));
    for (const AlignedRule& rule : aligned[p].rules) {
      diagnostics.notice(input.ref.place, fmt::format("{} spells {} otherwise than {}, and they were matched: {}", model,
                                                      render_count(rule.tensors, "tensor"),
                                                      plan.inputs[static_cast<std::size_t>(plan.donor)].ref.text(), rule.text));
    }
    differs = differs || !aligned[p].rules.empty();
  }
  if (!differs) return false;
  for (std::size_t p = 0; p < own.parts.size(); ++p) {
    for (AlignedTensor& t : aligned[p].tensors) {
      t.info.name = name_below(own.parts[p].folder, t.info.name);
      for (AlignedPiece& piece : t.pieces) piece.tensor = own.split[p].index[piece.tensor];
      tensors.push_back(view_of(static_cast<int>(number), input.checkpoint, std::move(t)));
    }
  }
  return true;
}

}  // namespace

void align_names_of(Plan& plan, Diagnostics& diagnostics) {
  const PlanInput& donor = plan.inputs[static_cast<std::size_t>(plan.donor)];
  const SplitInput reference(donor);
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    PlanInput& input = plan.inputs[i];
    if (static_cast<int>(i) == plan.donor || same_names(input.checkpoint, donor.checkpoint)) continue;
    std::vector<ViewTensor> tensors;
    if (align_input(plan, i, reference, tensors, diagnostics) && check_view(tensors, input, diagnostics))
      input.view = std::make_shared<const ModelView>(std::move(tensors));
  }
}

Vocabularies vocabularies_of(const Plan& plan) {
  Vocabularies all;
  for (const PlanInput& input : plan.inputs) {
    const auto split = split_by_part(tensor_infos(input.view->tensors()), input.checkpoint.parts());
    all.push_back(vocabulary_of(split.front().tensors, input.checkpoint.config_text()));
  }
  return all;
}

void align_models(Plan& plan, Diagnostics& diagnostics) {
  align_names_of(plan, diagnostics);
  if (diagnostics.has_errors()) return;
  const Vocabularies vocabularies = vocabularies_of(plan);
  settle_heads(plan, vocabularies, diagnostics);
  pad_vocabularies(plan, vocabularies, diagnostics);
}

}  // namespace crucible
