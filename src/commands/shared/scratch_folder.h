// The folder that holds the outputs between the merges of one file. One process works in it at a time; what is done stays when a run
// fails, so that the next one goes on from there.
#pragma once

#include <string>
#include <vector>

namespace crucible {

class ScratchFolder {
 public:
  // Makes the folder (and its parents) and takes its lock. Throws Error{kInput} when another process has it.
  explicit ScratchFolder(const std::string& path);
  ~ScratchFolder();  // gives the lock back; removes the folder when nothing is in it
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const noexcept { return path_; }

  // Removes the outputs of these names, what killed runs left, and the folder. Answers whether it is gone: other files keep it there.
  bool remove(const std::vector<std::string>& names);

 private:
  void close_lock() noexcept;
  std::string path_;
  int lock_ = -1;
};

}  // namespace crucible
