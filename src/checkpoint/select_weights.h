// Which files of a model folder hold its weights (formats.md 2.1, restricted to safetensors).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config_facts.h"
#include "checkpoint/index.h"
#include "crucible/error.h"

namespace crucible {

struct WeightChoice {
  std::vector<std::string> files;    // relative to the folder, sorted; empty = nothing usable (a diagnostic says why)
  std::optional<WeightIndex> index;  // what the files must agree with
  std::string index_name;
  std::string rival;  // a single file that lies beside the index and is not in it; empty = none
};

// What loaders expect the weight files of such a model to be called: "diffusion_pytorch_model" where a file of it is called so, else
// "model".
std::string_view weights_stem(std::string_view file_name) noexcept;

// Looks at names and reads the index, no weight file. `names`: the entries of `folder`, sorted.
WeightChoice select_weights(const std::string& folder, const std::vector<std::string>& names, const ConfigFacts& config,
                            Diagnostics& diagnostics);

}  // namespace crucible
