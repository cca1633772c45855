// A plot with two linear axes, drawn as SVG. Colours come from the page's style sheet by class; series differ in marker and dash too.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crucible {

inline constexpr int kSeriesLooks = 6;  // colours, markers and dashes before they repeat

struct PlotPoint {
  double x = 0, y = 0;
};

struct Axis {
  double low = 0, high = 1;
  std::vector<std::pair<double, std::string>> ticks;
  std::string title;
};

// Round numbers between low and high, about `count` of them.
std::vector<double> nice_ticks(double low, double high, int count);
// Axis over [low, high] with round ticks and their numbers.
Axis linear_axis(double low, double high, int count, std::string title);
// Axis of log10 values with powers of ten as ticks.
Axis power_axis(double low, double high, int most_ticks, std::string title);

struct Frame {
  double width = 400, height = 240;
  double left = 44, right = 10, top = 10, bottom = 36;
};

class Plot {
 public:
  // `label` tells a screen reader what the chart shows.
  Plot(const Frame& frame, const Axis& x, const Axis& y, std::string_view label, std::string_view css_name);

  double x(double value) const;
  double y(double value) const;

  void band(double y_low, double y_high, std::string_view css);
  void rule(double at_y, std::string_view css);
  void line(const std::vector<PlotPoint>& points, std::string_view css);
  void area(const std::vector<PlotPoint>& points, double base, std::string_view css);
  void bar_between(double at_x, double y_low, double y_high, std::string_view css);
  // `attributes` is ready markup: data-* of the point. `hover` is plain text.
  void marker(PlotPoint at, int series, std::string_view attributes, std::string_view hover);
  void text(double px, double py, std::string_view anchor, std::string_view css, std::string_view words);
  // Names at the right edge, moved apart where they would overlap.
  void end_labels(std::vector<std::pair<double, std::string>> at_y, const std::vector<std::string>& css);

  std::string finish();

 private:
  Frame frame_;
  Axis x_, y_;
  std::string out_;
};

}  // namespace crucible
