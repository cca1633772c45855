#include "io/file.h"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "crucible/error.h"
#include "io/system_calls.h"

namespace crucible {
namespace {

// Linux cuts one call at 0x7FFFF000 bytes, other systems refuse above 2^31.
constexpr std::size_t kLargestCall = std::size_t{1} << 30;

bool same_time(const timespec& a, const timespec& b) noexcept { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

// More files than the soft limit allows: the hard limit is ours to use.
bool raise_file_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return false;
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

int open_retrying(const std::string& path, int flags, mode_t mode) {
  bool raised = false;
  for (;;) {
    const int fd = system_calls().open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return fd;
    if (errno == EINTR) continue;
    if (errno == EMFILE && !std::exchange(raised, true) && raise_file_limit()) continue;
    return -1;
  }
}

std::string_view kind_of(mode_t mode) noexcept {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "not a regular file";
}

[[noreturn]] void throw_not_regular(const std::string& path, mode_t mode) {
  throw Error(ErrorCode::kInput, fmt::format("{}: is {}, not a file with data", printable(path, 400), kind_of(mode)));
}

// A path that the user can mend is wrong input; all else is the system's failure.
[[noreturn]] void throw_open_error(const std::string& path, int error) {
  const bool users = error == ENOENT || error == EACCES || error == EPERM || error == ELOOP || error == ENAMETOOLONG || error == ENOTDIR;
  if (!users) throw_system_error(path, "cannot open", error);
  struct stat link {};
  if (error == ENOENT && ::lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode)) {
    throw Error(ErrorCode::kInput, fmt::format("{}: is a link to a file that does not exist", printable(path, 400)));
  }
  throw Error(ErrorCode::kInput, fmt::format("{}: cannot open: {}", printable(path, 400), std::generic_category().message(error)));
}

class PosixReadFile final : public ReadFile {
 public:
  explicit PosixReadFile(const std::string& path) : path_(path) {
    if (path.find('\0') != std::string::npos) throw_open_error(path, ENOENT);
    // Looked at before it is opened, because opening a device can act on it; looked at again after, because it may have been swapped.
    if (::stat(path.c_str(), &opened_) != 0) throw_open_error(path, errno);
    if (!S_ISREG(opened_.st_mode)) throw_not_regular(path, opened_.st_mode);
    fd_ = open_retrying(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd_ < 0) throw_open_error(path, errno);
    if (::fstat(fd_, &opened_) != 0 || !S_ISREG(opened_.st_mode)) {
      system_calls().close(fd_);
      throw_not_regular(path, opened_.st_mode);
    }
    // Doubles how far the system reads ahead of a merge, which most often is 128 KiB.
    static_cast<void>(::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL));
  }
  ~PosixReadFile() override { system_calls().close(fd_); }
  PosixReadFile(const PosixReadFile&) = delete;
  PosixReadFile& operator=(const PosixReadFile&) = delete;

  const std::string& path() const noexcept override { return path_; }
  std::int64_t size() const noexcept override { return opened_.st_size; }

  void read_at(std::int64_t offset, void* buffer, std::size_t size) const override {
    char* out = static_cast<char*>(buffer);
    while (size > 0) {
      const ssize_t n = system_calls().pread(fd_, out, std::min(size, kLargestCall), offset);
      if (n < 0) {
        if (errno == EINTR) continue;
        throw_system_error(path_, fmt::format("cannot read at byte {}", offset), errno);
      }
      if (n == 0) {
        throw Error(ErrorCode::kDamaged, fmt::format("{}: ends at byte {}, {} more bytes were expected (it had {} when it was opened)",
                                                     printable(path_, 400), offset, size, this->size()));
      }
      out += n;
      offset += n;
      size -= static_cast<std::size_t>(n);
    }
  }

  const FileMapping* mapping() const override {
    std::call_once(mapped_, [this] { mapping_ = FileMapping::make(fd_, opened_.st_size); });
    return mapping_.get();
  }

  void check_unchanged() const override {
    struct stat now {};
    if (::fstat(fd_, &now) != 0) throw_system_error(path_, "cannot examine", errno);
    check_same(now);
    if (::stat(path_.c_str(), &now) != 0) throw_system_error(path_, "cannot examine", errno);
    if (now.st_dev != opened_.st_dev || now.st_ino != opened_.st_ino) {
      throw Error(ErrorCode::kDamaged, fmt::format("{}: was replaced by another file while it was in use", printable(path_, 400)));
    }
    check_same(now);
  }

 private:
  void check_same(const struct stat& now) const {
    if (now.st_size != opened_.st_size) {
      throw Error(ErrorCode::kDamaged, fmt::format("{}: changed while it was in use: {} bytes when opened, {} now", printable(path_, 400),
                                                   opened_.st_size, now.st_size));
    }
    if (!same_time(now.st_mtim, opened_.st_mtim)) {
      throw Error(ErrorCode::kDamaged, fmt::format("{}: was written to while it was in use", printable(path_, 400)));
    }
  }

  std::string path_;
  int fd_ = -1;
  struct stat opened_ {};
  mutable std::once_flag mapped_;
  mutable std::unique_ptr<FileMapping> mapping_;
};

class PosixWriteFile final : public WriteFile {
 public:
  PosixWriteFile(const std::string& path, std::int64_t size) : path_(path), size_(size) {
    fd_ = open_retrying(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
    if (fd_ < 0) throw_system_error(path, "cannot create", errno);
    const int failed = size > 0 ? preallocate() : 0;
    if (failed != 0) {
      system_calls().close(fd_);
      ::unlink(path.c_str());
      throw_system_error(path, fmt::format("cannot reserve {} bytes", size), failed);
    }
  }
  ~PosixWriteFile() override {
    if (fd_ >= 0) system_calls().close(fd_);
  }
  PosixWriteFile(const PosixWriteFile&) = delete;
  PosixWriteFile& operator=(const PosixWriteFile&) = delete;

  const std::string& path() const noexcept override { return path_; }

  void write_at(std::int64_t offset, const void* data, std::size_t size) override {
    CHECK(fd_ >= 0 && offset >= 0 && static_cast<std::int64_t>(size) <= size_ - offset, "{}: {} bytes at {} of {}", path_, size, offset,
          size_);
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t n = system_calls().pwrite(fd_, from, std::min(size, kLargestCall), offset);
      if (n < 0) {
        if (errno == EINTR) continue;
        throw_system_error(path_, fmt::format("cannot write at byte {}", offset), errno);
      }
      if (n == 0) throw_system_error(path_, fmt::format("cannot write at byte {}", offset), EIO);
      from += n;
      offset += n;
      size -= static_cast<std::size_t>(n);
    }
  }

  void start_writeback(std::int64_t offset, std::int64_t size) noexcept override {
    static_cast<void>(::sync_file_range(fd_, offset, size, SYNC_FILE_RANGE_WRITE));
  }

  // After a failed fsync the kernel may have dropped the pages: a second one would succeed and prove nothing.
  void sync() override {
    CHECK(fd_ >= 0, "{} is closed", path_);
    if (system_calls().sync(fd_) != 0) throw_system_error(path_, kCannotSync, errno);
  }

  void sync_and_close() override {
    CHECK(fd_ >= 0, "{} is closed", path_);
    const int fd = std::exchange(fd_, -1);
    const int sync_failed = system_calls().sync(fd) == 0 ? 0 : errno;
    const int close_failed = system_calls().close(fd) == 0 ? 0 : errno;
    if (sync_failed != 0) throw_system_error(path_, kCannotSync, sync_failed);
    if (close_failed != 0 && close_failed != EINTR) throw_system_error(path_, "cannot close", close_failed);
  }

 private:
  static constexpr std::string_view kCannotSync = "cannot sync to disk";

  int preallocate() {
    int result = 0;
    do {
      result = system_calls().allocate(fd_, size_) == 0 ? 0 : errno;
    } while (result == EINTR);
    if (result != EOPNOTSUPP && result != ENOSYS && result != EINVAL) return result;
    return system_calls().truncate(fd_, size_) == 0 ? 0 : errno;
  }

  std::string path_;
  std::int64_t size_;
  int fd_ = -1;
};

}  // namespace

void ReadFile::throw_lost(std::int64_t offset) const {
  std::byte one;
  read_at(offset, &one, 1);
  throw Error(ErrorCode::kIo, fmt::format("{}: cannot read at byte {}", printable(path(), 400), offset));
}

std::unique_ptr<ReadFile> open_for_read(const std::string& path) { return std::make_unique<PosixReadFile>(path); }

std::unique_ptr<WriteFile> create_for_write(const std::string& path, std::int64_t size) {
  CHECK(size >= 0);
  return std::make_unique<PosixWriteFile>(path, size);
}

std::string read_small_file(const std::string& path, std::int64_t limit_bytes) {
  const auto file = open_for_read(path);
  if (file->size() > limit_bytes) {
    throw Error(ErrorCode::kDamaged,
                fmt::format("{}: has {} bytes; such a file has {} at most", printable(path, 400), file->size(), limit_bytes));
  }
  std::string text(static_cast<std::size_t>(file->size()), '\0');
  file->read_at(0, text.data(), text.size());
  return text;
}

void write_small_file(const std::string& path, std::string_view content) {
  const auto file = create_for_write(path, static_cast<std::int64_t>(content.size()));
  file->write_at(0, content.data(), content.size());
  file->sync_and_close();
}

bool path_exists(const std::string& path) noexcept {
  struct stat there {};
  return path.find('\0') == std::string::npos && ::stat(path.c_str(), &there) == 0;
}

bool is_folder(const std::string& path) noexcept {
  struct stat there {};
  return path.find('\0') == std::string::npos && ::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode);
}

}  // namespace crucible
