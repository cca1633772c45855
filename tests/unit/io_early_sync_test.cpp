#include "io/early_sync.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace crucible {
namespace {

constexpr std::int64_t kPiece = 100;

// Counts its syncs; they can be held up, or fail.
class CountingFile final : public WriteFile {
 public:
  const std::string& path() const noexcept override { return path_; }
  void write_at(std::int64_t, const void*, std::size_t) override {}
  void sync() override {
    std::unique_lock lock(mutex_);
    ++syncs_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (fails_) throw std::runtime_error("lost");
  }
  void sync_and_close() override {}

  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void fail() { fails_ = true; }
  void wait_for_syncs(int number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return syncs_ >= number; });
  }
  int syncs() {
    const std::lock_guard lock(mutex_);
    return syncs_;
  }

 private:
  std::string path_ = "counting";
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool fails_ = false;
  int syncs_ = 0;
};

TEST(EarlySyncTest, SyncsAfterEachPiece) {
  CountingFile file;
  EarlySync syncs(kPiece);
  for (int piece = 1; piece <= 3; ++piece) {
    syncs.wrote(file, kPiece - 1);
    EXPECT_EQ(file.syncs(), piece - 1);
    syncs.wrote(file, 1);
    file.wait_for_syncs(piece);
  }
  syncs.finish();
  EXPECT_EQ(file.syncs(), 3);
}

TEST(EarlySyncTest, LessThanAPieceIsLeftToTheLastSync) {
  CountingFile file;
  EarlySync syncs(kPiece);
  syncs.wrote(file, kPiece - 1);
  syncs.finish();
  EXPECT_EQ(file.syncs(), 0);
}

TEST(EarlySyncTest, WritersDoNotWaitAndWhatTheyWriteMeanwhileIsOneSync) {
  CountingFile file;
  EarlySync syncs(kPiece);
  file.hold(true);
  syncs.wrote(file, kPiece);
  file.wait_for_syncs(1);
  for (int i = 0; i < 5; ++i) syncs.wrote(file, kPiece);
  EXPECT_EQ(file.syncs(), 1);
  file.hold(false);
  file.wait_for_syncs(2);
  syncs.finish();
  EXPECT_EQ(file.syncs(), 2);
}

TEST(EarlySyncTest, TheFileWithMostToSyncComesFirst) {
  CountingFile held, little, much;
  EarlySync syncs(kPiece);
  held.hold(true);
  syncs.wrote(held, kPiece);
  held.wait_for_syncs(1);
  syncs.wrote(little, kPiece);
  syncs.wrote(much, 2 * kPiece);
  much.hold(true);
  held.hold(false);
  much.wait_for_syncs(1);
  EXPECT_EQ(little.syncs(), 0);
  much.hold(false);
  little.wait_for_syncs(1);
}

TEST(EarlySyncTest, AFailureStopsTheWritersAndIsNotTriedAgain) {
  CountingFile file;
  file.fail();
  EarlySync syncs(kPiece);
  syncs.wrote(file, kPiece);
  file.wait_for_syncs(1);
  EXPECT_THROW(syncs.finish(), std::runtime_error);
  EXPECT_THROW(syncs.wrote(file, kPiece), std::runtime_error);
  EXPECT_EQ(file.syncs(), 1);
}

TEST(EarlySyncTest, GivingUpWaitsForTheSyncUnderWay) {
  CountingFile file;
  file.hold(true);
  auto syncs = std::make_unique<EarlySync>(kPiece);
  syncs->wrote(file, kPiece);
  file.wait_for_syncs(1);
  std::thread release([&] { file.hold(false); });
  syncs.reset();
  release.join();
  EXPECT_EQ(file.syncs(), 1);
}

TEST(EarlySyncTest, ManyWriters) {
  CountingFile a, b;
  EarlySync syncs(kPiece);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) syncs.wrote(i % 2 == 0 ? a : b, kPiece / 10);
    });
  }
  for (auto& thread : threads) thread.join();
  syncs.finish();
  EXPECT_LE(a.syncs() + b.syncs(), 400);
}

}  // namespace
}  // namespace crucible
