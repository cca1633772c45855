// Files and system calls that fail when a test says so.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include <sys/mman.h>

#include "crucible/error.h"
#include "io/file.h"
#include "io/system_calls.h"

namespace crucible {

// Counts calls; answers whether this one fails. `fail_at`: 1 = the first call, 0 = never. Shared by several files, thread-safe.
class FaultPlan {
 public:
  explicit FaultPlan(int fail_at, bool and_all_after = false) : fail_at_(fail_at), persistent_(and_all_after) {}
  bool next_fails() noexcept {
    const int call = ++calls_;
    return fail_at_ > 0 && (call == fail_at_ || (persistent_ && call > fail_at_));
  }
  int calls() const noexcept { return calls_; }

 private:
  std::atomic<int> calls_{0};
  int fail_at_;
  bool persistent_;
};

// A file in memory whose reads fail as planned.
class FaultyReadFile final : public ReadFile {
 public:
  FaultyReadFile(std::string content, std::shared_ptr<FaultPlan> plan) : content_(std::move(content)), plan_(std::move(plan)) {}
  const std::string& path() const noexcept override { return path_; }
  std::int64_t size() const noexcept override { return static_cast<std::int64_t>(content_.size()); }
  void read_at(std::int64_t offset, void* buffer, std::size_t size) const override {
    if (plan_ && plan_->next_fails()) throw Error(ErrorCode::kIo, path_ + ": cannot read: Input/output error (test)");
    if (offset < 0 || static_cast<std::size_t>(offset) + size > content_.size())
      throw Error(ErrorCode::kDamaged, path_ + ": ends early (test)");
    if (size > 0) std::memcpy(buffer, content_.data() + offset, size);
  }
  void check_unchanged() const override {
    if (plan_ && plan_->next_fails()) throw Error(ErrorCode::kDamaged, path_ + ": changed (test)");
  }

 private:
  std::string path_ = "memory";
  std::string content_;
  std::shared_ptr<FaultPlan> plan_;
};

// Puts the table of system calls back as it was: a test that changes it holds one.
class RestoredCalls {
 public:
  RestoredCalls() : saved_(system_calls()) {}
  ~RestoredCalls() { system_calls() = saved_; }
  RestoredCalls(const RestoredCalls&) = delete;
  RestoredCalls& operator=(const RestoredCalls&) = delete;

 private:
  SystemCalls saved_;
};

// While it lives, every system call of the io layer counts, and the planned one fails with `error` instead of being made. One at a time.
class FaultySystem {
 public:
  FaultySystem(int fail_at, int error, bool and_all_after = false) {
    plan_ = std::make_unique<FaultPlan>(fail_at, and_all_after);
    error_ = error;
    real_ = system_calls();
    SystemCalls& calls = system_calls();
    calls.open = [](const char* p, int f, mode_t m) { return fails() ? -1 : real_.open(p, f, m); };
    calls.pread = [](int fd, void* b, std::size_t n, off_t o) { return fails() ? ssize_t{-1} : real_.pread(fd, b, n, o); };
    calls.pwrite = [](int fd, const void* b, std::size_t n, off_t o) { return fails() ? ssize_t{-1} : real_.pwrite(fd, b, n, o); };
    calls.map = [](int fd, std::size_t n) { return fails() ? MAP_FAILED : real_.map(fd, n); };
    calls.allocate = [](int fd, off_t n) { return fails() ? -1 : real_.allocate(fd, n); };
    calls.truncate = [](int fd, off_t n) { return fails() ? -1 : real_.truncate(fd, n); };
    calls.sync = [](int fd) { return fails() ? -1 : real_.sync(fd); };
    calls.make_folder = [](const char* p, mode_t m) { return fails() ? -1 : real_.make_folder(p, m); };
    calls.rename = [](const char* a, const char* b) { return fails() ? -1 : real_.rename(a, b); };
    calls.rename_new = [](const char* a, const char* b) { return fails() ? -1 : real_.rename_new(a, b); };
    calls.exchange = [](const char* a, const char* b) { return fails() ? -1 : real_.exchange(a, b); };
    // A close that fails has closed the file all the same.
    calls.close = [](int fd) {
      const int closed = real_.close(fd);
      return fails() ? -1 : closed;
    };
  }
  int calls() const noexcept { return plan_->calls(); }

 private:
  static bool fails() {
    if (!plan_->next_fails()) return false;
    errno = error_;
    return true;
  }
  RestoredCalls restored_;
  static inline SystemCalls real_{};
  static inline std::unique_ptr<FaultPlan> plan_;
  static inline int error_ = 0;
};

}  // namespace crucible
