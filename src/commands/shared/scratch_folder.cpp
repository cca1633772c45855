#include "commands/shared/scratch_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "base/text_util.h"
#include "crucible/error.h"
#include "io/folder_swap.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLockName = ".lock";

}  // namespace

ScratchFolder::ScratchFolder(const std::string& path) : path_(path) {
  std::error_code failed;
  fs::create_directories(path, failed);
  const std::string lock = (fs::path(path) / kLockName).string();
  if (!failed) lock_ = ::open(lock.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (lock_ < 0)
    throw Error(ErrorCode::kIo,
                fmt::format("{}: cannot be made: {}", printable(path, 400), failed ? failed.message() : std::strerror(errno)));
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(lock_);
  throw Error(ErrorCode::kInput, fmt::format("{}: another process works in this folder", printable(path, 400)));
}

ScratchFolder::~ScratchFolder() { close_lock(); }

void ScratchFolder::close_lock() noexcept {
  if (lock_ < 0) return;
  ::unlink((path_ + "/" + kLockName).c_str());
  ::close(lock_);
  lock_ = -1;
  ::rmdir(path_.c_str());
}

bool ScratchFolder::remove(const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const std::string& name : names) {
    remove_folder((fs::path(path_) / name).string());
    // A name may hold folders: "org/model".
    for (fs::path parent = fs::path(name).parent_path(); !parent.empty(); parent = parent.parent_path()) {
      const fs::path folder = fs::path(path_) / parent;
      if (fs::is_directory(folder, ignored)) {
        for (const std::string& left : list_folder(folder.string())) {
          if (left.starts_with('.') && left.find(".crucible-") != std::string::npos) remove_folder((folder / left).string());
        }
      }
      ::rmdir(folder.c_str());
    }
  }
  for (const std::string& left : list_folder(path_)) {
    if (left.starts_with('.') && left.find(".crucible-") != std::string::npos) remove_folder((fs::path(path_) / left).string());
  }
  close_lock();
  return !fs::exists(path_, ignored);
}

}  // namespace crucible
