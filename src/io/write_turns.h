// Writes of many threads to one file. The system lets the writes of a file wait for each other, and a thread that waits there computes
// nothing. So whoever comes while another thread writes leaves its buffer to that one, and goes on with an empty one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "io/page_buffer.h"

namespace crucible {

// Buffers whose bytes were written. Thread-safe.
class SpareBuffers {
 public:
  PageBuffer take();  // a new one where there is none
  void put(PageBuffer buffer);

 private:
  std::mutex mutex_;
  std::vector<PageBuffer> buffers_;
};

class WriteTurns {
 public:
  using Write = std::function<void(std::int64_t offset, const void* data, std::size_t size)>;  // thread-safe

  // At most `most_waiting` buffers wait for the thread that writes; who comes then writes beside it.
  WriteTurns(Write write, SpareBuffers& spare, std::size_t most_waiting);

  // Writes `size` bytes from the place of the buffer, now or on the thread whose turn it is; `bytes` may be another buffer afterwards.
  // When all threads have returned, everything is written. Throws what the writing threw, on the thread that did it; what waited for that
  // thread is then not written.
  void write(std::int64_t offset, PageBuffer& bytes, std::size_t size);

 private:
  struct Waiting {
    std::int64_t offset = 0;
    std::size_t size = 0;
    PageBuffer bytes;
  };
  enum class Way { kTurn, kBeside, kLeft };
  Way enter(std::int64_t offset, PageBuffer& bytes, std::size_t size);
  // Takes what waits; where nothing does, the turn is over.
  bool next(Waiting& waiting);
  void give_up() noexcept;

  Write write_;
  SpareBuffers& spare_;
  std::size_t most_waiting_;
  std::mutex mutex_;
  bool writing_ = false;  // has a thread the turn?
  std::deque<Waiting> waiting_;
};

}  // namespace crucible
