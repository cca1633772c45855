// Where models disagree about the sign, and who loses the votes.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/aggregate.h"
#include "report/numbers.h"
#include "report/section.h"

namespace crucible {
namespace {

double conflict_share(const Sums& s) { return s.conflict_elems > 0 ? s.sign_conflicts / s.conflict_elems : 0; }
double lost_share(const ModelSums& m) { return m.votes > 0 ? m.votes_lost / m.votes : 0; }

bool has_conflicts(const RecordView& record) {
  return record.sign_conflicts.value_or(0) > 0 ||
         std::any_of(record.tensors.begin(), record.tensors.end(), [](const auto& t) { return t.sign_conflicts.value_or(0) > 0; });
}

void render_signs(const RecordView& record, Page& page) {
  if (record.sign_conflicts && record.elems.value_or(0) > 0) {
    page.paragraph(fmt::format("The models disagree about the sign of {} of the elements ({} of {}).",
                               strong(percent(*record.sign_conflicts / *record.elems, 1)), grouped(*record.sign_conflicts),
                               grouped(*record.elems)));
  }
  Table votes;
  votes.columns = {{"model", Kind::kCode}, {"votes", Kind::kNumber}, {"lost", Kind::kNumber}, {"share lost", Kind::kNumber}};
  for (const RecordView::Model& m : record.models) {
    if (!(m.votes.value_or(0) > 0)) continue;
    Cell lost(percent(m.votes_lost.value_or(0) / *m.votes, 1));
    lost.bar = m.votes_lost.value_or(0) / *m.votes;
    votes.rows.push_back({m.name, grouped(*m.votes), grouped(m.votes_lost.value_or(0)), lost});
  }
  if (!votes.rows.empty()) {
    page.paragraph("Sign election: entries that a model brought in, and those of them that lost against the elected sign.");
    page.table(votes);
  }
  const LayerTable layers = add_up_layers(record);
  std::vector<std::string> groups = {"models disagree"};
  std::vector<std::size_t> which;
  for (std::size_t i = 0; i < layers.inputs.size(); ++i) {
    const bool any = std::any_of(layers.rows.begin(), layers.rows.end(),
                                 [&](const LayerRow& r) { return i < r.all.models.size() && r.all.models[i].votes > 0; });
    if (!any) continue;
    which.push_back(i);
    groups.push_back("votes lost by " + mono(record.model_name(layers.inputs[i])));
  }
  const auto value = [&](const Sums& sums, std::size_t g) {
    if (g == 0) return sums.conflict_elems > 0 ? conflict_share(sums) : std::nan("");
    const std::size_t i = which[g - 1];
    return i < sums.models.size() && sums.models[i].votes > 0 ? lost_share(sums.models[i]) : std::nan("");
  };
  double largest = 0;
  for (const LayerRow& row : layers.rows) {
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (const double v = value(row.all, g); v > largest) largest = v;
      for (const Sums& sums : row.by_role) {
        if (const double v = value(sums, g); v > largest) largest = v;
      }
    }
  }
  page.paragraph(fmt::format("By layer and role, in percent. Deeper colour: larger; the deepest is {}.", percent(largest, 1)));
  page.table(heat_table(layers, groups, [&](const Sums& sums, std::size_t g) {
    const double v = value(sums, g);
    if (std::isnan(v)) return Cell();
    Cell cell(fmt::format("{:.1f}", 100 * v));
    cell.heat = largest > 0 ? static_cast<int>(std::lround(10 * v / largest)) : 0;
    return cell;
  }));
}

}  // namespace

const Section& section_signs() {
  static const Section section = {"signs", "Sign conflicts and votes lost", 70, has_conflicts, render_signs};
  return section;
}

}  // namespace crucible
