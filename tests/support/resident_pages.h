// Which pages of a mapping are in this process's page tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "io/file_mapping.h"

namespace crucible::test {

// Of the first `bytes` bytes; -1 where the system does not tell.
inline std::int64_t resident_pages(const FileMapping& mapping, std::int64_t bytes) {
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  std::vector<std::uint64_t> entries(static_cast<std::size_t>((bytes + page - 1) / page));
  const std::size_t size = entries.size() * sizeof(std::uint64_t);
  const auto first = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(mapping.bytes())) / page;
  const int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  const ssize_t got = ::pread(fd, entries.data(), size, static_cast<off_t>(first * static_cast<std::int64_t>(sizeof(std::uint64_t))));
  ::close(fd);
  if (got != static_cast<ssize_t>(size)) return -1;
  std::int64_t count = 0;
  for (const std::uint64_t entry : entries) count += static_cast<std::int64_t>(entry >> 63);  // bit 63: present
  return count;
}

}  // namespace crucible::test
