#include "report/numbers.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/units.h"

namespace crucible {
namespace {
constexpr const char* kNoBreak = "\u00A0";
}

std::string grouped(double count) {
  if (!std::isfinite(count)) return "not finite";
  std::string digits = fmt::format("{:.0f}", std::abs(count));
  for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(digits.size()) - 3; i > 0; i -= 3) digits.insert(static_cast<std::size_t>(i), ",");
  return std::signbit(count) && digits != "0" ? "\u2212" + digits : digits;
}

std::string compact(std::optional<double> value) {
  if (!value) return "not finite";
  const double size = std::abs(*value);
  if (size == 0) return "0";
  std::string text = size >= 1e4 && size < 1e13 ? grouped(size) : fmt::format("{:.4g}", size);
  return *value < 0 ? "\u2212" + text : text;
}

std::pair<std::string, std::string> compact_pair(std::optional<double> a, std::optional<double> b) {
  const double size = std::max(std::abs(a.value_or(0)), std::abs(b.value_or(0)));
  if (!a || !b || size >= 1e4 || (size < 1e-3 && size > 0)) return {compact(a), compact(b)};
  const int decimals = size < 10 ? 5 : size < 100 ? 4 : 2;
  const auto text = [&](double v) { return (v < 0 ? "\u2212" : "") + fmt::format("{:.{}f}", std::abs(v), decimals); };
  return {text(*a), text(*b)};
}

std::string percent(double share, int decimals) {
  if (!std::isfinite(share)) return "not finite";
  return fmt::format("{:.{}f}{}%", 100 * share, decimals, kNoBreak);
}

std::string points(double difference) {
  const double value = 100 * difference;
  if (!std::isfinite(value)) return "";
  if (value == 0) return "0";
  if (std::abs(value) < 0.0005) return value < 0 ? "\u22120.000" : "+0.000";
  const int decimals = std::abs(value) < 0.1 ? 3 : std::abs(value) < 10 ? 2 : 1;
  return (value < 0 ? "\u2212" : "+") + fmt::format("{:.{}f}", std::abs(value), decimals);
}

std::string bytes_text(std::optional<double> bytes) {
  if (!bytes || !(*bytes >= 0) || *bytes > 9e18) return "\u2013";
  std::string text = render_bytes(static_cast<std::int64_t>(*bytes));
  const std::size_t space = text.find(' ');
  if (space != std::string::npos) text.replace(space, 1, kNoBreak);
  return text;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "\u2013";
  if (seconds < 59.5) return fmt::format("{:.{}f}{}s", seconds, seconds < 10 ? 2 : 1, kNoBreak);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{}{}min{}{}{}s", whole / 60, kNoBreak, kNoBreak, whole % 60, kNoBreak);
  return fmt::format("{}{}h{}{}{}min", whole / 3600, kNoBreak, kNoBreak, whole % 3600 / 60, kNoBreak);
}

std::string sigmas_text(double sigmas) {
  if (!std::isfinite(sigmas)) return "beyond measure";
  const double size = std::abs(sigmas);
  const std::string text = size < 0.005 ? "0.00" : size < 100 ? fmt::format("{:.2f}", size) : grouped(size);
  return (sigmas < 0 && size >= 0.005 ? "\u2212" : "") + text + kNoBreak + "\u03C3";
}

}  // namespace crucible
