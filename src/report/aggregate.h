// Measurements of tensors added up by layer and role: what stays readable, and small, for a model of any size.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/page.h"
#include "report/record_view.h"

namespace crucible {

struct ModelSums {
  double entries = 0, kept = 0, planned = 0;
  double votes = 0, votes_lost = 0;
  double square = 0;                   // of the norm
  double dot = 0, dot_out_square = 0;  // with the output, and the output's squared norm, where a cosine is recorded
  bool has_norm = false, has_cosine = false;
  double cosine() const;
};

struct Sums {
  std::int64_t tensors = 0;
  double elems = 0;
  double sign_conflicts = 0, conflict_elems = 0;
  double out_square = 0;
  bool has_out_norm = false;
  std::vector<ModelSums> models;  // as LayerTable::inputs
  void add(const RecordView::Tensor& tensor, const std::vector<int>& inputs);
};

struct LayerRow {
  std::string label;  // "layer 3", or a role outside of layers
  std::string stack;
  std::optional<int> layer;
  Sums all;
  std::vector<Sums> by_role;  // as LayerTable::roles
};

struct LayerTable {
  std::vector<int> inputs;         // models that take part, in the order of the recipe
  std::vector<std::string> roles;  // that occur in layers
  std::vector<LayerRow> rows;      // layers by stack and number, then what lies outside of layers
  bool several_stacks = false;
};

// Merged tensors only.
LayerTable add_up_layers(const RecordView& record);

// Inputs that take part in any merged tensor.
std::vector<int> merged_inputs(const RecordView& record);

// A table with a column for the whole layer and one for each role, once for each group; cells come from `cell(sums, group)`.
template <typename MakeCell>
Table heat_table(const LayerTable& layers, const std::vector<std::string>& groups, const MakeCell& cell) {
  Table table;
  table.css_name = "heat";
  table.tall = layers.rows.size() > 16;
  const bool with_roles = layers.roles.size() > 1;
  const int span = with_roles ? 1 + static_cast<int>(layers.roles.size()) : 1;
  table.columns.push_back({"layer", Kind::kText});
  table.groups.emplace_back("", 1);
  for (const std::string& group : groups) {
    table.groups.emplace_back(group, span);
    table.columns.push_back({"all", Kind::kNumber, true});
    if (with_roles) {
      for (const std::string& role : layers.roles) table.columns.push_back({role, Kind::kNumber});
    }
  }
  for (const LayerRow& row : layers.rows) {
    std::vector<Cell> cells = {Cell(row.label)};
    for (std::size_t g = 0; g < groups.size(); ++g) {
      cells.push_back(cell(row.all, g));
      if (!with_roles) continue;
      for (const Sums& sums : row.by_role) cells.push_back(cell(sums, g));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace crucible
