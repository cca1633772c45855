#include "io/system_calls.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/text_util.h"
#include "crucible/error.h"

namespace crucible {
namespace {

int rename_with(const char* from, const char* to, unsigned flags) {
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
}

constexpr unsigned kNoReplace = 1;
constexpr unsigned kExchange = 2;

const SystemCalls kReal = {
    [](const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); },
    [](int fd) { return ::close(fd); },
    [](int fd, void* buffer, std::size_t size, off_t offset) { return ::pread(fd, buffer, size, offset); },
    [](int fd, const void* data, std::size_t size, off_t offset) { return ::pwrite(fd, data, size, offset); },
    [](int fd, std::size_t size) { return ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0); },
    // Not posix_fallocate: where the file system has no such call, that one writes every block itself. tmpfs has it, and clears every page
    // on the spot, before the first one is written: there it is enough to look for the room.
    [](int fd, off_t size) {
      struct statfs where {};
      if (::fstatfs(fd, &where) == 0 && where.f_type == TMPFS_MAGIC) {
        const bool full = where.f_blocks > 0 && static_cast<off_t>(where.f_bavail) * where.f_bsize < size;  // 0: without a limit
        errno = full ? ENOSPC : EOPNOTSUPP;
        return -1;
      }
      return ::fallocate(fd, 0, 0, size);
    },
    [](int fd, off_t size) { return ::ftruncate(fd, size); },
    [](int fd) { return ::fsync(fd); },
    [](const char* path, mode_t mode) { return ::mkdir(path, mode); },
    [](const char* from, const char* to) { return ::rename(from, to); },
    [](const char* from, const char* to) {
      if (rename_with(from, to, kNoReplace) == 0) return 0;
      if (errno != EINVAL && errno != ENOSYS) return -1;
      // The file system knows no such rename (NFS): look first.
      struct stat there {};
      if (::lstat(to, &there) == 0) {
        errno = EEXIST;
        return -1;
      }
      return ::rename(from, to);
    },
    [](const char* a, const char* b) { return rename_with(a, b, kExchange); },
};

}  // namespace

SystemCalls& system_calls() noexcept {
  static SystemCalls calls = kReal;
  return calls;
}

void throw_system_error(std::string_view path, std::string_view what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  throw Error(full ? ErrorCode::kNoSpace : ErrorCode::kIo,
              fmt::format("{}: {}: {}", printable(path, 400), what, std::generic_category().message(error)));
}

void sync_folder(const std::string& path) {
  const int fd = system_calls().open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) throw_system_error(path, "cannot open the folder to sync it", errno);
  const int failed = system_calls().sync(fd) == 0 ? 0 : errno;
  system_calls().close(fd);
  // Some network file systems cannot sync a folder and say so; there is nothing better to do there.
  if (failed != 0 && failed != EINVAL && failed != ENOTSUP) throw_system_error(path, "cannot sync the folder", failed);
}

}  // namespace crucible
