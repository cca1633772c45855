// Syncs files while they are still being written. A disk may take writes into a cache of its own, as virtual ones and many cloud volumes
// do, and store them only when asked to: a sync that comes once, at the end, then waits for all of them, with nothing else to do.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "io/file.h"

namespace crucible {

class EarlySync {
 public:
  // A file is synced each time that `piece` bytes of it were written since its last sync began.
  explicit EarlySync(std::int64_t piece) : piece_(piece) {}
  ~EarlySync();
  EarlySync(const EarlySync&) = delete;
  EarlySync& operator=(const EarlySync&) = delete;

  // `size` more bytes of the file were written. Thread-safe; does not wait. The file stays open until finish() or the destructor returns.
  // Throws what a sync threw.
  void wrote(WriteFile& file, std::int64_t size);
  // Waits for the sync under way and begins no more. Throws what one threw: the system tells of a failure once, so a later sync of the
  // file would succeed and prove nothing.
  void finish();

 private:
  void work();
  WriteFile* due();
  void join() noexcept;

  std::int64_t piece_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::unordered_map<WriteFile*, std::int64_t> unsynced_;  // bytes
  bool ended_ = false;
  std::exception_ptr failed_;
  std::thread thread_;  // begins with the first sync
};

}  // namespace crucible
