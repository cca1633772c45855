// Distributions before and after, as overlaid histograms of magnitudes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "report/html.h"
#include "report/numbers.h"
#include "report/section.h"
#include "report/svg.h"

namespace crucible {
namespace {

const double kLog2 = std::log10(2.0);

double total_of(const RecordView::Histogram& h) { return h.zeros + std::accumulate(h.counts.begin(), h.counts.end(), 0.0); }

struct Drawn {
  const RecordView::Histogram* histogram = nullptr;
  std::string name;
  std::string css;
  bool filled = false;
};

// Steps of log10(share of the entries) over log10(magnitude).
std::vector<PlotPoint> steps(const RecordView::Histogram& h, double floor) {
  std::vector<PlotPoint> out;
  const double total = total_of(h);
  const auto level = [&](std::size_t i) { return h.counts[i] > 0 ? std::max(std::log10(h.counts[i] / total), floor) : floor; };
  std::size_t first = 0, last = h.counts.size();
  while (first < last && !(h.counts[first] > 0)) ++first;
  while (last > first && !(h.counts[last - 1] > 0)) --last;
  if (first == last) return out;
  const auto edge = [&](std::size_t i) { return (h.first_exponent + static_cast<double>(i)) * kLog2; };
  out.push_back({edge(first), floor});
  for (std::size_t i = first; i < last; ++i) {
    out.push_back({edge(i), level(i)});
    out.push_back({edge(i + 1), level(i)});
  }
  out.push_back({edge(last), floor});
  return out;
}

std::string chart(const std::vector<Drawn>& drawn, const std::string& label) {
  double low_x = std::numeric_limits<double>::max(), high_x = std::numeric_limits<double>::lowest(), low_y = -1, high_y = -1;
  for (const Drawn& d : drawn) {
    const double total = total_of(*d.histogram);
    for (std::size_t i = 0; i < d.histogram->counts.size(); ++i) {
      if (!(d.histogram->counts[i] > 0)) continue;
      const double at = (d.histogram->first_exponent + static_cast<double>(i)) * kLog2, y = std::log10(d.histogram->counts[i] / total);
      low_x = std::min(low_x, at);
      high_x = std::max(high_x, at + kLog2);
      low_y = std::min(low_y, y);
      high_y = std::max(high_y, y);
    }
  }
  if (low_x > high_x) return {};
  low_y = std::max(std::floor(low_y), -8.0);
  Axis y{low_y, high_y + 0.12, {}, ""};
  for (int power = static_cast<int>(low_y); power <= high_y + 0.12; ++power) {
    y.ticks.emplace_back(power, power == 0    ? "100 %"
                                : power == -1 ? "10 %"
                                : power == -2 ? "1 %"
                                : power == -3 ? "0.1 %"
                                              : fmt::format("10^{}", power));
  }
  Plot plot({400, 232, 46, 12, 12, 36}, power_axis(low_x, high_x, 6, "magnitude"), y, label, "hist");
  for (const Drawn& d : drawn) {
    const auto outline = steps(*d.histogram, low_y);
    if (d.filled) plot.area(outline, low_y, d.css);
    plot.line(outline, d.css);
  }
  return plot.finish();
}

std::string legend(const std::vector<Drawn>& drawn) {
  std::string out = "<ul class=\"legend\">";
  for (const Drawn& d : drawn) {
    const double zeros = total_of(*d.histogram) > 0 ? d.histogram->zeros / total_of(*d.histogram) : 0;
    out += fmt::format(
        "<li><svg viewBox=\"0 0 26 12\" width=\"26\" height=\"12\" aria-hidden=\"true\">{}<path class=\"l {}\" d=\"M0 "
        "6H26\"/></svg>{}{}</li>",
        d.filled ? fmt::format("<rect class=\"f {}\" y=\"1\" width=\"26\" height=\"10\"/>", d.css) : "", d.css, escape_html(d.name),
        zeros > 0 ? fmt::format("<small>{} exactly 0</small>", percent(zeros, zeros < 0.001 ? 4 : 1)) : "");
  }
  return out + "</ul>";
}

// Same kinds of values belong on one chart; a model's own before and after together.
struct Chart {
  std::string title;
  std::vector<Drawn> drawn;
};

bool is_after(const RecordView::Histogram& h) { return !h.input; }

std::vector<Chart> charts_of(const RecordView& record) {
  std::vector<Chart> out;
  const RecordView::Histogram* change = nullptr;
  const RecordView::Histogram* result = nullptr;
  for (const RecordView::Histogram& h : record.histograms) {
    if (is_after(h)) (h.of == "result" ? result : change) = &h;
  }
  std::vector<int> inputs;
  for (const RecordView::Histogram& h : record.histograms) {
    if (h.input && std::find(inputs.begin(), inputs.end(), *h.input) == inputs.end()) inputs.push_back(*h.input);
  }
  int series = 0;
  for (const int input : inputs) {
    Chart chart{mono(record.model_name(input)), {}};
    bool is_vector = false;
    for (const RecordView::Histogram& h : record.histograms) {
      if (!h.input || *h.input != input) continue;
      const bool first = chart.drawn.empty();
      is_vector = is_vector || h.of != "input";
      chart.drawn.push_back({&h, first ? h.of + ", before" : h.of, fmt::format("s{}{}", series % kSeriesLooks, first ? "" : " d"), first});
    }
    const RecordView::Histogram* after = is_vector ? change : result;
    if (after != nullptr) chart.drawn.push_back({after, after->of + ", after", "out", false});
    out.push_back(std::move(chart));
    ++series;
  }
  const bool result_shown = std::any_of(out.begin(), out.end(), [&](const Chart& c) {
    return std::any_of(c.drawn.begin(), c.drawn.end(), [&](const Drawn& d) { return d.histogram == result; });
  });
  if (result != nullptr && !result_shown) out.push_back({"Result: the weights written", {{result, "result", "out", true}}});
  return out;
}

Table numbers(const RecordView& record) {
  Table table;
  table.columns = {{"magnitude from", Kind::kNumber}};
  int low = std::numeric_limits<int>::max(), high = std::numeric_limits<int>::lowest();
  for (const RecordView::Histogram& h : record.histograms) {
    std::string name = h.of;
    if (h.input) name += " " + mono(record.model_name(*h.input));
    table.columns.push_back({name, Kind::kNumber});
    for (std::size_t i = 0; i < h.counts.size(); ++i) {
      if (!(h.counts[i] > 0)) continue;
      low = std::min(low, h.first_exponent + static_cast<int>(i));
      high = std::max(high, h.first_exponent + static_cast<int>(i));
    }
  }
  std::vector<Cell> zeros = {Cell("exactly 0")};
  for (const RecordView::Histogram& h : record.histograms) zeros.emplace_back(grouped(h.zeros));
  table.rows.push_back(std::move(zeros));
  for (int e = low; e <= high; ++e) {
    std::vector<Cell> row = {Cell(compact(std::ldexp(1.0, e)))};
    for (const RecordView::Histogram& h : record.histograms) {
      const int i = e - h.first_exponent;
      row.emplace_back(i >= 0 && i < static_cast<int>(h.counts.size()) ? grouped(h.counts[static_cast<std::size_t>(i)]) : "0");
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

void render_distributions(const RecordView& record, Page& page) {
  std::string lead = "Share of the entries by magnitude, both axes logarithmic; each step is a factor of two.";
  if (record.sampled && record.elems && *record.sampled < *record.elems) {
    lead += fmt::format(" From a sample of {} of {} elements.", grouped(*record.sampled), grouped(*record.elems));
  }
  page.paragraph(lead);
  std::string html = "<div class=\"panels\">\n";
  for (const Chart& c : charts_of(record)) {
    const std::string svg = chart(c.drawn, "Histogram of magnitudes: " + c.title);
    if (svg.empty()) continue;
    html += fmt::format("<figure><figcaption>{}</figcaption>{}<div class=\"scroll\">{}</div></figure>\n", escape_html(c.title),
                        legend(c.drawn), svg);
  }
  page.html(html + "</div>\n");
  page.open_details("Numbers of the charts");
  page.table(numbers(record));
  page.close_details();
}

}  // namespace

const Section& section_distributions() {
  static const Section section = {"distributions", "Distributions before and after", 50,
                                  [](const RecordView& record) { return !record.histograms.empty(); }, render_distributions};
  return section;
}

}  // namespace crucible
