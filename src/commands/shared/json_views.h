// JSON that commands print: stable names, one place.
#pragma once

#include <nlohmann/json.hpp>

#include "crucible/error.h"
#include "methods/method.h"
#include "plan/plan.h"
#include "run/runner.h"

namespace crucible {

nlohmann::ordered_json diagnostics_json(const Diagnostics& diagnostics);
nlohmann::ordered_json plan_json(const Plan& plan, const MemoryPlan& memory);
nlohmann::ordered_json method_json(const Method& method);

}  // namespace crucible
