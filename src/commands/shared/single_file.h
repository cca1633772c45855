// A merge whose output is one weight file, with its record beside it.
#pragma once

#include <optional>
#include <string>

#include "commands/shared/merge_options.h"
#include "report/record.h"

namespace crucible {

// Does a path on the command line ask for a file, not a folder?
bool asks_for_file(const std::string& path);

// FILE.crucible.json
std::string record_of_file(const std::string& file);

// Runs a plan of one weight file into `file`, which is complete when this returns and absent or unchanged when it throws. Throws InputError
// when it exists and the options do not allow to replace it, or when it is an input.
int run_into_file(const Plan& plan, const MergeRequest& request, const std::string& file, Talk talk);

// Such a file in a folder of the form that its record describes, made of links. Removed with the object.
class FolderOfFile {
 public:
  FolderOfFile(const std::string& file, const std::string& name_in_record);
  ~FolderOfFile();
  FolderOfFile(const FolderOfFile&) = delete;
  FolderOfFile& operator=(const FolderOfFile&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

// The record of such a file. Problems go to `diagnostics`.
std::optional<Record> open_record_of_file(const std::string& file, Diagnostics& diagnostics);

}  // namespace crucible
