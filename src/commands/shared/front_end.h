// Commands that write a recipe and run it: the options and the steps that they share.
#pragma once

#include <optional>
#include <string>

#include "commands/shared/merge_options.h"
#include "crucible/dtype.h"
#include "recipe/model_ref.h"

namespace crucible {

struct FrontEnd {
  MergeOptions merge;
  std::string out;           // folder; may stay empty where nothing is merged
  std::string dtype;         // of the output, as typed
  std::string write_recipe;  // file to write the recipe to
  bool print_recipe = false;
  bool print_only = true;  // printing the recipe is all that is done
  bool dry_run = false;
};

// OUT, --dry-run, --print-recipe, --write-recipe, --dtype, and what all merges have. `model_names`: see declare_options_of_set.
void declare_front_end(CommandLine& line, FrontEnd& options, const char* model_names = kModelNames);

// --dtype as typed; a wrong one is an error in `diagnostics`.
std::optional<DType> dtype_of(const FrontEnd& options, Diagnostics& diagnostics);

// A model as it stands on a command line: a reference, or a path that exists and is taken as it is, whatever characters it holds.
std::optional<ModelRef> model_argument(const std::string& text, Diagnostics& diagnostics);

// Prints, writes, plans or merges `recipe`, as the options say. `name` stands for the recipe's file in messages. The exit code.
int run_recipe(FrontEnd& options, const std::string& name, const std::string& recipe);

}  // namespace crucible
