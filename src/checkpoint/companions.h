// The files of a model folder that are not weights.
#pragma once

#include <string>
#include <vector>

#include "crucible/error.h"

namespace crucible {

// Does a file of this name belong to a model, so that a merge into its folder replaces or removes it? Weights, weight indices,
// config, tokenizer, model card and this program's reports do; code and everything unknown do not.
bool is_model_file_name(const std::string& name);

// May a file of this name be copied beside merged weights? Weights, training state, reports and hidden files may not.
bool is_companion_file_name(const std::string& name);

// The companion files of a folder, sorted: regular files (links followed) of its top level. A dangling link is a notice.
std::vector<std::string> list_companion_files(const std::string& folder, Diagnostics& diagnostics);

}  // namespace crucible
