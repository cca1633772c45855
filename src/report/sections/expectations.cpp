// Every kind of check, worst first.
#include <cmath>

#include <fmt/format.h>

#include "report/numbers.h"
#include "report/section.h"
#include "report/verdict.h"

namespace crucible {
namespace {

constexpr std::size_t kMostExpectations = 300;

void render_expectations(const RecordView& record, Page& page) {
  const auto rows = worst_first(record);
  page.paragraph(
      "One row for each parameter, model and kind of check: the worst of its checks. Counts of random choices are held against their "
      "standard deviation (\u03C3), exact ones against a tolerance.");
  Table table;
  table.css_name = "expectations";
  table.filter = "Filter the checks";
  table.tall = rows.size() > 24;
  table.columns = {{"parameter", Kind::kCode},  {"what", Kind::kText},      {"model", Kind::kCode},
                   {"measured", Kind::kNumber}, {"planned", Kind::kNumber}, {"deviation", Kind::kNumber},
                   {"checks", Kind::kNumber},   {"", Kind::kText},          {"worst in", Kind::kCode}};
  for (std::size_t i = 0; i < std::min(rows.size(), kMostExpectations); ++i) {
    const RecordView::Expectation& e = rows[i];
    const auto [measured, planned] = compact_pair(e.measured, e.planned);
    Cell deviation("\u2013"), ok(e.ok ? "\u2713 ok" : "\u2717 contradicts");
    if (e.sigmas) {
      deviation.text = sigmas_text(*e.sigmas);
    } else if (e.measured && e.planned) {
      deviation.text = compact(*e.measured - *e.planned);
    }
    if (e.tolerance) deviation.note = "\u00B1" + compact(e.tolerance) + (e.sigmas ? " \u03C3 allowed" : " allowed");
    ok.tone = e.ok ? Tone::kGood : Tone::kBad;
    if (!e.ok) deviation.tone = Tone::kBad;
    table.rows.push_back({e.parameter, e.what, e.model, measured, planned, deviation, grouped(static_cast<double>(e.count)), ok, e.tensor});
  }
  page.table(table);
  if (rows.size() > kMostExpectations) {
    page.paragraph(
        fmt::format("The worst {} of {} are shown; {} has all.", kMostExpectations, rows.size(), mono("crucible report --format json")));
  }
}

}  // namespace

const Section& section_expectations() {
  static const Section section = {"expectations", "Checks, worst first", 90,
                                  [](const RecordView& record) { return !record.expectations.empty(); }, render_expectations};
  return section;
}

}  // namespace crucible
