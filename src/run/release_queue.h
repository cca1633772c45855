// Mapped pages that a run is done with. They leave resident memory many at a time: each time makes all processors that run a thread of
// this program forget what they know of its pages, and stops those that run one.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "io/file_mapping.h"

namespace crucible {

// Thread-safe. The mappings outlive it.
class ReleaseQueue {
 public:
  // At most `most` bytes wait.
  explicit ReleaseQueue(std::int64_t most) noexcept : most_(most) {}
  ~ReleaseQueue() { flush(); }
  ReleaseQueue(const ReleaseQueue&) = delete;
  ReleaseQueue& operator=(const ReleaseQueue&) = delete;

  void add(const FileMapping& mapping, std::int64_t offset, std::int64_t size);
  // Releases what waits.
  void flush();

 private:
  struct Range {
    const FileMapping* mapping;
    std::int64_t begin, end;
  };

  const std::int64_t most_;
  std::mutex mutex_;
  std::vector<Range> waiting_;
  std::int64_t waiting_bytes_ = 0;
};

}  // namespace crucible
