// The weight files of a checkpoint, opened, their headers read and compared with the index.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/select_weights.h"
#include "crucible/checkpoint.h"
#include "io/file.h"

namespace crucible {

struct LoadedWeights {
  std::vector<WeightFile> files;
  std::vector<std::unique_ptr<ReadFile>> open_files;  // parallel to `files`
  std::vector<StoredTensor> tensors;                  // sorted by name
};

// Every disagreement goes to `diagnostics`. Throws Error{kIo} when the system fails.
LoadedWeights load_weights(const std::string& folder, const WeightChoice& choice, Diagnostics& diagnostics);

}  // namespace crucible
