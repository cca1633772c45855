#include "io/write_turns.h"

#include <utility>

namespace crucible {

PageBuffer SpareBuffers::take() {
  const std::lock_guard lock(mutex_);
  if (buffers_.empty()) return {};
  PageBuffer buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void SpareBuffers::put(PageBuffer buffer) {
  const std::lock_guard lock(mutex_);
  buffers_.push_back(std::move(buffer));
}

WriteTurns::WriteTurns(Write write, SpareBuffers& spare, std::size_t most_waiting)
    : write_(std::move(write)), spare_(spare), most_waiting_(most_waiting) {}

void WriteTurns::write(std::int64_t offset, PageBuffer& bytes, std::size_t size) {
  switch (enter(offset, bytes, size)) {
    case Way::kLeft: return;
    case Way::kBeside: return write_(offset, bytes.data(), size);
    case Way::kTurn: break;
  }
  try {
    write_(offset, bytes.data(), size);
    for (Waiting waiting; next(waiting);) {
      write_(waiting.offset, waiting.bytes.data(), waiting.size);
      spare_.put(std::move(waiting.bytes));
    }
  } catch (...) {
    give_up();
    throw;
  }
}

WriteTurns::Way WriteTurns::enter(std::int64_t offset, PageBuffer& bytes, std::size_t size) {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(writing_, true)) return Way::kTurn;
  if (waiting_.size() >= most_waiting_) return Way::kBeside;
  waiting_.push_back({offset, size, std::exchange(bytes, spare_.take())});
  return Way::kLeft;
}

bool WriteTurns::next(Waiting& waiting) {
  const std::lock_guard lock(mutex_);
  writing_ = !waiting_.empty();
  if (!writing_) return false;
  waiting = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

void WriteTurns::give_up() noexcept {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  waiting_.clear();
}

}  // namespace crucible
