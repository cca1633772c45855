// The options that mergekit 0.1.4's merge commands share, under mergekit's names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "commands/shared/merge_options.h"

namespace crucible {

struct MergekitOptions {
  MergeOptions merge;
  std::string transformers_cache;
  bool safe_serialization = true;
  int verbosity = 0;
  std::vector<std::pair<std::string, Option>> ignored;  // reason, option
};

// `model_names`: of the option that maps ids to folders, which is Crucible's own.
void declare_mergekit_options(CommandLine& line, MergekitOptions& options, const char* model_names = kModelNames);

// An option that changes how mergekit computes, never what: accepted, and named with the reason when given.
void declare_without_effect(CommandLine& line, MergekitOptions& options, const char* name, const char* reason);

// Once after parsing: refuses what has no counterpart, names what has no effect, and brings the rest into `options.merge`.
void apply_mergekit_options(MergekitOptions& options);

}  // namespace crucible
