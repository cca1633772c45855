#include "run/release_queue.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace crucible {

void ReleaseQueue::add(const FileMapping& mapping, std::int64_t offset, std::int64_t size) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({&mapping, offset, offset + size});
    waiting_bytes_ += size;
    if (waiting_bytes_ <= most_) return;
  }
  flush();
}

void ReleaseQueue::flush() {
  std::vector<Range> ranges;
  {
    const std::lock_guard lock(mutex_);
    ranges.swap(waiting_);
    waiting_bytes_ = 0;
  }
  // Chunks and tensors stand side by side in a file: one call for all that touch.
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return a.mapping == b.mapping ? a.begin < b.begin : std::less<>()(a.mapping, b.mapping);
  });
  for (std::size_t i = 0; i < ranges.size();) {
    Range range = ranges[i];
    for (++i; i < ranges.size() && ranges[i].mapping == range.mapping && ranges[i].begin <= range.end; ++i)
      range.end = std::max(range.end, ranges[i].end);
    range.mapping->release(range.begin, range.end - range.begin);
  }
}

}  // namespace crucible
