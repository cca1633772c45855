// Keep rate by tenth of the magnitudes, measured against planned: what shows whether a ramp such as DELLA's epsilon took effect.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/html.h"
#include "report/numbers.h"
#include "report/section.h"
#include "report/svg.h"

namespace crucible {
namespace {

constexpr double kErrorSigmas = 2;  // of error bars
constexpr double kClipSigmas = 11;  // of the lower chart

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

// Deviation in standard deviations; 0 where the number is planned exactly and right.
double sigmas_of(const RecordView::Decile& d) {
  const double off = d.kept - d.planned;
  if (!d.variance) return std::nan("");
  if (*d.variance > 0) return off / std::sqrt(*d.variance);
  return std::abs(off) < 0.5 ? 0 : std::copysign(HUGE_VAL, off);
}

double standard_deviation(const RecordView::Decile& d) { return d.variance && d.entries > 0 ? std::sqrt(*d.variance) / d.entries : 0; }

Axis tenths(std::string title) {
  Axis axis{0.5, 10.5, {}, std::move(title)};
  for (int i = 1; i <= 10; ++i) axis.ticks.emplace_back(i, std::to_string(i));
  return axis;
}

std::string rate_chart(const RecordView::Model& model, int series) {
  Axis y{0, 1.02, {}, ""};
  for (int i = 0; i <= 4; ++i) y.ticks.emplace_back(0.25 * i, fmt::format("{} %", 25 * i));
  Plot plot({400, 230, 46, 12, 12, 24}, tenths(""), y,
            fmt::format("Keep rate of {} by tenth of the magnitudes, measured and planned", model.name), "rate");
  std::vector<PlotPoint> planned;
  for (std::size_t i = 0; i < model.deciles.size(); ++i) {
    const RecordView::Decile& d = model.deciles[i];
    if (d.entries > 0) planned.push_back({static_cast<double>(i + 1), share(d.planned, d.entries)});
  }
  plot.line(planned, "plan");
  for (std::size_t i = 0; i < model.deciles.size(); ++i) {
    const RecordView::Decile& d = model.deciles[i];
    if (!(d.entries > 0)) continue;
    const double rate = share(d.kept, d.entries), reach = kErrorSigmas * standard_deviation(d);
    if (reach > 0) {
      plot.bar_between(static_cast<double>(i + 1), std::max(rate - reach, 0.0), std::min(rate + reach, 1.0),
                       fmt::format("b s{}", series % kSeriesLooks));
    }
    plot.marker({static_cast<double>(i + 1), rate}, series,
                fmt::format("data-tenth=\"{}\" data-entries=\"{:.0f}\" data-kept=\"{:.0f}\" data-planned=\"{}\"", i + 1, d.entries, d.kept,
                            d.planned),
                fmt::format("tenth {}: kept {} of {} = {}, planned {}", i + 1, grouped(d.kept), grouped(d.entries), percent(rate, 3),
                            percent(share(d.planned, d.entries), 3)));
  }
  if (!planned.empty()) {
    const PlotPoint& at = planned.front();
    plot.text(plot.x(at.x) - 8, plot.y(at.y) + (at.y > 0.12 ? 19 : -12), "start", "m", "planned");
  }
  return plot.finish();
}

std::string sigma_chart(const RecordView::Model& model, int series) {
  Axis y{-kClipSigmas, kClipSigmas, {}, ""};
  for (const int i : {-6, 0, 6}) y.ticks.emplace_back(i, fmt::format("{}{} \u03C3", i < 0 ? "\u2212" : i > 0 ? "+" : "", std::abs(i)));
  Plot plot({400, 132, 46, 12, 8, 36}, tenths("tenth of the magnitudes, smallest first"), y,
            fmt::format("Deviation of the keep rates of {} from the plan in standard deviations", model.name), "sigma");
  plot.band(-kErrorSigmas, kErrorSigmas, "band");
  plot.rule(0, "zero");
  plot.rule(kLimitSigmas, "limit");
  plot.rule(-kLimitSigmas, "limit");
  for (std::size_t i = 0; i < model.deciles.size(); ++i) {
    const double z = sigmas_of(model.deciles[i]);
    if (std::isnan(z) || !(model.deciles[i].entries > 0)) continue;
    const double shown = std::clamp(z, -kClipSigmas, kClipSigmas);
    plot.marker({static_cast<double>(i + 1), shown}, series,
                fmt::format("data-tenth=\"{}\" data-sigmas=\"{}\"", i + 1, std::isfinite(z) ? z : 1e9),
                fmt::format("tenth {}: {}", i + 1, sigmas_text(z)));
    if (std::abs(z) > kClipSigmas) {
      plot.text(plot.x(static_cast<double>(i + 1)), plot.y(shown) + (z > 0 ? 15 : -8), "middle", "bad",
                fmt::format("{}{}", z < 0 ? "\u2212" : "+", std::isfinite(z) ? grouped(std::abs(z)) : "\u221E"));
    }
  }
  return plot.finish();
}

Table numbers(const RecordView::Model& model) {
  Table table;
  table.caption = "Keep rates of " + mono(model.name);
  table.columns = {{"tenth", Kind::kNumber},    {"entries", Kind::kNumber}, {"kept", Kind::kNumber},
                   {"measured", Kind::kNumber}, {"planned", Kind::kNumber}, {"deviation", Kind::kNumber}};
  for (std::size_t i = 0; i < model.deciles.size(); ++i) {
    const RecordView::Decile& d = model.deciles[i];
    const double z = sigmas_of(d);
    Cell deviation(std::isnan(z) ? "\u2013" : sigmas_text(z));
    if (std::abs(z) > kLimitSigmas) deviation.tone = Tone::kBad;
    table.rows.push_back({fmt::format("{}", i + 1), grouped(d.entries), grouped(d.kept), percent(share(d.kept, d.entries), 3),
                          percent(share(d.planned, d.entries), 3), deviation});
  }
  return table;
}

bool has_rates(const RecordView& record) {
  return std::any_of(record.models.begin(), record.models.end(), [](const auto& m) { return m.entries.value_or(0) > 0; });
}

Table keep_totals(const RecordView& record) {
  Table table;
  table.columns = {{"model", Kind::kCode},     {"entries", Kind::kNumber},   {"kept", Kind::kNumber},
                   {"planned", Kind::kNumber}, {"deviation", Kind::kNumber}, {"L1 norm after / before", Kind::kNumber}};
  for (const RecordView::Model& m : record.models) {
    if (!(m.entries.value_or(0) > 0)) continue;
    RecordView::Decile whole{*m.entries, m.kept.value_or(0), m.planned.value_or(0), m.variance};
    const double z = sigmas_of(whole);
    Cell deviation(std::isnan(z) ? "\u2013" : *m.variance > 0 ? sigmas_text(z) : z == 0 ? "exact" : "off");
    if (std::abs(z) > kLimitSigmas) deviation.tone = Tone::kBad;
    const bool has_l1 = m.l1_before && m.l1_after && *m.l1_before > 0;
    table.rows.push_back({m.name, grouped(*m.entries), percent(share(whole.kept, whole.entries), 3),
                          percent(share(whole.planned, whole.entries), 3), deviation,
                          has_l1 ? fmt::format("{:.4f}", *m.l1_after / *m.l1_before) : "\u2013"});
  }
  return table;
}

void render_keep_rate(const RecordView& record, Page& page) {
  std::vector<Panel> panels;
  for (std::size_t i = 0; i < record.models.size(); ++i) {
    const RecordView::Model& model = record.models[i];
    if (model.deciles.empty()) continue;
    panels.push_back({mono(model.name), rate_chart(model, static_cast<int>(i)) + sigma_chart(model, static_cast<int>(i)), ""});
  }
  if (!panels.empty()) {
    page.paragraph(
        "Entries of each task vector, sorted by magnitude and cut into tenths; where rows are ranked, every eighth one of a tensor with "
        "more than 65,536 elements is counted. Markers: share kept, with \u00B12\u03C3; line: share planned. "
        "Below: the distance between the two; the band is \u00B12\u03C3, the dashed lines are \u00B16\u03C3.");
    page.panels(panels);
  }
  page.table(keep_totals(record));
  if (panels.empty()) return;
  page.open_details("Numbers of the charts");
  for (const RecordView::Model& model : record.models) {
    if (!model.deciles.empty()) page.table(numbers(model));
  }
  page.close_details();
}

}  // namespace

const Section& section_keep_rate() {
  static const Section section = {"keep-rate", "Keep rate by magnitude", 30, has_rates, render_keep_rate};
  return section;
}

}  // namespace crucible
