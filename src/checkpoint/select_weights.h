// Which files of a model folder hold its weights (formats.md 2.1, restricted to safetensors).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/config_facts.h"
#include "checkpoint/index.h"
#include "crucible/error.h"

namespace crucible {

struct WeightChoice {
  std::vector<std::string> files;    // relative to the folder, sorted; empty = nothing usable (a diagnostic says why)
  std::optional<WeightIndex> index;  // what the files must agree with
  std::string index_name;
};

// Looks at names only, besides the index. Missing files of an index are errors in `diagnostics`.
WeightChoice select_weights(const std::string& folder, const ConfigFacts& config, Diagnostics& diagnostics);

// Does the index tell a complete story about the files on disk (headers included)? `why` gets the first reason against it.
bool is_index_consistent(const std::string& folder, const WeightIndex& index, std::string& why);

}  // namespace crucible
