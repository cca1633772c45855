// Merges sets of weight files without knowing what they are. Shared by Crucible's name for it and mergekit's.
#pragma once

#include <string>

#include "commands/shared/merge_options.h"

namespace crucible {

struct RawOptions {
  MergeOptions merge;  // `recipe` is the configuration
  std::string out;     // a folder, or a file that ends in .safetensors
  bool intersection = false;
  bool all_of_them = false;  // the union
  bool dry_run = false;
};

// --tensor-intersection and --tensor-union.
void declare_raw(CommandLine& line, RawOptions& options);

// The exit code.
int run_raw(const RawOptions& options);

}  // namespace crucible
