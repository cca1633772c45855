// What the commands share that look at models without a recipe.
#pragma once

#include <string>
#include <vector>

#include "analysis/stream.h"
#include "commands/shared/merge_options.h"
#include "crucible/checkpoint.h"

namespace crucible {

// Folders, .safetensors files or ids in the local Hub cache, as typed. Throws InputError with every problem of all of them.
std::vector<Checkpoint> open_models(const std::vector<std::string>& paths, Talk talk);

// Threads, memory and the stop flag of the options; `progress` shows a line.
StreamOptions stream_options(const MergeOptions& options, const ProgressLine& progress);

}  // namespace crucible
