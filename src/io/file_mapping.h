// A file seen as memory. Reading a page of it that is gone (the file was cut short, the disk failed) is a signal, SIGBUS, which ends a
// program; here it makes the page one of zeros and is remembered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace crucible {

class FileMapping {
 public:
  // All of an open file of `size` bytes, to be read. Null where the system refuses, and for an empty file. The first call of a process
  // takes the signal SIGBUS; what concerns no mapping goes on to the handler that was there before.
  static std::unique_ptr<FileMapping> make(int fd, std::int64_t size);
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  const std::byte* bytes() const noexcept { return bytes_; }
  // The offset of a page that could not be read, -1 while there is none. To be asked after the bytes were read and before they are used.
  // Bytes between the new end of a file that was cut short and the end of that page are zeros without this: ReadFile::check_unchanged
  // finds those.
  std::int64_t lost() const noexcept;
  // Takes pages out of this process's resident memory; they come back when they are read. Those that lie wholly within the range, or
  // up to kMappedAlong bytes before it: with a page that is read the system maps others around it, as far as a large page reaches, and
  // these may be of a range that was released before.
  static constexpr std::int64_t kMappedAlong = std::int64_t{2} << 20;
  void release(std::int64_t offset, std::int64_t size) const noexcept;

  struct Watched;  // what the handler looks at

 private:
  FileMapping(const std::byte* bytes, std::int64_t size);

  const std::byte* bytes_;
  std::int64_t size_;
  Watched* watched_;
};

}  // namespace crucible
