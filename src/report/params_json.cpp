#include "report/params_json.h"

#include <cmath>

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

Json value_json(const Value& value, const Field& field) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag;
  if (const auto* real = std::get_if<double>(&value)) return std::isfinite(*real) ? Json(*real) : Json(nullptr);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return *integer;
  return field.value_text(value);
}

}  // namespace

nlohmann::ordered_json params_json(const Params& params) {
  Json out = Json::object();
  for (std::size_t i = 0; i < params.table().size(); ++i) {
    const Origin& origin = params.origin(i);
    Json one = {
        {"value", value_json(params.value(i), params.table()[i])}, {"shown", shown_value(params, i)}, {"from", to_string(origin.level)}};
    if (origin.place.line > 0) {
      one["line"] = origin.place.line;
      one["column"] = origin.place.column;
    }
    if (!origin.filter.empty()) one["filter"] = origin.filter;
    if (origin.t) one["t"] = *origin.t;
    out[params.table()[i].name] = std::move(one);
  }
  return out;
}

}  // namespace crucible
