// Inputs by position and mapped: the same bytes, errors for files that shrink, and little that stays in memory.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crucible/crucible.h"
#include "io/file.h"
#include "methods/method.h"
#include "plan/plan.h"
#include "run/reading_choice.h"
#include "run/release_queue.h"
#include "run/runner.h"
#include "support/faulty_file.h"
#include "support/random_merge.h"
#include "support/resident_pages.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

// While it lives: how many bytes were read by position, in reads larger than those of small headers.
struct CountedReads {
  CountedReads() {
    bytes = 0;
    system_calls().pread = [](int fd, void* to, std::size_t n, off_t offset) {
      if (n >= 1000) bytes += static_cast<std::int64_t>(n);
      return ::pread(fd, to, n, offset);
    };
  }
  RestoredCalls restored;
  static inline std::atomic<std::int64_t> bytes;
};

// The weights that a merge writes, or what stopped it.
std::string weights_or_error(const MergeRequest& request, const std::string& out) {
  try {
    merge(request, out);
  } catch (const std::exception& error) {
    return std::string("error: ") + error.what();
  }
  return read_text(out + "/model.safetensors");
}

std::string error_in(const std::string& weights) { return weights.starts_with("error: ") ? weights : ""; }

// Tensors of several chunks, with an odd rest, that begin anywhere in a page.
TEST(Reading, AllWaysGiveTheSameBytes) {
  const test::ModelBox models({1, 33, 40, 6000}, DType::kBF16);
  const TempFolder out;
  std::set<std::string> seen;
  test::Rng rng(20);
  for (int i = 0; i < 400 && seen.size() < all_methods().size(); ++i) {
    MergeRequest request;
    request.recipe_text = test::random_recipe(rng);
    const std::string method = request.recipe_text.substr(0, request.recipe_text.find('\n'));
    if (!seen.insert(method).second) continue;
    request.model_dirs = models.model_dirs();
    request.existing = ExistingOutput::kReplace;
    request.unused = UnusedParameters::kNotice;
    request.reading = Reading::kByPosition;
    const std::string expected = weights_or_error(request, out / "out");
    for (const int threads : {1, 3}) {
      for (const Reading reading : {Reading::kMapped, Reading::kMeasured}) {
        request.threads = threads;
        request.reading = reading;
        EXPECT_TRUE(weights_or_error(request, out / "out") == expected) << request.recipe_text << error_in(expected);
      }
    }
  }
  EXPECT_EQ(seen.size(), all_methods().size());
}

// Projections that one model stores apart, of two types, and the other fused: tiles that cross from one stored tensor to the next.
TEST(Reading, TensorsOfSeveralPieces) {
  const TempFolder box;
  const auto projection = [](const std::string& name, DType dtype, std::int64_t rows, std::uint64_t seed) {
    return random_tensor("model.layers.0.self_attn." + name + ".weight", dtype, {rows, 401}, seed);
  };
  TinyModel fused, apart;
  fused.tensors = {projection("qkv_proj", DType::kBF16, 900, 1)};
  apart.tensors = {projection("q_proj", DType::kF32, 300, 2), projection("k_proj", DType::kBF16, 300, 3),
                   projection("v_proj", DType::kBF16, 300, 4)};
  write_tiny_model(box / "base", fused);
  write_tiny_model(box / "a", apart);
  MergeRequest request;
  request.recipe_text = kHalfOfA;
  request.model_dirs = {{"base", box / "base"}, {"a", box / "a"}};
  request.existing = ExistingOutput::kReplace;
  request.reading = Reading::kByPosition;
  const std::string expected = weights_or_error(request, box / "out");
  request.reading = Reading::kMapped;
  const CountedReads reads;
  EXPECT_TRUE(weights_or_error(request, box / "out") == expected) << error_in(expected);
  // Of 353 tiles of a, two cross; the output is read back.
  EXPECT_GE(reads.bytes, 2 * 1024 * 2);
  EXPECT_LT(reads.bytes, 900 * 401);
  EXPECT_EQ(tensor_values(open_checkpoint(box / "out"), "model.layers.0.self_attn.qkv_proj.weight").size(), 900u * 401u);
}

class TwoModels : public ::testing::Test {
 protected:
  static constexpr std::int64_t kElems = 4'000'000;
  static constexpr std::int64_t kBytes = 4 * kElems;  // of each model

  TwoModels() {
    for (const std::string name : {"a", "b"}) {
      TinyModel model;
      const auto block = random_tensor("w", DType::kF32, {4000}, static_cast<std::uint64_t>(name.front())).bytes;
      std::string bytes;
      for (int i = 0; i < 1000; ++i) bytes += block;
      model.tensors = {raw_tensor("w", DType::kF32, {1000, 4000}, bytes)};
      write_tiny_model(box_ / name, model);
    }
    request_.model_dirs = {{"a", box_ / "a"}, {"b", box_ / "b"}};
    request_.threads = 1;
    request_.reading = Reading::kMapped;
  }

  std::string file(const std::string& model) const { return box_ / (model + "/model.safetensors"); }

  Plan plan(const std::string& recipe) const {
    Diagnostics diagnostics;
    PlanOptions options;
    options.model_dirs = request_.model_dirs;
    Plan plan = make_plan(parse_recipe(recipe, "recipe.yml", {}, diagnostics), options, diagnostics);
    diagnostics.throw_if_errors();
    return plan;
  }

  TempFolder box_;
  MergeRequest request_;
};

const std::string kLinear = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 0.5}\n";
const std::string kTies = "merge_method: ties\nbase_model: a\nmodels: [{model: b}]\nparameters: {weight: 0.5, density: 0.5}\n";

TEST_F(TwoModels, MappedInputsAreNotReadByPosition) {
  request_.recipe_text = kLinear;
  for (const Reading reading : {Reading::kByPosition, Reading::kMapped, Reading::kMeasured}) {
    request_.reading = reading;
    request_.existing = ExistingOutput::kReplace;
    const CountedReads reads;
    merge(request_, box_ / "out");
    const std::int64_t check = kBytes / 4;  // reading the output back takes some
    switch (reading) {
      case Reading::kByPosition: EXPECT_GE(reads.bytes, 2 * kBytes); break;
      case Reading::kMapped: EXPECT_LT(reads.bytes, check); break;
      case Reading::kMeasured: EXPECT_GE(reads.bytes, kBytes - check); break;  // half of the only tensor
    }
  }
}

TEST_F(TwoModels, FilesThatCannotBeMappedAreReadByPosition) {
  request_.recipe_text = kLinear;
  const std::string mapped = weights_or_error(request_, box_ / "mapped");
  const CountedReads reads;
  system_calls().map = [](int, std::size_t) {
    errno = ENODEV;
    return MAP_FAILED;
  };
  EXPECT_TRUE(weights_or_error(request_, box_ / "out") == mapped);
  EXPECT_GE(reads.bytes, 2 * kBytes);
}

// At the first write of output, most of the file is still to be read; of a method with two passes, once more. The rest of a page that the
// file ends in is zeros without any signal: the look at the files after the last read finds it.
TEST_F(TwoModels, AFileThatIsCutShortStopsTheMerge) {
  static std::string cut;
  static std::int64_t cut_to;
  for (const std::string& recipe : {kLinear, kTies}) {
    for (const std::int64_t size : {kMiB, kBytes}) {  // the latter: all but the last 40 bytes
      write_tiny_model(box_ / "c", {});
      fs::copy(file("b"), file("c"), fs::copy_options::overwrite_existing);
      request_.recipe_text = recipe;
      request_.model_dirs[1].second = box_ / "c";
      cut = file("c");
      cut_to = size == kBytes ? static_cast<std::int64_t>(fs::file_size(cut)) - 40 : size;
      const RestoredCalls restored;
      system_calls().pwrite = [](int fd, const void* data, std::size_t n, off_t offset) {
        if (n >= 4096 && !cut.empty()) {
          EXPECT_EQ(::truncate(cut.c_str(), cut_to), 0);
          cut.clear();
        }
        return ::pwrite(fd, data, n, offset);
      };
      std::string error;
      try {
        merge(request_, box_ / "out");
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::kDamaged);
        error = e.what();
      }
      EXPECT_NE(error.find("c/model.safetensors: " + std::string(size == kBytes ? "changed while" : "ends at byte")), std::string::npos)
          << error;
      EXPECT_FALSE(fs::exists(box_ / "out"));
    }
  }
}

// Counts resident pages of the inputs whenever a chunk is written.
class CountingSink final : public TileSink {
 public:
  explicit CountingSink(const Plan& plan) : plan_(plan) {}
  void write(const Job&, int, std::int64_t, const void*, std::size_t) override {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = resident();
    if (first < 0) first = now;
    most = std::max(most, now);
  }
  std::int64_t resident() const {
    std::int64_t pages = 0;
    for (const PlanInput& input : plan_.inputs) {
      const ReadFile& file = input.checkpoint.weight_file(0);
      pages += test::resident_pages(*file.mapping(), file.size());
    }
    return pages * ::sysconf(_SC_PAGESIZE);
  }
  std::int64_t first = -1, most = 0;

 private:
  const Plan& plan_;
  std::mutex mutex_;
};

TEST_F(TwoModels, PagesThatAreDoneLeaveMemory) {
  RunOptions run;
  run.threads = 2;
  run.reading = Reading::kMapped;
  const Plan once = plan(kLinear);
  CountingSink linear(once);
  if (linear.resident() < 0) GTEST_SKIP() << "this system does not tell which pages are resident";
  run_jobs(once, run, linear, {});
  EXPECT_EQ(linear.resident(), 0);
  // Some are released at a time, of a small budget fewer. With one thread, since two do not wait for each other.
  const auto least_that_maps = [](const Plan& plan, RunOptions options) {
    options.memory_bytes = 10 * kMiB;
    while (!plan_memory(plan, options).may_map) options.memory_bytes += kMiB / 2;
    return options.memory_bytes;
  };
  run.threads = 1;
  run.memory_bytes = least_that_maps(once, run);
  ASSERT_LE(plan_memory(once, run).release_at_once, 9 * kMiB);
  CountingSink steady(once);
  run_jobs(once, run, steady, {});
  EXPECT_LT(steady.most, 14 * kMiB);
  EXPECT_EQ(steady.resident(), 0);
  run.memory_bytes = 0;
  run.threads = 2;

  const Plan twice = plan(kTies);
  // More than may wait to be released, so that what is kept is kept on purpose.
  const Plan twice_b =
      plan("merge_method: ties\nbase_model: a\nmodels: [{model: b}, {model: b}]\nparameters: {weight: 0.5, density: 0.5}\n");
  ASSERT_GT(3 * kBytes, plan_memory(twice_b, run).release_at_once);
  CountingSink keeps(twice_b);
  run_jobs(twice_b, run, keeps, {});
  EXPECT_GE(keeps.first, 2 * kBytes - kMiB);
  EXPECT_EQ(keeps.resident(), 0);

  // Where only some chunks are computed, the passes before saw all of them.
  run.selection = [](std::size_t, std::int64_t chunk) { return chunk == 5; };
  CountingSink selects(twice);
  run_jobs(twice, run, selects, {});
  EXPECT_GE(selects.first, 2 * kBytes - kMiB);
  EXPECT_EQ(selects.resident(), 0);
  run.selection = {};
  run.threads = 1;

  // The smallest budget that may map: nothing is kept between passes.
  run.memory_bytes = least_that_maps(twice, run);
  ASSERT_LE(plan_memory(twice, run).release_at_once, 9 * kMiB);
  ASSERT_EQ(plan_memory(twice, run).mapped_bytes, 0);
  CountingSink tight(twice);
  run_jobs(twice, run, tight, {});
  EXPECT_LT(tight.most, 16 * kMiB);
  EXPECT_EQ(tight.resident(), 0);
}

TEST_F(TwoModels, TheBudgetDecidesWhatMayBeMapped) {
  const Plan ties = plan(kTies);
  RunOptions run;
  run.threads = 2;
  const MemoryPlan plenty = plan_memory(ties, run);
  EXPECT_TRUE(plenty.may_map);
  EXPECT_EQ(plenty.mapped_bytes, 128 * kMiB);
  EXPECT_EQ(plenty.release_at_once, 32 * kMiB);
  run.reading = Reading::kByPosition;
  const MemoryPlan unmapped = plan_memory(ties, run);
  EXPECT_FALSE(unmapped.may_map);
  // No more than there is to be mapped.
  EXPECT_EQ(plenty.predicted_peak_bytes - unmapped.predicted_peak_bytes, 2 * kBytes);
  run.reading = Reading::kMapped;
  run.memory_bytes = 16 * kMiB;
  const MemoryPlan small = plan_memory(ties, run);
  EXPECT_FALSE(small.may_map);
  EXPECT_EQ(small.mapped_bytes, 0);
}

TEST(ReadingChoice, TakesTheFasterWayOnceEnoughWasRead) {
  for (const bool mapped_is_faster : {true, false}) {
    const Job job;
    ReadingChoice choice(Reading::kMeasured);
    EXPECT_TRUE(choice.is_open());
    EXPECT_TRUE(choice.may_map());
    EXPECT_NE(choice.way(0), choice.way(1));
    EXPECT_EQ(choice.way(0), choice.way(2));
    // In all 8 MiB of each, of which the faster way took fewer seconds a byte, not fewer in all.
    choice.add(job, 0, mapped_is_faster ? 1.0 : 0.5, ReadingChoice::kEnough);
    choice.add(job, 1, 0.5, ReadingChoice::kEnough - 1);
    choice.settle();
    EXPECT_TRUE(choice.is_open());
    choice.add(job, 3, 0.9, ReadingChoice::kEnough);
    EXPECT_TRUE(choice.is_open());
    choice.settle();
    const Reading taken = mapped_is_faster ? Reading::kMapped : Reading::kByPosition;
    EXPECT_FALSE(choice.is_open());
    for (int chunk = 0; chunk < 4; ++chunk) EXPECT_EQ(choice.way(chunk), taken);
    EXPECT_EQ(choice.may_map(), mapped_is_faster);
    // It stays.
    choice.add(job, taken == Reading::kMapped ? 1 : 0, 100, 1);
    choice.settle();
    EXPECT_EQ(choice.way(0), taken);
  }
  for (const Reading wanted : {Reading::kMapped, Reading::kByPosition}) {
    const ReadingChoice choice(wanted);
    EXPECT_FALSE(choice.is_open());
    for (int chunk = 0; chunk < 4; ++chunk) EXPECT_EQ(choice.way(chunk), wanted);
  }
}

// Eight chunks of each way, read in two passes. What counts is the cost of a chunk in all its passes.
TEST(ReadingChoice, SetsAsideAChunkThatHadToWait) {
  const auto taken = [](double wait, int that_wait, double release) {
    const Job job;
    ReadingChoice choice(Reading::kMeasured);
    for (int pass = 0; pass < 2; ++pass) {
      for (int chunk = 0; chunk < 16; ++chunk) {
        const bool is_mapped = choice.way(chunk) == Reading::kMapped;
        // Mapped, the first pass is the slow one.
        const double seconds = is_mapped ? (pass == 0 ? 1.2 : 0.2) : 0.9;
        choice.add(job, chunk, seconds + (is_mapped && chunk < 2 * that_wait && pass == 0 ? wait : 0), 2 * kMiB);
      }
    }
    choice.add_release(release);
    choice.settle();
    EXPECT_FALSE(choice.is_open());
    return choice.way(0);
  };
  EXPECT_EQ(taken(0, 0, 0), Reading::kMapped);
  EXPECT_EQ(taken(100, 1, 0), Reading::kMapped);
  EXPECT_EQ(taken(100, 2, 0), Reading::kByPosition);
  EXPECT_EQ(taken(0, 0, 1.1), Reading::kMapped);  // of seven chunks 9.8 seconds mapped, and 12.6 of which 7/8 are 11.03
  EXPECT_EQ(taken(0, 0, 1.3), Reading::kByPosition);
}

class ReleaseQueueTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kPages = 4096;

  ReleaseQueueTest() {
    for (const std::string name : {"a", "b"}) write_text(box_ / name, std::string(static_cast<std::size_t>(kPages * page()), 'x'));
    a_ = open_for_read(box_ / "a");
    b_ = open_for_read(box_ / "b");
    for (const ReadFile* file : {a_.get(), b_.get()}) {
      for (std::int64_t p = 0; p < kPages; ++p) sum_ += static_cast<int>(file->mapping()->bytes()[p * page()]);
    }
  }
  static std::int64_t page() { return ::sysconf(_SC_PAGESIZE); }
  std::int64_t resident(const ReadFile& file) const { return test::resident_pages(*file.mapping(), file.size()); }

  TempFolder box_;
  std::unique_ptr<ReadFile> a_, b_;
  int sum_ = 0;
};

TEST_F(ReleaseQueueTest, ReleasesOnceEnoughWaits) {
  if (resident(*a_) < 0) GTEST_SKIP() << "this system does not tell which pages are resident";
  const std::int64_t along = FileMapping::kMappedAlong / page();
  ReleaseQueue queue(8 * page());
  queue.add(*a_->mapping(), (along + 10) * page(), 4 * page());
  queue.add(*b_->mapping(), (along + 100) * page(), 4 * page());
  EXPECT_EQ(resident(*a_), kPages);
  EXPECT_EQ(resident(*b_), kPages);
  queue.add(*a_->mapping(), (along + 14) * page(), page());
  // Of a large page, parts do not leave alone.
  const std::int64_t left = resident(*a_);
  EXPECT_LE(left, kPages - along - 5);
  EXPECT_LE(resident(*b_), kPages - along - 4);
  // Again: out of order, a part of it twice.
  queue.add(*a_->mapping(), 3000 * page(), 2 * page());
  queue.add(*a_->mapping(), 2998 * page(), 2 * page());
  queue.add(*a_->mapping(), 2998 * page(), page());
  EXPECT_EQ(resident(*a_), left);
  queue.flush();
  EXPECT_LE(resident(*a_), left - along - 4);
}

TEST_F(ReleaseQueueTest, ReleasesTheRestAtItsEnd) {
  if (resident(*a_) < 0) GTEST_SKIP() << "this system does not tell which pages are resident";
  {
    ReleaseQueue queue(kPages * page());
    queue.add(*a_->mapping(), 0, kPages * page());
    EXPECT_EQ(resident(*a_), kPages);
  }
  EXPECT_EQ(resident(*a_), 0);
}

}  // namespace
}  // namespace crucible
