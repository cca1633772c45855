// Recognises checkpoints whose numbers are codes of some quantisation (formats.md section 13): averaging codes would ruin a model silently.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/config_facts.h"
#include "crucible/checkpoint.h"

namespace crucible {

// One line that names the scheme and what gave it away; empty when the checkpoint is plain. `nvidia_algo`: of hf_quant_config.json, when
// there is one. `tensors`: sorted by name.
std::string find_quantization(const ConfigFacts& config, const std::optional<std::string>& nvidia_algo,
                              const std::vector<StoredTensor>& tensors);

}  // namespace crucible
