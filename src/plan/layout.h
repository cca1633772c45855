// Where every output byte goes: shards, headers, index, config.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plan/plan.h"

namespace crucible {

// Assigns files and offsets to plan.jobs (given in model order), builds headers and the index, and sorts the jobs by file and offset.
void lay_out(Plan& plan);

// The donor's config.json with only what changed touched: the dtype keys and the layer counts (dotted key -> count).
std::string edit_config(const std::string& config_text, std::optional<DType> dtype,
                        const std::vector<std::pair<std::string, std::int64_t>>& layer_counts, Diagnostics& diagnostics);

}  // namespace crucible
