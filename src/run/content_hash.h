// Hashes of whole files, read once more from end to end.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "crucible/checkpoint.h"

namespace crucible {

// XXH3-128 of each weight file's bytes, several files at a time. `stop` (may be null) interrupts.
std::vector<std::string> hash_weight_files(const Checkpoint& checkpoint, int threads, const std::atomic<bool>* stop);

// XXH3-128 of a file.
std::string hash_file(const std::string& path);

}  // namespace crucible
