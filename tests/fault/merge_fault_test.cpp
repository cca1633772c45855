// A whole merge, with each system call of it failing in turn: the output is the old model, or the new one, or (when there was none)
// nothing; never a mixture, and no temporary folder beside it.
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "crucible/crucible.h"
#include "support/faulty_file.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

using Content = std::map<std::string, std::string>;

// Names and bytes of a folder; the record holds times and is left out.
Content content_of(const std::string& folder) {
  Content out;
  if (!fs::exists(folder)) return out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != "crucible.json" && name != "crucible_report.html")
      out[name] = entry.is_directory() ? "(a folder)" : read_text(entry.path().string());
  }
  return out;
}

class MergeFaults : public ::testing::Test {
 protected:
  MergeFaults() {
    write_llama(box_ / "base", 1, DType::kF16, 1, {1, 8, 8, 8});
    write_llama(box_ / "a", 2, DType::kF16, 1, {1, 8, 8, 8});
    request_.recipe_text = kHalfOfA;
    request_.model_dirs = {{"base", box_ / "base"}, {"a", box_ / "a"}};
    request_.threads = 1;
    request_.shard_bytes = 1000;
    request_.existing = ExistingOutput::kReplace;
    merge(request_, box_ / "expected/out");
    new_ = content_of(box_ / "expected/out");
  }

  void make_old_output() const {
    fs::remove_all(box_ / "work");
    write_llama(box_ / "work/out", 3, DType::kF16, 1, {1, 8, 8, 8});
    write_text(box_ / "work/out/notes.txt", "mine");
  }

  // Merges with call `n` failing; true when the merge had fewer calls than that.
  bool merge_with_fault(int n, int error, bool persistent) const {
    const FaultySystem faults(n, error, persistent);
    try {
      merge(request_, box_ / "work/out");
    } catch (const Error&) {
    }
    return faults.calls() < n;
  }

  TempFolder box_;
  MergeRequest request_;
  Content new_;
};

TEST_F(MergeFaults, NoOutputOrTheWholeOutput) {
  for (const int error : {EIO, ENOSPC}) {
    for (int n = 1;; ++n) {
      fs::remove_all(box_ / "work");
      fs::create_directory(box_ / "work");
      const bool is_last = merge_with_fault(n, error, false);
      const Content got = content_of(box_ / "work/out");
      EXPECT_TRUE(got.empty() || got == new_) << "call " << n << " failing with " << std::strerror(error);
      EXPECT_EQ(content_of(box_ / "work").size(), got.empty() ? 0u : 1u) << "call " << n << ": something is left beside the output";
      if (is_last) {
        EXPECT_GT(n, 20);
        EXPECT_EQ(got, new_);
        break;
      }
    }
  }
}

TEST_F(MergeFaults, OldOutputOrTheNewOne) {
  make_old_output();
  const Content old = content_of(box_ / "work/out");
  Content replaced = new_;
  replaced["notes.txt"] = "mine";
  for (const bool persistent : {false, true}) {
    for (int n = 1;; ++n) {
      make_old_output();
      const bool is_last = merge_with_fault(n, EIO, persistent);
      const Content got = content_of(box_ / "work/out");
      // From some call on the old folder may have to stay beside the new one, rather than be lost; what is in place is always whole.
      Content model = got;
      model.erase("notes.txt");
      EXPECT_TRUE(got == old || model == new_) << "call " << n << (persistent ? " and all after" : "") << " failing";
      if (is_last) {
        EXPECT_GT(n, 20);
        EXPECT_EQ(got, replaced);
        break;
      }
    }
  }
}

// A disk that loses writes tells it to the first sync after them, here to one that is made while the merge still writes.
struct LossyDisk {
  LossyDisk() {
    written = 0;
    syncs = 0;
    real = system_calls();
    system_calls().pwrite = [](int fd, const void* data, std::size_t n, off_t at) {
      written += static_cast<std::int64_t>(n);
      // Long enough for the merge to ask for a sync; the rest waits for it.
      while (written > (std::int64_t{70} << 20) && syncs == 0) std::this_thread::yield();
      return real.pwrite(fd, data, n, at);
    };
    system_calls().sync = [](int fd) {
      if (syncs++ > 0) return real.sync(fd);
      errno = EIO;
      return -1;
    };
  }

  RestoredCalls restored;
  static inline SystemCalls real;
  static inline std::atomic<std::int64_t> written;
  static inline std::atomic<int> syncs;
};

TEST(EarlySyncFaults, WhatIsLostWhileTheMergeWritesStopsIt) {
  const TempFolder box;
  write_llama(box / "a", 1, DType::kF16, 1, {1, 1024, 64, 25'000});
  MergeRequest request;
  request.recipe_text = "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 0.5}\n";
  request.model_dirs = {{"a", box / "a"}};
  request.threads = 1;
  const LossyDisk disk;
  std::string error;
  try {
    merge(request, box / "out");
  } catch (const Error& e) {
    error = e.what();
  }
  EXPECT_NE(error.find("cannot sync to disk"), std::string::npos) << error;
  EXPECT_EQ(disk.syncs, 1);
  EXPECT_FALSE(fs::exists(box / "out"));
}

}  // namespace
}  // namespace crucible
