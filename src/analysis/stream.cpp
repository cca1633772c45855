#include "analysis/stream.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "crucible/error.h"

namespace crucible {
namespace {

class TaskRun {
 public:
  TaskRun(const std::vector<std::unique_ptr<TensorTask>>& tasks, int workers, const StreamOptions& options)
      : tasks_(tasks), workers_(workers), options_(options) {
    for (const auto& t : tasks_) progress_.bytes_total += t->tiles() * t->tile_bytes();
  }

  void run() {
    {
      std::vector<std::jthread> threads;
      for (int w = 1; w < workers_; ++w) threads.emplace_back([this] { work(); });
      work();
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  struct Open {
    TensorTask* task = nullptr;
    int pass = 0;
    std::int64_t next = 0;  // tile to give
    std::int64_t done = 0;
  };
  struct Handed {
    Open* open = nullptr;
    std::int64_t tile = 0;
    int pass = 0;
  };

  // The earliest task that has a tile to give; a new one when all that are open have none. Waits when too many are open.
  bool next_tile(Handed& handed) {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (failure_) return false;
      for (Open& open : open_) {
        if (open.task == nullptr || open.next == open.task->tiles()) continue;
        handed = {&open, open.next++, open.pass};
        return true;
      }
      while (!open_.empty() && open_.front().task == nullptr) open_.pop_front();
      if (unopened_ < tasks_.size() && under_way_ < workers_) {
        TensorTask* task = tasks_[unopened_++].get();
        task->open();
        ++under_way_;
        open_.push_back({task});
        while (task->tiles() == 0 && open_.back().task != nullptr) seal(open_.back());
        continue;
      }
      if (unopened_ == tasks_.size() && under_way_ == 0) return false;
      changed_.wait(lock);
    }
  }

  void seal(Open& open) {
    if (open.task->seal(open.pass)) {
      ++open.pass;
      open.next = open.done = 0;
    } else {
      open.task = nullptr;
      --under_way_;
    }
  }

  void finish(const Handed& handed) {
    const std::lock_guard lock(mutex_);
    Open& open = *handed.open;
    if (handed.pass == 0) show_progress(*open.task);
    if (++open.done < open.task->tiles()) return;
    seal(open);
    changed_.notify_all();
  }

  void show_progress(const TensorTask& task) {
    progress_.bytes_done += task.tile_bytes();
    if (!options_.progress) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - shown_ < std::chrono::milliseconds(200)) return;
    shown_ = now;
    progress_.tensor = task.name();
    options_.progress(progress_);
  }

  void work() {
    try {
      Workspace space;
      Handed handed;
      while (next_tile(handed)) {
        if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) throw Error(ErrorCode::kInterrupted, "interrupted");
        handed.open->task->see(handed.pass, handed.tile, space);
        finish(handed);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      changed_.notify_all();
    }
  }

  const std::vector<std::unique_ptr<TensorTask>>& tasks_;
  const int workers_;
  const StreamOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Open> open_;  // keeps addresses; closed ones leave from the front
  std::size_t unopened_ = 0;
  int under_way_ = 0;
  StreamProgress progress_;
  std::chrono::steady_clock::time_point shown_;
  std::exception_ptr failure_;
};

}  // namespace

std::int64_t Cuts::begin(std::int64_t tile) const noexcept {
  return pieces == 1 ? tile * tile_elems : tile / pieces * row + tile % pieces * tile_elems;
}

std::int64_t Cuts::count(std::int64_t tile) const noexcept {
  const std::int64_t end = pieces == 1 ? elems : (tile / pieces + 1) * row;
  return std::min(tile_elems, end - begin(tile));
}

Cuts cut_tensor(const Shape& shape, std::int64_t most_elems) {
  Cuts cuts;
  cuts.elems = elem_count(shape);
  if (cuts.elems == 0) return cuts;
  cuts.row = row_length(shape);
  if (shape.size() < 2 || cuts.row <= most_elems) {
    cuts.tile_elems = shape.size() < 2 ? most_elems : most_elems / cuts.row * cuts.row;
    cuts.tile_elems = std::min(cuts.tile_elems, cuts.elems);
    cuts.tiles = (cuts.elems + cuts.tile_elems - 1) / cuts.tile_elems;
  } else {
    cuts.tile_elems = most_elems;
    cuts.pieces = (cuts.row + most_elems - 1) / most_elems;
    cuts.tiles = cuts.elems / cuts.row * cuts.pieces;
  }
  return cuts;
}

int affordable_workers(const StreamOptions& options, std::int64_t worker_bytes) {
  const std::int64_t fit = options.memory_bytes / std::max<std::int64_t>(worker_bytes, 1);
  if (fit < 1) {
    throw Error(ErrorCode::kNoSpace, fmt::format("a memory budget of {} is too small: one worker needs {}; give --memory {} or more",
                                                 render_bytes(options.memory_bytes), render_bytes(worker_bytes),
                                                 fmt::format("{}M", (worker_bytes + 999'999) / 1'000'000)));
  }
  return static_cast<int>(std::min<std::int64_t>(fit, std::max(options.threads, 1)));
}

void run_tasks(const std::vector<std::unique_ptr<TensorTask>>& tasks, int workers, const StreamOptions& options) {
  TaskRun(tasks, workers, options).run();
}

void run_parallel(std::int64_t count, int workers, const std::atomic<bool>* stop, const std::function<void(std::int64_t)>& work) {
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto loop = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++) {
        if (stop != nullptr && stop->load(std::memory_order_relaxed)) throw Error(ErrorCode::kInterrupted, "interrupted");
        work(i);
      }
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int w = 1; w < workers; ++w) threads.emplace_back(loop);
    loop();
  }
  if (failure) std::rethrow_exception(failure);
}

bool matches_pattern(std::string_view pattern, std::string_view name) noexcept {
  if (pattern.empty()) return true;
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace crucible
