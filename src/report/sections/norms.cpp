// Norms and cosines layer by layer: is the result of the scale of its models, and whom does it follow?
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "report/aggregate.h"
#include "report/html.h"
#include "report/numbers.h"
#include "report/section.h"
#include "report/svg.h"

namespace crucible {
namespace {

constexpr double kWideLayers = 30;       // beyond: a chart as wide as the page
constexpr std::size_t kManyLayers = 40;  // beyond: no markers for each point

bool has_base(const RecordView& record) {
  return std::any_of(record.inputs.begin(), record.inputs.end(), [](const auto& i) { return i.base; });
}

double norm_of(double square) { return std::sqrt(square); }

struct Line {
  std::string name, css;
  int series = 0;
  std::vector<PlotPoint> points;
};

// Layers of one stack, one line for each model and one for the result.
std::vector<Line> lines_of(const RecordView& record, const LayerTable& layers, const std::string& stack, bool cosines) {
  std::vector<Line> out;
  for (std::size_t i = 0; i < layers.inputs.size(); ++i) {
    Line line{record.model_name(layers.inputs[i]), fmt::format("s{}", i % kSeriesLooks), static_cast<int>(i), {}};
    for (const LayerRow& row : layers.rows) {
      if (!row.layer || row.stack != stack || i >= row.all.models.size()) continue;
      const ModelSums& m = row.all.models[i];
      if (cosines ? m.has_cosine : m.has_norm)
        line.points.push_back({static_cast<double>(*row.layer), cosines ? m.cosine() : norm_of(m.square)});
    }
    if (!line.points.empty()) out.push_back(std::move(line));
  }
  if (cosines) return out;
  Line line{"result", "out", -1, {}};
  for (const LayerRow& row : layers.rows) {
    if (row.layer && row.stack == stack && row.all.has_out_norm)
      line.points.push_back({static_cast<double>(*row.layer), norm_of(row.all.out_square)});
  }
  if (!line.points.empty()) out.push_back(std::move(line));
  return out;
}

Axis layer_axis(const std::vector<Line>& lines) {
  double low = std::numeric_limits<double>::max(), high = std::numeric_limits<double>::lowest();
  for (const Line& l : lines) {
    for (const PlotPoint& p : l.points) {
      low = std::min(low, p.x);
      high = std::max(high, p.x);
    }
  }
  Axis axis{low - 0.3, high + 0.3, {}, "layer"};
  for (const double t : nice_ticks(low, high, high - low < 12 ? static_cast<int>(high - low) : 10)) {
    if (t == std::floor(t)) axis.ticks.emplace_back(t, fmt::format("{:.0f}", t));
  }
  return axis;
}

std::string chart(std::vector<Line> lines, bool cosines, const std::string& label) {
  const Axis x = layer_axis(lines);
  double low = cosines ? 0 : std::numeric_limits<double>::max(), high = cosines ? 1 : 0;
  for (const Line& l : lines) {
    for (const PlotPoint& p : l.points) {
      if (!std::isfinite(p.y)) continue;
      low = std::min(low, p.y);
      high = std::max(high, p.y);
    }
  }
  const bool powers = !cosines && low > 0 && high / low > 30;
  Axis y = cosines  ? linear_axis(low < 0 ? -1 : 0, 1, 4, "")
           : powers ? power_axis(std::floor(std::log10(low)), std::ceil(std::log10(high)), 5, "")
                    : linear_axis(0, high * 1.05, 4, "");
  if (powers) {
    for (Line& l : lines) {
      for (PlotPoint& p : l.points) p.y = p.y > 0 ? std::log10(p.y) : std::nan("");
    }
  }
  std::size_t longest = 0;
  for (const Line& l : lines) longest = std::max(longest, l.name.size());
  const double label_width = std::min(150.0, 14 + 6.6 * static_cast<double>(longest));
  const bool wide = x.high - x.low > kWideLayers;
  Plot plot({wide ? 1040.0 : 400.0, 230, 50, label_width, 12, 36}, x, y, label, wide ? "layers wide" : "layers");
  std::vector<std::pair<double, std::string>> names;
  std::vector<std::string> css;
  for (const Line& l : lines) {
    plot.line(l.points, l.css);
    if (l.series >= 0) {
      for (const PlotPoint& p : l.points) {
        if (l.points.size() > kManyLayers && std::fmod(p.x, 5) != 0) continue;
        if (!std::isfinite(p.y)) continue;
        const double value = powers ? std::pow(10, p.y) : p.y;
        plot.marker(p, l.series, fmt::format("data-layer=\"{:.0f}\" data-value=\"{}\"", p.x, value),
                    fmt::format("{}, layer {:.0f}: {}", l.name, p.x, compact(value)));
      }
    }
    for (auto p = l.points.rbegin(); p != l.points.rend(); ++p) {
      if (!std::isfinite(p->y)) continue;
      std::string name = l.name;
      if (name.size() > 20) name = "\u2026" + name.substr(name.size() - 19);
      names.emplace_back(p->y, name);
      css.push_back("t " + l.css);
      break;
    }
  }
  plot.end_labels(names, css);
  return plot.finish();
}

Table numbers(const RecordView& record, const LayerTable& layers) {
  Table table;
  table.columns = {{"layer", Kind::kText}};
  table.groups = {{"", 1}};
  table.tall = layers.rows.size() > 16;
  for (const int input : layers.inputs) {
    table.groups.emplace_back(mono(record.model_name(input)), 2);
    table.columns.push_back({"norm", Kind::kNumber});
    table.columns.push_back({"cosine", Kind::kNumber});
  }
  table.groups.emplace_back("result", 1);
  table.columns.push_back({"norm", Kind::kNumber});
  for (const LayerRow& row : layers.rows) {
    std::vector<Cell> cells = {Cell(row.label)};
    for (std::size_t i = 0; i < layers.inputs.size(); ++i) {
      const bool there = i < row.all.models.size();
      cells.emplace_back(there && row.all.models[i].has_norm ? compact(norm_of(row.all.models[i].square)) : "\u2013");
      cells.emplace_back(there && row.all.models[i].has_cosine ? fmt::format("{:.3f}", row.all.models[i].cosine()) : "\u2013");
    }
    cells.emplace_back(row.all.has_out_norm ? compact(norm_of(row.all.out_square)) : "\u2013");
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table norm_totals(const RecordView& record) {
  Table table;
  table.columns = {{"", Kind::kCode}, {"norm", Kind::kNumber}, {"cosine with the result", Kind::kNumber}, {"angle", Kind::kNumber}};
  for (const RecordView::Model& m : record.models) {
    if (!m.norm && !m.cosine) continue;
    table.rows.push_back({m.name, m.norm ? compact(m.norm) : "\u2013", m.cosine ? fmt::format("{:.4f}", *m.cosine) : "\u2013",
                          m.angle_degrees ? fmt::format("{:.1f}\u00B0", *m.angle_degrees) : "\u2013"});
  }
  if (record.out_norm) table.rows.push_back({Cell("result"), compact(record.out_norm), "\u2013", "\u2013"});
  if (record.base_norm) {
    table.rows.push_back(
        {Cell("base"), compact(record.base_norm), record.cosine_base ? fmt::format("{:.4f}", *record.cosine_base) : "\u2013", "\u2013"});
  }
  return table;
}

void render_norms(const RecordView& record, Page& page) {
  const LayerTable layers = add_up_layers(record);
  page.paragraph(
      has_base(record)
          ? "Norm of each task vector and of the result minus the base, layer by layer; and the cosine between them: 1 is the same "
            "direction, 0 is unrelated."
          : "Norm of each model's weights and of the result, layer by layer; and the cosine between them.");
  std::vector<std::string> stacks;
  for (const LayerRow& row : layers.rows) {
    if (row.layer && std::find(stacks.begin(), stacks.end(), row.stack) == stacks.end()) stacks.push_back(row.stack);
  }
  std::vector<Panel> panels;
  for (const std::string& stack : stacks) {
    const std::string of = layers.several_stacks ? ", " + mono(stack) : "";
    auto norms = lines_of(record, layers, stack, false);
    if (!norms.empty()) panels.push_back({"Norm" + of, chart(std::move(norms), false, "Norms layer by layer"), ""});
    auto cosines = lines_of(record, layers, stack, true);
    if (!cosines.empty()) panels.push_back({"Cosine with the result" + of, chart(std::move(cosines), true, "Cosines layer by layer"), ""});
  }
  page.html(panels.empty() || panels.front().svg.find("layers wide") == std::string::npos ? "<div>" : "<div class=\"wide\">");
  if (!panels.empty()) page.panels(panels);
  page.html("</div>");
  const Table whole = norm_totals(record);
  if (!whole.rows.empty()) page.table(whole);
  page.open_details("Numbers by layer");
  page.table(numbers(record, layers));
  page.close_details();
}

bool has_norms(const RecordView& record) {
  return std::any_of(record.tensors.begin(), record.tensors.end(), [](const auto& t) {
    return t.out_norm || std::any_of(t.models.begin(), t.models.end(), [](const auto& m) { return m.norm.has_value(); });
  });
}

}  // namespace

const Section& section_norms() {
  static const Section section = {"norms", "Norms and scale by layer", 60, has_norms, render_norms};
  return section;
}

}  // namespace crucible
