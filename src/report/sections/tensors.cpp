// Every tensor, by layer. Many of one role in one layer (experts) are one row; what is left out is said.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/units.h"
#include "report/aggregate.h"
#include "report/numbers.h"
#include "report/section.h"

namespace crucible {
namespace {

constexpr std::size_t kMostOfARole = 12;       // in one layer; beyond: one row for all
constexpr std::size_t kMostTensorRows = 2500;  // on the page

std::string shape_text(const RecordView::Tensor& t) {
  std::string out;
  for (const std::int64_t size : t.shape) out += (out.empty() ? "" : "\u00D7") + std::to_string(size);
  return out.empty() ? "scalar" : out;
}

std::string kept_text(double kept, double entries) { return entries > 0 ? fmt::format("{:.3f}", 100 * kept / entries) : "\u2013"; }

std::vector<Cell> row_of(const RecordView::Tensor& t, const std::vector<int>& inputs) {
  std::vector<Cell> row = {Cell(t.name), Cell(t.dtype), Cell(shape_text(t))};
  if (t.copied()) {
    row.emplace_back("copied from " + mono(t.copied_from) + (t.reason.empty() ? "" : ": " + t.reason));
    return row;
  }
  row.emplace_back(t.out_norm ? compact(t.out_norm) : "\u2013");
  for (const int input : inputs) {
    const auto m = std::find_if(t.models.begin(), t.models.end(), [&](const auto& s) { return s.input == input; });
    row.emplace_back(m == t.models.end() ? Cell("absent") : Cell(kept_text(m->kept.value_or(0), m->entries.value_or(0))));
  }
  return row;
}

std::vector<Cell> row_of_many(const std::vector<const RecordView::Tensor*>& tensors, const std::vector<int>& inputs) {
  Sums sums;
  double low = 1, high = 0;
  for (const RecordView::Tensor* t : tensors) {
    sums.add(*t, inputs);
    for (const RecordView::Source& s : t->models) {
      if (!(s.entries.value_or(0) > 0)) continue;
      low = std::min(low, s.kept.value_or(0) / *s.entries);
      high = std::max(high, s.kept.value_or(0) / *s.entries);
    }
  }
  const RecordView::Tensor& first = *tensors.front();
  Cell name(first.name);
  name.note = fmt::format("and {} more of role {}", tensors.size() - 1, first.role.empty() ? "other" : first.role);
  if (low <= high) name.note += fmt::format("; kept {:.3f} \u2026 {:.3f} %", 100 * low, 100 * high);
  std::vector<Cell> row = {name, Cell(first.dtype), Cell(shape_text(first)),
                           Cell(sums.has_out_norm ? compact(std::sqrt(sums.out_square)) : "\u2013")};
  for (const ModelSums& m : sums.models) row.emplace_back(kept_text(m.kept, m.entries));
  return row;
}

struct Group {
  std::string title;
  std::vector<const RecordView::Tensor*> tensors;
};

std::vector<Group> groups_of(const RecordView& record) {
  std::vector<Group> out;
  std::map<std::pair<std::string, int>, std::size_t> known;
  const auto in_layer = std::find_if(record.tensors.begin(), record.tensors.end(), [](const auto& t) { return t.layer.has_value(); });
  const bool several = std::any_of(in_layer, record.tensors.end(), [&](const auto& t) { return t.layer && t.stack != in_layer->stack; });
  for (const RecordView::Tensor& t : record.tensors) {
    const std::pair<std::string, int> key = t.layer ? std::pair(t.stack, *t.layer) : std::pair(std::string(), -1);
    const auto [at, is_new] = known.emplace(key, out.size());
    if (is_new) {
      out.push_back({!t.layer  ? "Outside layers"
                     : several ? fmt::format("{}, layer {}", mono(t.stack), *t.layer)
                               : fmt::format("Layer {}", *t.layer),
                     {}});
    }
    out[at->second].tensors.push_back(&t);
  }
  // A file lists its tensors by name, so layer 10 comes before layer 2.
  std::stable_sort(out.begin(), out.end(), [](const Group& a, const Group& b) {
    const RecordView::Tensor &x = *a.tensors.front(), &y = *b.tensors.front();
    return std::pair(x.layer ? x.stack : "", x.layer.value_or(-1)) < std::pair(y.layer ? y.stack : "", y.layer.value_or(-1));
  });
  return out;
}

void render_tensors(const RecordView& record, Page& page) {
  const std::vector<int> inputs = merged_inputs(record);
  const bool sparse = std::any_of(record.models.begin(), record.models.end(), [](const auto& m) { return m.entries.value_or(0) > 0; });
  const std::vector<int> shown_inputs = sparse ? inputs : std::vector<int>();
  std::size_t rows = 0, left_out = 0;
  page.html("<div class=\"many\">\n");
  for (const Group& group : groups_of(record)) {
    Table table;
    table.css_name = "tensors";
    table.columns = {{"tensor", Kind::kCode}, {"type", Kind::kText}, {"shape", Kind::kNumber}, {"norm of the change", Kind::kNumber}};
    for (const int input : shown_inputs) table.columns.push_back({"% kept, " + mono(record.model_name(input)), Kind::kNumber});
    std::map<std::string, std::vector<const RecordView::Tensor*>> by_role;
    for (const RecordView::Tensor* t : group.tensors) {
      if (!t->copied()) by_role[t->role].push_back(t);
    }
    std::vector<std::string> folded;
    for (const RecordView::Tensor* t : group.tensors) {
      if (rows >= kMostTensorRows) {
        ++left_out;
        continue;
      }
      if (!t->copied() && by_role[t->role].size() > kMostOfARole) {
        if (std::find(folded.begin(), folded.end(), t->role) != folded.end()) continue;
        folded.push_back(t->role);
        table.rows.push_back(row_of_many(by_role[t->role], shown_inputs));
      } else {
        table.rows.push_back(row_of(*t, shown_inputs));
      }
      ++rows;
    }
    if (table.rows.empty()) continue;
    page.open_details(fmt::format("{}: {}", group.title, render_count(static_cast<std::int64_t>(group.tensors.size()), "tensor")));
    page.table(table);
    page.close_details();
  }
  page.html("</div>\n");
  std::string note = fmt::format("{} has every number of every tensor.", mono("crucible report --format json"));
  if (left_out > 0) note = fmt::format("{} are not listed here. ", render_count(static_cast<std::int64_t>(left_out), "tensor")) + note;
  page.paragraph(note);
}

}  // namespace

const Section& section_tensors() {
  static const Section section = {"tensors", "Tensors", 105, [](const RecordView& record) { return !record.tensors.empty(); },
                                  render_tensors};
  return section;
}

}  // namespace crucible
