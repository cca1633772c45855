// Files read and written by position, so threads need no lock. Virtual: memory and faulty twins stand in for the disk in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "io/file_mapping.h"

namespace crucible {

// Opened for reading. Thread-safe. read_at throws Error{kIo} (with the path) on failure and Error{kDamaged} when the file ends early.
class ReadFile {
 public:
  virtual ~ReadFile() = default;
  virtual const std::string& path() const noexcept = 0;
  virtual std::int64_t size() const noexcept = 0;  // when it was opened
  virtual void read_at(std::int64_t offset, void* buffer, std::size_t size) const = 0;
  // Throws Error{kDamaged} when size or modification time differ from those at opening.
  virtual void check_unchanged() const = 0;
  // The file as memory, made by the first call; null where that cannot be had.
  virtual const FileMapping* mapping() const { return nullptr; }
  // For a place that FileMapping::lost() names: throws what read_at says of it, and the like where that succeeds.
  [[noreturn]] void throw_lost(std::int64_t offset) const;
};

// Created for writing. Thread-safe write_at. Errors throw Error{kIo} or Error{kNoSpace}. Destroying it without close() is allowed
// (the file is then incomplete); it never throws there.
class WriteFile {
 public:
  virtual ~WriteFile() = default;
  virtual const std::string& path() const noexcept = 0;
  virtual void write_at(std::int64_t offset, const void* data, std::size_t size) = 0;
  // Starts write-back of a range without waiting. May do nothing.
  virtual void start_writeback(std::int64_t /*offset*/, std::int64_t /*size*/) noexcept {}
  // fsync of what was written so far; a failure is an error, never retried. Thread-safe.
  virtual void sync() = 0;
  virtual void sync_and_close() = 0;
};

// A regular file (symbolic links are followed; FIFOs, devices and sockets are refused without hanging).
std::unique_ptr<ReadFile> open_for_read(const std::string& path);
// A new file (it must not exist), preallocated to `size` bytes.
std::unique_ptr<WriteFile> create_for_write(const std::string& path, std::int64_t size);

// The whole of a small file; more than `limit_bytes` is an Error{kDamaged}.
std::string read_small_file(const std::string& path, std::int64_t limit_bytes);
// Writes a new file and syncs it.
void write_small_file(const std::string& path, std::string_view content);

// Does the path exist (following links)? Is it a folder?
bool path_exists(const std::string& path) noexcept;
bool is_folder(const std::string& path) noexcept;

}  // namespace crucible
