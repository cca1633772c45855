// By position or from a mapping: which of the two ways to read stored bytes is the faster one here.
//
// A mapping saves the copy, and costs faults and the undoing of page tables. Which is more depends on the processor, the system, the file
// system, on whether the bytes are in memory at all, and on how often they are read. So a run begins with chunks of both kinds, from their
// first pass to their last, and takes times.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include "crucible/run.h"

namespace crucible {

struct Job;

// Thread-safe.
class ReadingChoice {
 public:
  static constexpr std::int64_t kEnough = std::int64_t{8} << 20;  // bytes that must have been read in each way
  // Of the chunks of each way the slowest do not count, one in so many: while they were read, the thread may have had to wait for its
  // processor.
  static constexpr std::int64_t kSetAside = 8;
  // Of the cost by position, what a mapping may cost at most to be taken: files that come from a disk cost the same in a trial of both, and
  // the system reads further ahead where they are read by position.
  static constexpr double kMappedShare = 7.0 / 8;

  explicit ReadingChoice(Reading wanted) noexcept : reading_(wanted) {}

  // Is there a choice to be made, that is, are times to be taken?
  bool is_open() const noexcept { return reading_.load(std::memory_order_relaxed) == Reading::kMeasured; }
  // May mappings be read?
  bool may_map() const noexcept { return reading_.load(std::memory_order_relaxed) != Reading::kByPosition; }
  // How a chunk of a tensor is to be read, in each pass: never kMeasured.
  Reading way(std::int64_t chunk) const noexcept;
  // What reading a chunk took in one pass.
  void add(const Job& job, std::int64_t chunk, double seconds, std::int64_t bytes);
  // What it took to undo mappings.
  void add_release(double seconds);
  // Makes the choice where enough was read: a tensor has had all its passes.
  void settle();

 private:
  struct Cost {
    double seconds = 0;
    std::int64_t bytes = 0;
    double of_a_byte() const noexcept { return seconds / static_cast<double>(bytes); }
  };
  using Chunks = std::map<std::pair<const Job*, std::int64_t>, Cost>;  // each with all its passes
  static Cost usual_cost(const Chunks& chunks);

  std::atomic<Reading> reading_;
  std::mutex mutex_;
  Chunks by_position_, mapped_;
  double release_seconds_ = 0;
};

}  // namespace crucible
