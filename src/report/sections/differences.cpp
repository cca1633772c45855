// What the models disagree about apart from their weights, and what the output has.
#include <fmt/format.h>

#include "report/section.h"

namespace crucible {
namespace {

void render_differences(const RecordView& record, Page& page) {
  if (!record.companions_from.empty())
    page.paragraph(fmt::format("config.json and the files beside it are those of {}.", mono(record.companions_from)));
  for (const RecordView::Difference& d : record.differences) {
    Table table;
    table.caption = d.kind;
    table.css_name = "differences";
    table.columns = {{"key", Kind::kText}, {"file", Kind::kText}};
    for (const RecordView::Input& input : record.inputs)
      table.columns.push_back({mono(input.model) + (input.base ? " (base)" : ""), Kind::kCode});
    table.columns.push_back({"output", Kind::kCode, true});
    for (const RecordView::Difference::Row& row : d.rows) {
      std::vector<Cell> cells = {mono(row.key), row.file};
      cells.resize(2 + record.inputs.size(), Cell("\u2013"));
      for (const auto& [input, value] : row.values) {
        if (input >= 0) cells[2 + static_cast<std::size_t>(input)] = value;
      }
      cells.emplace_back(row.chosen);
      table.rows.push_back(std::move(cells));
    }
    page.table(table);
  }
}

}  // namespace

const Section& section_differences() {
  static const Section section = {"differences", "Where the models disagree", 95,
                                  [](const RecordView& record) { return !record.differences.empty(); }, render_differences};
  return section;
}

}  // namespace crucible
