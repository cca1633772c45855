// One folder with weights: a model's own, or one of its parts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/config_facts.h"
#include "checkpoint/load_weights.h"
#include "crucible/error.h"

namespace crucible {

struct OpenedPart {
  std::string config_text;  // config.json verbatim; empty when there is none
  LoadedWeights weights;    // files and tensors under their names in this folder; empty where they were not asked for
};

// `names`: the entries of `folder`, sorted. With kConfigOnly its weights are not looked at. What is wrong goes to `diagnostics`. Throws
// Error{kIo} when the system fails.
enum class OpenWhat { kConfigOnly, kWeightsToo };
OpenedPart open_part(const std::string& folder, const std::vector<std::string>& names, OpenWhat what, Diagnostics& diagnostics);

// What speaks against merging these weights although they can be read: there are none, or they are packed. `where`: the folder or file.
// `nvidia_algo`: of hf_quant_config.json; empty when there is none.
void check_part(const std::string& where, const LoadedWeights& weights, const ConfigFacts& config,
                const std::optional<std::string>& nvidia_algo, Diagnostics& diagnostics);

}  // namespace crucible
