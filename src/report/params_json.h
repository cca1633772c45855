// The values of a parameter set with their origins, as the record and `crucible plan --json` write them.
#pragma once

#include <nlohmann/json.hpp>

#include "schema/field.h"

namespace crucible {

// {"density": {"value", "shown", "from", "line"?, "column"?, "filter"?, "t"?}, ...}
nlohmann::ordered_json params_json(const Params& params);

}  // namespace crucible
