#include "report/aggregate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "arch/roles.h"

namespace crucible {
namespace {

// The order in which a forward pass meets them; roles that are not here come after, by name.

std::size_t rank_of(const std::string& role) {
  const auto& order = role_groups();
  return static_cast<std::size_t>(std::find(order.begin(), order.end(), role) - order.begin());
}

bool role_before(const std::string& a, const std::string& b) {
  const std::size_t i = rank_of(a), j = rank_of(b);
  return i != j ? i < j : a < b;
}

}  // namespace

double ModelSums::cosine() const {
  const double size = std::sqrt(square * dot_out_square);
  return size > 0 ? std::clamp(dot / size, -1.0, 1.0) : std::nan("");
}

void Sums::add(const RecordView::Tensor& tensor, const std::vector<int>& inputs) {
  if (models.empty()) models.resize(inputs.size());
  ++tensors;
  elems += tensor.elems;
  if (tensor.sign_conflicts) {
    sign_conflicts += *tensor.sign_conflicts;
    conflict_elems += tensor.elems;
  }
  if (tensor.out_norm) {
    out_square += *tensor.out_norm * *tensor.out_norm;
    has_out_norm = true;
  }
  for (const RecordView::Source& source : tensor.models) {
    const auto at = std::find(inputs.begin(), inputs.end(), source.input);
    if (at == inputs.end()) continue;
    ModelSums& m = models[static_cast<std::size_t>(at - inputs.begin())];
    m.entries += source.entries.value_or(0);
    m.kept += source.kept.value_or(0);
    m.planned += source.planned.value_or(0);
    m.votes += source.votes.value_or(0);
    m.votes_lost += source.votes_lost.value_or(0);
    if (!source.norm) continue;
    m.square += *source.norm * *source.norm;
    m.has_norm = true;
    if (source.cosine && tensor.out_norm) {
      m.dot += *source.cosine * *source.norm * *tensor.out_norm;
      m.dot_out_square += *tensor.out_norm * *tensor.out_norm;
      m.has_cosine = true;
    }
  }
}

std::vector<int> merged_inputs(const RecordView& record) {
  std::vector<int> out;
  const auto add = [&](int input) {
    if (input >= 0 && std::find(out.begin(), out.end(), input) == out.end()) out.push_back(input);
  };
  for (const RecordView::Model& model : record.models) add(model.input);
  for (const RecordView::Tensor& tensor : record.tensors) {
    for (const RecordView::Source& source : tensor.models) add(source.input);
  }
  return out;
}

LayerTable add_up_layers(const RecordView& record) {
  LayerTable out;
  out.inputs = merged_inputs(record);
  std::vector<std::string> stacks;
  for (const RecordView::Tensor& t : record.tensors) {
    if (t.copied() || !t.layer) continue;
    if (std::find(stacks.begin(), stacks.end(), t.stack) == stacks.end()) stacks.push_back(t.stack);
    if (std::find(out.roles.begin(), out.roles.end(), t.role) == out.roles.end()) out.roles.push_back(t.role);
  }
  std::sort(out.roles.begin(), out.roles.end(), role_before);
  out.several_stacks = stacks.size() > 1;
  std::map<std::pair<std::size_t, int>, LayerRow> layers;
  std::map<std::pair<std::size_t, std::string>, LayerRow> outside;
  for (const RecordView::Tensor& t : record.tensors) {
    if (t.copied()) continue;
    if (!t.layer) {
      LayerRow& row = outside[{rank_of(t.role), t.role}];
      row.label = t.role.empty() ? "outside layers" : t.role;
      row.all.add(t, out.inputs);
      continue;
    }
    const auto stack = static_cast<std::size_t>(std::find(stacks.begin(), stacks.end(), t.stack) - stacks.begin());
    LayerRow& row = layers[{stack, *t.layer}];
    if (row.by_role.empty()) {
      row.by_role.resize(out.roles.size());
      row.layer = t.layer;
      row.stack = t.stack;
      row.label = out.several_stacks && !t.stack.empty() ? fmt::format("{} {}", t.stack, *t.layer) : fmt::format("{}", *t.layer);
    }
    row.all.add(t, out.inputs);
    row.by_role[static_cast<std::size_t>(std::find(out.roles.begin(), out.roles.end(), t.role) - out.roles.begin())].add(t, out.inputs);
  }
  for (auto& [key, row] : layers) out.rows.push_back(std::move(row));
  for (auto& [key, row] : outside) {
    row.by_role.resize(out.roles.size());
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace crucible
