// The files of a model folder that are not weights.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/error.h"

namespace crucible {

// Does a file of this name (relative to the folder; a subfolder ends with '/') belong to a model, so that a merge into its folder replaces
// or removes it? Weights, weight indices, config, tokenizer, model card and this program's reports do; code and everything unknown do not.
bool is_model_file_name(const std::string& name);

// One file of a model folder, or a whole subfolder that is not looked into ("original/").
struct FolderFile {
  std::string name;  // relative to the folder
  std::int64_t bytes = 0;
  std::string left_out;  // why it is not copied beside merged weights; empty = it is
  bool is_code = false;  // Python, which a loader may be told to run
};

// Is a file of this name (without folders) weights, in whatever format, or an index of such?
bool is_weights_name(std::string_view name) noexcept;

// Why a file of this name (its last part) is not copied beside merged weights; empty = it may be.
std::string why_left_out(const std::string& name);

// What lies in a folder, sorted by name: regular files (links followed) of its top level and of the subfolders that belong to a model (chat
// templates, assets, the parts that model_index.json and modules.json list). What is odd (a dangling link, a pointer in place of the file)
// is a notice.
std::vector<FolderFile> survey_folder(const std::string& folder, Diagnostics& diagnostics);

// The names of those that are copied.
std::vector<std::string> list_companion_files(const std::string& folder, Diagnostics& diagnostics);

}  // namespace crucible
