// Runs the merges of one file in the order of their dependence. Shared by Crucible's name for it and mergekit's.
#pragma once

#include <string>

#include "commands/shared/merge_options.h"

namespace crucible {

struct MultiOptions {
  MergeOptions merge;  // `recipe` is the file
  std::string out;     // folder of the document without a name
  std::string intermediate_dir;
  bool keep = false;  // what lies between stays beside the output
  bool reuse = true;  // what is done already, by its record, is not merged again
  bool dry_run = false;
};

// The exit code. Throws InputError with every problem of every document, before any merge begins.
int run_multi(const MultiOptions& options);

}  // namespace crucible
