// How tensors are cut and handed out.
#include "analysis/stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>

#include "crucible/error.h"

namespace crucible {
namespace {

TEST(Cuts, CoverEveryElementOnce) {
  for (const Shape& shape :
       std::vector<Shape>{{}, {1}, {7}, {100}, {3, 5}, {5, 3}, {20, 10}, {2, 33}, {3, 40}, {2, 3, 11}, {4, 1}, {0}, {5, 0}}) {
    for (const std::int64_t most : {1, 4, 10, 32, 1000}) {
      const Cuts cuts = cut_tensor(shape, most);
      std::int64_t at = 0;
      for (std::int64_t t = 0; t < cuts.tiles; ++t) {
        ASSERT_EQ(cuts.begin(t), at) << to_string(shape) << " in " << most;
        const std::int64_t n = cuts.count(t);
        ASSERT_GT(n, 0);
        ASSERT_LE(n, most);
        ASSERT_LE(n, cuts.tile_elems);
        if (shape.size() >= 2 && shape.back() > 0) {
          EXPECT_TRUE(n % shape.back() == 0 || at / shape.back() == (at + n - 1) / shape.back()) << "whole rows, or a piece of one";
        }
        at += n;
      }
      EXPECT_EQ(at, elem_count(shape)) << to_string(shape) << " in " << most;
    }
  }
}

TEST(Patterns, StarStandsForAnything) {
  EXPECT_TRUE(matches_pattern("", "a"));
  EXPECT_TRUE(matches_pattern("a.*.c", "a.b.b.c"));
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_TRUE(matches_pattern("*b*b", "abab"));
  EXPECT_FALSE(matches_pattern("a.*.c", "a.b.cd"));
  EXPECT_FALSE(matches_pattern("a", "ab"));
  EXPECT_FALSE(matches_pattern("ab", "a"));
}

// Counts what it sees, and wants `passes` passes.
class CountingTask final : public TensorTask {
 public:
  CountingTask(std::int64_t tiles, int passes, std::atomic<int>& open)
      : seen_(static_cast<std::size_t>(tiles) * 2), tiles_(tiles), passes_(passes), open_(open) {}
  const std::string& name() const noexcept override { return name_; }
  std::int64_t tiles() const noexcept override { return tiles_; }
  std::int64_t tile_bytes() const noexcept override { return 1; }
  void open() override { most_open = std::max(most_open, ++open_); }
  void see(int pass, std::int64_t tile, Workspace&) override {
    if (fail) throw Error(ErrorCode::kIo, "told to fail");
    EXPECT_EQ(pass, sealed);
    ++seen_[static_cast<std::size_t>(pass * tiles_ + tile)];
  }
  bool seal(int pass) override {
    EXPECT_EQ(pass, sealed++);
    for (std::int64_t t = 0; t < tiles_; ++t) EXPECT_EQ(seen_[static_cast<std::size_t>(pass * tiles_ + t)], 1);
    if (sealed < passes_) return true;
    --open_;
    return false;
  }
  int sealed = 0;
  bool fail = false;
  int most_open = 0;

 private:
  std::vector<std::atomic<int>> seen_;
  std::int64_t tiles_;
  int passes_;
  std::atomic<int>& open_;
  std::string name_ = "x";
};

TEST(Stream, EveryTileOfEveryPassOnce) {
  for (const int workers : {1, 2, 5}) {
    std::atomic<int> open{0};
    std::vector<std::unique_ptr<TensorTask>> tasks;
    for (int i = 0; i < 60; ++i) tasks.push_back(std::make_unique<CountingTask>(i % 7, 1 + i % 2, open));
    run_tasks(tasks, workers, {});
    for (int i = 0; i < 60; ++i) {
      const auto& task = static_cast<const CountingTask&>(*tasks[static_cast<std::size_t>(i)]);
      EXPECT_EQ(task.sealed, 1 + i % 2);
      EXPECT_LE(task.most_open, workers);
    }
  }
}

TEST(Stream, AFailureEndsIt) {
  std::atomic<int> open{0};
  std::vector<std::unique_ptr<TensorTask>> tasks;
  for (int i = 0; i < 9; ++i) tasks.push_back(std::make_unique<CountingTask>(3, 1, open));
  static_cast<CountingTask&>(*tasks[4]).fail = true;
  EXPECT_THROW(run_tasks(tasks, 3, {}), Error);
  std::atomic<bool> stop{true};
  StreamOptions options;
  options.stop = &stop;
  EXPECT_THROW(run_tasks(tasks, 1, options), Error);
}

TEST(Stream, ABudgetThatFitsNoWorkerIsRefusedWithTheOneThatDoes) {
  StreamOptions options;
  options.threads = 8;
  options.memory_bytes = 10'000'000;
  EXPECT_EQ(affordable_workers(options, 3'000'000), 3);
  EXPECT_EQ(affordable_workers(options, 1), 8);
  try {
    affordable_workers(options, 12'300'000);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kNoSpace);
    EXPECT_NE(std::string(e.what()).find("--memory 13M"), std::string::npos) << e.what();
  }
}

TEST(Stream, ParallelCallsEachOnce) {
  std::mutex mutex;
  std::multiset<std::int64_t> seen;
  run_parallel(100, 4, nullptr, [&](std::int64_t i) {
    const std::lock_guard lock(mutex);
    seen.insert(i);
  });
  EXPECT_EQ(seen.size(), 100U);
  EXPECT_EQ(std::set<std::int64_t>(seen.begin(), seen.end()).size(), 100U);
  EXPECT_THROW(run_parallel(10, 4, nullptr,
                            [](std::int64_t i) {
                              if (i == 3) throw Error(ErrorCode::kIo, "x");
                            }),
               Error);
}

}  // namespace
}  // namespace crucible
