#include "report/svg.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "report/html.h"
#include "report/numbers.h"

namespace crucible {
namespace {

constexpr double kLabelGap = 13;

// Pixels with one digit after the point are more than a screen shows.
std::string px(double value) {
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string shape(int series, double x, double y) {
  switch (series % kSeriesLooks) {
    case 0: return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"3.4\"/>", px(x), px(y));
    case 1: return fmt::format("<path d=\"M{} {}h6.2v6.2h-6.2z\"/>", px(x - 3.1), px(y - 3.1));
    case 2: return fmt::format("<path d=\"M{} {}l4.1 7h-8.2z\"/>", px(x), px(y - 4.4));
    case 3: return fmt::format("<path d=\"M{} {}l4.3 4.3-4.3 4.3-4.3-4.3z\"/>", px(x), px(y - 4.3));
    case 4: return fmt::format("<path d=\"M{} {}l-4.1-7h8.2z\"/>", px(x), px(y + 4.4));
    default: return fmt::format("<path class=\"x\" d=\"M{} {}l6.4 6.4m0-6.4l-6.4 6.4\"/>", px(x - 3.2), px(y - 3.2));
  }
}

}  // namespace

std::vector<double> nice_ticks(double low, double high, int count) {
  if (!(high > low) || count < 1) return {low};
  const double raw = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double part = raw / power;
  const double step = power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
  std::vector<double> out;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) out.push_back(k == 0 ? 0 : k * step);
  return out;
}

Axis linear_axis(double low, double high, int count, std::string title) {
  Axis axis{low, high, {}, std::move(title)};
  for (const double t : nice_ticks(low, high, count)) axis.ticks.emplace_back(t, compact(t));
  return axis;
}

Axis power_axis(double low, double high, int most_ticks, std::string title) {
  Axis axis{low, high, {}, std::move(title)};
  const int first = static_cast<int>(std::ceil(low - 1e-9)), last = static_cast<int>(std::floor(high + 1e-9));
  const int step = std::max(1, (last - first + most_ticks) / std::max(1, most_ticks));
  // Multiples of the step, so that 1 is among them when it is in range.
  for (int k = first; k <= last; ++k) {
    if (((k % step) + step) % step != 0) continue;
    axis.ticks.emplace_back(k, k == 0 ? "1" : k == 1 ? "10" : fmt::format("10^{}", k));
  }
  return axis;
}

Plot::Plot(const Frame& frame, const Axis& x, const Axis& y, std::string_view label, std::string_view css_name)
    : frame_(frame), x_(x), y_(y) {
  if (!(x_.high > x_.low)) x_.high = x_.low + 1;
  if (!(y_.high > y_.low)) y_.high = y_.low + 1;
  out_ = fmt::format("<svg class=\"{}\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\"", css_name,
                     escape_attribute(label), px(frame.width), px(frame.height), px(frame.width), px(frame.height));
  out_ += fmt::format(" data-x=\"{} {}\" data-y=\"{} {}\" data-plot=\"{} {} {} {}\">", x_.low, x_.high, y_.low, y_.high, px(frame.left),
                      px(frame.width - frame.right), px(frame.top), px(frame.height - frame.bottom));
  const auto label_of = [](const std::string& tick) {
    const std::size_t hat = tick.find('^');
    if (hat == std::string::npos) return escape_html(tick);
    std::string power = tick.substr(hat + 1);
    if (power.front() == '-') power.replace(0, 1, "\u2212");
    return tick.substr(0, hat) + "<tspan dy=\"-4\" class=\"p\">" + power + "</tspan>";
  };
  std::string grid;
  for (const auto& [value, name] : y_.ticks) {
    grid += fmt::format("M{} {}H{}", px(frame.left), px(this->y(value)), px(frame.width - frame.right));
    out_ += fmt::format("<text class=\"e\" x=\"{}\" y=\"{}\">{}</text>", px(frame.left - 6), px(this->y(value) + 3.5), label_of(name));
  }
  out_ += fmt::format("<path class=\"g\" d=\"{}\"/>", grid);
  std::string axis = fmt::format("M{} {}H{}", px(frame.left), px(frame.height - frame.bottom), px(frame.width - frame.right));
  for (const auto& [value, name] : x_.ticks) {
    axis += fmt::format("M{} {}v4", px(this->x(value)), px(frame.height - frame.bottom));
    out_ += fmt::format("<text class=\"c\" x=\"{}\" y=\"{}\">{}</text>", px(this->x(value)), px(frame.height - frame.bottom + 16),
                        label_of(name));
  }
  out_ += fmt::format("<path class=\"a\" d=\"{}\"/>", axis);
  if (!x_.title.empty()) {
    out_ += fmt::format("<text class=\"c\" x=\"{}\" y=\"{}\">{}</text>", px((frame.left + frame.width - frame.right) / 2),
                        px(frame.height - 4), escape_html(x_.title));
  }
  if (!y_.title.empty()) out_ += fmt::format("<text x=\"2\" y=\"{}\">{}</text>", px(10), escape_html(y_.title));
}

double Plot::x(double value) const {
  return frame_.left + (value - x_.low) / (x_.high - x_.low) * (frame_.width - frame_.left - frame_.right);
}
double Plot::y(double value) const {
  return frame_.height - frame_.bottom - (value - y_.low) / (y_.high - y_.low) * (frame_.height - frame_.top - frame_.bottom);
}

void Plot::band(double y_low, double y_high, std::string_view css) {
  const double top = y(std::min(y_high, y_.high)), bottom = y(std::max(y_low, y_.low));
  out_ += fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>", css, px(frame_.left), px(top),
                      px(frame_.width - frame_.left - frame_.right), px(bottom - top));
}

void Plot::rule(double at_y, std::string_view css) {
  if (at_y < y_.low || at_y > y_.high) return;
  out_ += fmt::format("<path class=\"{}\" d=\"M{} {}H{}\"/>", css, px(frame_.left), px(y(at_y)), px(frame_.width - frame_.right));
}

void Plot::line(const std::vector<PlotPoint>& points, std::string_view css) {
  std::string path;
  bool pen_down = false;
  for (const PlotPoint& p : points) {
    if (!std::isfinite(p.y)) {
      pen_down = false;
      continue;
    }
    path += fmt::format("{}{} {}", pen_down ? "L" : "M", px(x(p.x)), px(y(p.y)));
    pen_down = true;
  }
  if (!path.empty()) out_ += fmt::format("<path class=\"l {}\" d=\"{}\"/>", css, path);
}

void Plot::area(const std::vector<PlotPoint>& points, double base, std::string_view css) {
  if (points.empty()) return;
  std::string path = fmt::format("M{} {}", px(x(points.front().x)), px(y(base)));
  for (const PlotPoint& p : points) path += fmt::format("L{} {}", px(x(p.x)), px(y(p.y)));
  out_ += fmt::format("<path class=\"f {}\" d=\"{}L{} {}z\"/>", css, path, px(x(points.back().x)), px(y(base)));
}

void Plot::bar_between(double at_x, double y_low, double y_high, std::string_view css) {
  const double top = y(std::min(y_high, y_.high)), bottom = y(std::max(y_low, y_.low));
  out_ += fmt::format("<path class=\"{}\" d=\"M{} {}h6m-3 0V{}m-3 0h6\"/>", css, px(x(at_x) - 3), px(top), px(bottom));
}

void Plot::marker(PlotPoint at, int series, std::string_view attributes, std::string_view hover) {
  out_ += fmt::format("<g class=\"k s{}\" data-px=\"{}\" data-py=\"{}\"{}{}><title>{}</title>{}</g>", series % kSeriesLooks, px(x(at.x)),
                      px(y(at.y)), attributes.empty() ? "" : " ", attributes, escape_attribute(hover), shape(series, x(at.x), y(at.y)));
}

void Plot::text(double at_px, double at_py, std::string_view anchor, std::string_view css, std::string_view words) {
  out_ += fmt::format("<text class=\"{}\" text-anchor=\"{}\" x=\"{}\" y=\"{}\">{}</text>", css, anchor, px(at_px), px(at_py),
                      escape_html(words));
}

void Plot::end_labels(std::vector<std::pair<double, std::string>> at_y, const std::vector<std::string>& css) {
  std::vector<std::size_t> order(at_y.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<double> place(at_y.size());
  for (std::size_t i = 0; i < at_y.size(); ++i) place[i] = y(at_y[i].first);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return place[a] < place[b]; });
  for (std::size_t k = 1; k < order.size(); ++k) place[order[k]] = std::max(place[order[k]], place[order[k - 1]] + kLabelGap);
  // What was pushed below the plot pushes the ones above it up again.
  double limit = frame_.height - frame_.bottom;
  for (std::size_t k = order.size(); k-- > 0;) {
    place[order[k]] = std::min(place[order[k]], limit);
    limit = place[order[k]] - kLabelGap;
  }
  for (const std::size_t i : order) text(frame_.width - frame_.right + 7, place[i] + 3.5, "start", css[i], at_y[i].second);
}

std::string Plot::finish() { return std::move(out_) + "</svg>"; }

}  // namespace crucible
