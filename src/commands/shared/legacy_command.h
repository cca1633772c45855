// mergekit-legacy's way to ask for a merge: models, weights and densities as options. Shared by Crucible's name for it and mergekit's.
#pragma once

#include <string>
#include <vector>

#include "commands/shared/front_end.h"

namespace crucible {

struct LegacyOptions {
  FrontEnd front;
  std::vector<std::string> models;
  std::vector<double> densities;
  std::vector<double> weights;
  std::string method = "ties";
  std::string base;
  bool normalize = true;
  Option normalize_option;
  bool naive_count = false;
  bool bf16 = false;
};

// --merge, --density, --weight, --method, --base-model, --normalize, --naive-count, --bf16.
void declare_legacy(CommandLine& line, LegacyOptions& options);

// Writes the recipe, then goes on as `run_recipe` does. The exit code.
int run_legacy(LegacyOptions& options, const std::string& name);

}  // namespace crucible
