// From the levels of a recipe to one value per tensor, model and parameter: mergekit's precedence, gradients and filters (core.md 1.4).
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "arch/roles.h"
#include "recipe/recipe.h"
#include "schema/field.h"

namespace crucible {

// A filter that begins so asks for a role: "role:attention".
inline constexpr std::string_view kRoleFilter = "role:";

// Does a filter match a tensor? Empty or "*" matches all; "role:WORD" the tensors of that role; else it is a case-sensitive substring of
// the name.
bool filter_matches(std::string_view filter, std::string_view tensor_name, const TensorRole& role = {}) noexcept;

// Linear interpolation of a gradient's points at t in [0, 1], in double precision.
double gradient_at(std::span<const double> points, double t);

// One level of the precedence, nearest first.
struct SettingLevel {
  Origin::Level level;
  const Settings* settings;
};

// What the first level that yields a value says, with its origin; empty when none does (then the default applies).
struct Resolved {
  Value value;
  Origin origin;
};
std::optional<Resolved> resolve(const Field& field, std::span<const SettingLevel> levels, std::string_view tensor_name, double t,
                                const TensorRole& role = {});

}  // namespace crucible
