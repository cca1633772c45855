#include "base/units.h"

#include <array>
#include <cctype>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace crucible {
namespace {

struct Unit {
  std::string_view name;  // lower case
  double bytes;
};
// mergekit writes 10^9 as "B" (billion); "GB" and "G" mean the same here.
constexpr std::array kUnits = {
    Unit{"", 1},
    Unit{"k", 1e3},
    Unit{"kb", 1e3},
    Unit{"m", 1e6},
    Unit{"mb", 1e6},
    Unit{"b", 1e9},
    Unit{"g", 1e9},
    Unit{"gb", 1e9},
    Unit{"t", 1e12},
    Unit{"tb", 1e12},
    Unit{"ki", 1024.0},
    Unit{"kib", 1024},
    Unit{"mi", 1048576.0},
    Unit{"mib", 1048576.0},
    Unit{"gi", 1073741824.0},
    Unit{"gib", 1073741824.0},
    Unit{"ti", 1099511627776.0},
    Unit{"tib", 1099511627776.0},
};

}  // namespace

std::optional<std::int64_t> parse_size(std::string_view text) {
  std::size_t i = 0;
  double value = 0;
  bool digits = false;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    value = value * 10 + (text[i] - '0');
    digits = true;
  }
  bool fraction = false;
  if (i < text.size() && text[i] == '.') {
    ++i;
    for (double scale = 0.1; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i, scale /= 10) {
      value += scale * (text[i] - '0');
      fraction = true;
    }
    if (!fraction) return std::nullopt;
  }
  if (!digits) return std::nullopt;
  while (i < text.size() && text[i] == ' ') ++i;
  std::string unit;
  for (; i < text.size(); ++i) unit += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
  for (const Unit& u : kUnits) {
    if (u.name != unit) continue;
    if (fraction && u.name.empty()) return std::nullopt;
    const double bytes = std::floor(value * u.bytes + 1e-6);
    if (bytes >= 9.2e18) return std::nullopt;
    return static_cast<std::int64_t>(bytes);
  }
  return std::nullopt;
}

std::string render_bytes(std::int64_t bytes) {
  constexpr std::array<std::string_view, 5> kNames = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kNames.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return value < 9.995   ? fmt::format("{:.2f} {}", value, kNames[unit])
         : value < 99.95 ? fmt::format("{:.1f} {}", value, kNames[unit])
                         : fmt::format("{:.0f} {}", value, kNames[unit]);
}

std::string render_count(std::int64_t count, std::string_view singular, std::string_view plural) {
  if (count == 1) return fmt::format("1 {}", singular);
  return plural.empty() ? fmt::format("{} {}s", count, singular) : fmt::format("{} {}", count, plural);
}

}  // namespace crucible
