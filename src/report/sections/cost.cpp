// Memory, speed and time.
#include <algorithm>

#include <fmt/format.h>

#include "report/numbers.h"
#include "report/section.h"

namespace crucible {
namespace {

void render_cost(const RecordView& record, Page& page) {
  const RecordView::Run& run = record.run;
  Table table;
  table.columns = {{"", Kind::kText}, {"", Kind::kNumber}, {"", Kind::kText}};
  table.css_name = "plain";
  const auto speed = [&](std::optional<double> bytes) {
    return bytes && run.seconds && *run.seconds > 0 ? bytes_text(*bytes / *run.seconds) + "/s" : std::string();
  };
  if (run.seconds) table.rows.push_back({"time", duration_text(*run.seconds), ""});
  if (run.bytes_read) table.rows.push_back({"read", bytes_text(run.bytes_read), speed(run.bytes_read)});
  if (run.bytes_written) table.rows.push_back({"written", bytes_text(run.bytes_written), speed(run.bytes_written)});
  if (run.peak_bytes) {
    std::string more;
    if (run.predicted_peak_bytes && *run.predicted_peak_bytes > 0) {
      more = fmt::format("predicted {}", bytes_text(run.predicted_peak_bytes));
    }
    table.rows.push_back({"peak memory", bytes_text(run.peak_bytes), more});
  }
  if (run.workers) {
    table.rows.push_back({"workers", compact(run.workers), run.cpu_level.empty() ? "" : "CPU level " + run.cpu_level});
  }
  page.table(table);
}

bool has_cost(const RecordView& record) { return record.run.seconds || record.run.bytes_read || record.run.peak_bytes; }

}  // namespace

const Section& section_cost() {
  static const Section section = {"cost", "Memory, speed and time", 120, has_cost, render_cost};
  return section;
}

}  // namespace crucible
