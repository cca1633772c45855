// What the recipe's reader and the methods had to say.
#include <fmt/format.h>

#include "base/units.h"
#include "report/section.h"

namespace crucible {
namespace {

void render_notices(const RecordView& record, Page& page) {
  std::vector<std::string> items;
  for (const RecordView::Notice& n : record.notices) {
    // The tables behind the first line have a section of their own.
    std::string item = n.text.substr(0, n.text.find('\n'));
    if (n.line > 0) item += " (" + mono(fmt::format("{}:{}:{}", record.recipe_file, n.line, n.column)) + ")";
    if (!n.hint.empty()) item += "; " + n.hint;
    items.push_back(std::move(item));
  }
  for (const RecordView::Remark& r : record.remarks) {
    std::string item = r.text;
    if (r.tensors > 0) item += " (" + render_count(r.tensors, "tensor") + (r.first.empty() ? "" : ", first " + mono(r.first)) + ")";
    items.push_back(std::move(item));
  }
  page.list(items);
}

}  // namespace

const Section& section_notices() {
  static const Section section = {"notices", "Notices", 100,
                                  [](const RecordView& record) { return !record.notices.empty() || !record.remarks.empty(); },
                                  render_notices};
  return section;
}

}  // namespace crucible
