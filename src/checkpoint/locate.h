// Where is the model that a recipe names? Folder beside the recipe, folder in the working directory, a mapping given by the user, or
// the local Hugging Face cache (formats.md section 8). Never the network.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crucible/error.h"

namespace crucible {

struct LocateOptions {
  std::string recipe_folder;                                         // empty = the working directory
  std::vector<std::pair<std::string, std::string>> model_dirs;       // id (as the recipe writes it) -> folder
  enum class Mapping { kOption, kNone } mapping = Mapping::kOption;  // can the user give a folder with --model? For the hints
};

// The folder (or .safetensors file) of `path` at `revision` (empty = default branch). A failure is one error in `diagnostics` at `place`
// that names every place tried; two different existing folders for one relative path are an error too; a snapshot with dangling links
// or an interrupted download says so.
std::optional<std::string> locate_model(const std::string& path, const std::string& revision, const Place& place,
                                        const LocateOptions& options, Diagnostics& diagnostics);

}  // namespace crucible
