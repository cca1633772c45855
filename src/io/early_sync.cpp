#include "io/early_sync.h"

#include <algorithm>
#include <system_error>

namespace crucible {

EarlySync::~EarlySync() { join(); }

void EarlySync::wrote(WriteFile& file, std::int64_t size) {
  const std::lock_guard lock(mutex_);
  if (failed_ != nullptr) std::rethrow_exception(failed_);
  std::int64_t& unsynced = unsynced_[&file];
  unsynced += size;
  if (unsynced < piece_ || ended_) return;
  try {
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {
    ended_ = true;  // no thread to be had: the sync at the end does it all
  }
  wake_.notify_one();
}

void EarlySync::finish() {
  join();
  if (failed_ != nullptr) std::rethrow_exception(failed_);
}

void EarlySync::join() noexcept {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

// The file with most bytes to sync, null where none has enough.
WriteFile* EarlySync::due() {
  const auto most = std::max_element(unsynced_.begin(), unsynced_.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most != unsynced_.end() && most->second >= piece_ ? most->first : nullptr;
}

void EarlySync::work() {
  std::unique_lock lock(mutex_);
  while (!ended_) {
    WriteFile* const file = due();
    if (file == nullptr) {
      wake_.wait(lock);
      continue;
    }
    unsynced_[file] = 0;
    lock.unlock();
    try {
      file->sync();
      lock.lock();
    } catch (...) {
      lock.lock();
      failed_ = std::current_exception();
      ended_ = true;
    }
  }
}

}  // namespace crucible
