// An output folder that is complete or not there. Everything is written under a temporary name, synced, then put in the target's
// place; without commit() nothing remains.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"

namespace crucible {

enum class Existing {
  kRefuse,   // a target that exists and is not empty is an error
  kReplace,  // its model files are replaced at commit, everything else in it is carried over
};

// Is `path` a folder with something in it that kRefuse would refuse? (A fresh file system's lost+found is nothing.)
bool is_occupied_folder(const std::string& path);

class OutputFolder {
 public:
  // Prepares to write `target` (missing parent folders are made). Throws Error{kInput} when the target exists, is not empty and
  // `existing` is kRefuse, or is not a folder.
  // `is_model_file(name)` says which files of an existing target (names relative to it) belong to a model and are replaced; null = none.
  OutputFolder(std::string target, Existing existing, std::function<bool(const std::string&)> is_model_file);
  ~OutputFolder();  // removes everything that was not committed
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::string& target() const noexcept { return target_; }
  // Where the files are until commit().
  const std::string& working_path() const noexcept { return working_; }

  // Throws Error{kInput} when the target is the input (a model folder or a weight file), lies in it, or holds it. Compared by inode.
  void protect(const std::string& input) const;
  // Throws Error{kNoSpace}, naming both numbers, when the file system has less than `bytes` free.
  void check_space(std::int64_t bytes) const;
  // `name` is relative to the folder and stays in it ("a/b" makes the folder a).
  std::unique_ptr<WriteFile> create(const std::string& name, std::int64_t size);
  void add_small_file(const std::string& name, std::string_view content);
  void copy_file(const std::string& source, const std::string& name);  // bytes and nothing else; follows links

  // Syncs the folder and puts it in the target's place. All files must be closed.
  void commit();

 private:
  std::string target_;    // as the user wrote it
  std::string resolved_;  // absolute, no links
  std::string working_;
  std::vector<std::string> subfolders_;  // made in the working folder
  std::function<bool(const std::string&)> is_model_file_;
  Existing existing_;
  bool inside_ = false;  // the working folder lies inside the target (the target cannot be renamed)
  bool committed_ = false;
};

// Is it a relative path of plain parts: no "..", no empty part, no NUL?
bool is_plain_relative_name(std::string_view name) noexcept;

// Removes what OutputFolders of this process have not committed; waits for a commit that has begun. Async-signal-unsafe; for the second
// Ctrl-C path of the program.
void abandon_all_outputs() noexcept;

}  // namespace crucible
