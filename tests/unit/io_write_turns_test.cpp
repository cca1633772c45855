#include "io/write_turns.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace crucible {
namespace {

constexpr std::int64_t kTurnBytes = 100;

void fill(PageBuffer& bytes, std::int64_t piece) {
  std::memset(bytes.place(piece * kTurnBytes, kTurnBytes), static_cast<int>(piece % 251) + 1, kTurnBytes);
}

// A file in memory whose writes can be held up.
class HeldFile {
 public:
  explicit HeldFile(std::int64_t pieces) : bytes(static_cast<std::size_t>(pieces * kTurnBytes)), times(static_cast<std::size_t>(pieces)) {}

  WriteTurns::Write writer() {
    return [this](std::int64_t offset, const void* data, std::size_t size) {
      std::unique_lock lock(mutex_);
      ++arrived_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return !held_; });
      if (fails) throw std::runtime_error("disk full");
      std::memcpy(bytes.data() + offset, data, size);
      ++times[static_cast<std::size_t>(offset / kTurnBytes)];
    };
  }
  void hold() { held_ = true; }
  void release() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  void wait_for_arrivals(int number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= number; });
  }
  bool holds(std::int64_t piece) const {
    const auto at = static_cast<std::size_t>(piece);
    return times[at] == 1 && bytes[at * kTurnBytes] == piece % 251 + 1 && bytes[at * kTurnBytes + kTurnBytes - 1] == piece % 251 + 1;
  }

  std::vector<std::uint8_t> bytes;
  std::vector<int> times;  // how often each piece was written
  bool fails = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int arrived_ = 0;
};

// A thread that has come to the writing of piece 0 and is held there until the file is released. Then ended(error?) is called.
template <typename Ended>
std::jthread hold_writer(HeldFile& file, WriteTurns& turns, const Ended& ended) {
  file.hold();
  std::jthread writer([&turns, ended] {
    PageBuffer bytes;
    fill(bytes, 0);
    bool failed = false;
    try {
      turns.write(0, bytes, kTurnBytes);
    } catch (const std::runtime_error&) {
      failed = true;
    }
    ended(failed);
  });
  file.wait_for_arrivals(1);
  return writer;
}

TEST(WriteTurns, WritesEverythingOnce) {
  constexpr std::int64_t kPieces = 4000;
  HeldFile file(kPieces);
  SpareBuffers spare;
  WriteTurns turns(file.writer(), spare, 2);
  std::atomic<std::int64_t> next{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        PageBuffer bytes;
        for (std::int64_t piece = next++; piece < kPieces; piece = next++) {
          fill(bytes, piece);
          turns.write(piece * kTurnBytes, bytes, kTurnBytes);
        }
      });
    }
  }
  for (std::int64_t piece = 0; piece < kPieces; ++piece) EXPECT_TRUE(file.holds(piece)) << piece;
}

TEST(WriteTurns, WhoeverComesWhileAnotherWritesGoesOn) {
  HeldFile file(4);
  SpareBuffers spare;
  WriteTurns turns(file.writer(), spare, 2);
  std::jthread first = hold_writer(file, turns, [](bool failed) { EXPECT_FALSE(failed); });
  PageBuffer bytes;
  for (std::int64_t piece : {1, 2}) {
    fill(bytes, piece);
    const std::byte* mine = bytes.data();
    turns.write(piece * kTurnBytes, bytes, kTurnBytes);  // returns, though nothing can be written
    EXPECT_NE(bytes.data(), mine);
  }
  // No more than two wait: the next one writes itself.
  std::jthread beside([&] {
    PageBuffer other;
    fill(other, 3);
    turns.write(3 * kTurnBytes, other, kTurnBytes);
  });
  file.wait_for_arrivals(2);
  file.release();
  first.join();
  beside.join();
  for (std::int64_t piece = 0; piece < 4; ++piece) EXPECT_TRUE(file.holds(piece)) << piece;
  EXPECT_NE(spare.take().data(), nullptr);  // one of those that waited
}

TEST(WriteTurns, AFailureEndsTheTurn) {
  HeldFile file(3);
  SpareBuffers spare;
  WriteTurns turns(file.writer(), spare, 2);
  std::jthread first = hold_writer(file, turns, [](bool failed) { EXPECT_TRUE(failed); });
  PageBuffer bytes;
  fill(bytes, 1);
  turns.write(kTurnBytes, bytes, kTurnBytes);
  file.fails = true;
  file.release();
  first.join();
  file.fails = false;
  fill(bytes, 2);
  turns.write(2 * kTurnBytes, bytes, kTurnBytes);
  EXPECT_TRUE(file.holds(2));
  EXPECT_EQ(file.times[1], 0);  // it waited for the thread that failed
}

}  // namespace
}  // namespace crucible
