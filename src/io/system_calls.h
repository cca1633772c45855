// The system calls that change or read files, as a table: tests put failing ones in their place, one call at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <sys/types.h>

namespace crucible {

struct SystemCalls {
  int (*open)(const char* path, int flags, mode_t mode);
  int (*close)(int fd);
  ssize_t (*pread)(int fd, void* buffer, std::size_t size, off_t offset);
  ssize_t (*pwrite)(int fd, const void* data, std::size_t size, off_t offset);
  void* (*map)(int fd, std::size_t size);  // mmap(2) of [0, size), shared and to be read; MAP_FAILED
  int (*allocate)(int fd, off_t size);     // fallocate(2) of [0, size)
  int (*truncate)(int fd, off_t size);
  int (*sync)(int fd);
  int (*make_folder)(const char* path, mode_t mode);
  int (*rename)(const char* from, const char* to);
  int (*rename_new)(const char* from, const char* to);  // fails with EEXIST when `to` exists
  int (*exchange)(const char* a, const char* b);        // swaps two entries in one step
};

// The table in use. Not to be changed while other threads work with files.
SystemCalls& system_calls() noexcept;

// Throws "path: what: reason of `error`": kNoSpace for a full disk, a quota or a size limit, else kIo.
[[noreturn]] void throw_system_error(std::string_view path, std::string_view what, int error);

// Syncs a folder, so that renames in it survive a power cut.
void sync_folder(const std::string& path);

}  // namespace crucible
