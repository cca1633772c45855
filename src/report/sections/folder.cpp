// The files beside the weights: where each is from, which were left behind, and what reading all back found.
#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "report/section.h"

namespace crucible {
namespace {

std::string names_of(const RecordView& record, std::string_view origin) {
  std::string out;
  for (const RecordView::File& f : record.companions) {
    if (f.origin == origin) out += (out.empty() ? "" : ", ") + mono(f.name);
  }
  return out;
}

constexpr std::size_t kMostValue = 120;  // lists of a value per layer are long

void render_folder(const RecordView& record, Page& page) {
  std::vector<std::string> items;
  if (const std::string made = names_of(record, "rebuilt"); !made.empty()) items.push_back("made for this model: " + made);
  if (const std::string copied = names_of(record, "copied"); !copied.empty())
    items.push_back(fmt::format("copied from {}: {}", mono(record.companions_from), copied));
  if (!items.empty()) page.list(items);
  if (!record.config_changes.empty()) {
    Table table;
    table.caption = "What changed in " + mono("config.json");
    table.css_name = "config-changes";
    table.columns = {{"key", Kind::kText}, {"was", Kind::kCode}, {"is", Kind::kCode}, {"why", Kind::kText}};
    for (const RecordView::ConfigChange& c : record.config_changes)
      table.rows.push_back({mono(c.file.empty() ? c.key : c.file + ": " + c.key),
                            c.before.empty() ? "\u2013" : printable(c.before, kMostValue), printable(c.after, kMostValue), c.why});
    page.table(table);
  }
  if (!record.left_out.empty()) {
    Table table;
    table.caption = fmt::format("Files of {} that were left out", mono(record.companions_from));
    table.css_name = "left-out";
    table.columns = {{"file", Kind::kText}, {"why", Kind::kText}};
    for (const RecordView::LeftOut& l : record.left_out) table.rows.push_back({mono(l.name), l.reason});
    page.table(table);
  }
  if (!record.post_check) return;
  const RecordView::PostCheck& check = *record.post_check;
  page.paragraph(check.faults.empty() ? fmt::format("Everything was read back before the folder was put in place: {}, nothing wrong.",
                                                    render_count(check.checks, "check"))
                                      : "What was read back is not what was planned; the model was not put in place:");
  std::vector<std::string> told = check.faults;
  told.insert(told.end(), check.notices.begin(), check.notices.end());
  if (!told.empty()) page.list(told);
}

}  // namespace

const Section& section_folder() {
  static const Section section = {"folder", "Files beside the weights", 102,
                                  [](const RecordView& record) { return !record.companions_from.empty(); }, render_folder};
  return section;
}

}  // namespace crucible
