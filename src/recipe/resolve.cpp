#include "recipe/resolve.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/fault.h"

namespace crucible {
namespace {

double number_of(const Value& value) {
  return std::visit([](auto v) { return static_cast<double>(v); }, value);
}

Resolved resolve_value(const SettingValue& setting, Origin::Level level, const std::string& filter, double t) {
  CHECK(!setting.values.empty(), "a setting without values");
  Resolved out{setting.values.front(), {level, setting.place, filter, std::nullopt}};
  if (!setting.is_gradient) return out;
  std::vector<double> points;
  for (const Value& v : setting.values) points.push_back(number_of(v));
  out.value = gradient_at(points, planted(Fault::kGradientIgnored) ? 0 : t);
  out.origin.t = t;
  return out;
}

}  // namespace

bool filter_matches(std::string_view filter, std::string_view tensor_name, const TensorRole& role) noexcept {
  if (filter.starts_with(kRoleFilter)) return role_matches(role, filter.substr(kRoleFilter.size()));
  return filter.empty() || filter == "*" || tensor_name.find(filter) != std::string_view::npos;
}

double gradient_at(std::span<const double> points, double t) {
  CHECK(!points.empty() && t >= 0.0 && t <= 1.0, "{} points, t = {}", points.size(), t);
  const double scaled = t * static_cast<double>(points.size() - 1);
  const std::size_t left = std::min(static_cast<std::size_t>(std::trunc(scaled)), points.size() - 1);
  const std::size_t right = std::min(left + 1, points.size() - 1);
  const double fraction = scaled - static_cast<double>(left);
  return (1.0 - fraction) * points[left] + fraction * points[right];
}

std::optional<Resolved> resolve(const Field& field, std::span<const SettingLevel> levels, std::string_view tensor_name, double t,
                                const TensorRole& role) {
  for (const SettingLevel& level : planted(Fault::kLevelIgnored) ? levels.last(1) : levels) {
    CHECK(level.settings != nullptr);
    for (const Setting& setting : *level.settings) {
      if (setting.name != field.name) continue;
      for (const Condition& condition : setting.conditions) {
        if (planted(Fault::kFilterIgnored) || filter_matches(condition.filter, tensor_name, role))
          return resolve_value(condition.value, level.level, condition.filter, t);
      }
    }
  }
  return std::nullopt;
}

}  // namespace crucible
