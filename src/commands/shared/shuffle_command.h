// The command line of layershuffle, which Crucible and mergekit spell in two ways.
#pragma once

#include <string>
#include <vector>

#include "commands/shared/front_end.h"

namespace crucible {

struct ShuffleOptions {
  FrontEnd front;
  std::vector<std::string> models;
  std::vector<double> weights;
  bool fp16 = false;
  bool full_random = false;
};

// --model, --weight, --fp16, --full-random.
void declare_shuffle(CommandLine& line, ShuffleOptions& options);

// Draws the layers, then goes on as `run_recipe` does. The exit code.
int run_shuffle(ShuffleOptions& options, const std::string& name);

}  // namespace crucible
