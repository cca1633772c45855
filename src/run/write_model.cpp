#include "run/write_model.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>

#include <fmt/format.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/text_util.h"
#include "checkpoint/companions.h"
#include "io/early_sync.h"
#include "io/file.h"
#include "io/page_buffer.h"
#include "io/write_turns.h"
#include "run/content_hash.h"
#include "run/tensor_hash.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

class FileSink final : public TileSink {
 public:
  FileSink(const Plan& plan, OutputFolder& folder) : hashes_(plan) {
    for (const PlanFile& file : plan.files) {
      files_.push_back(std::make_unique<Output>(folder.create(file.name, file.bytes), file.bytes, *this));
      put(*files_.back(), 0, file.header.data(), file.header.size());
    }
  }
  void write_buffer(const Job& job, int file, std::int64_t offset, PageBuffer& bytes, std::size_t size) override {
    hashes_.add(job, offset, bytes.data(), size);
    files_[static_cast<std::size_t>(file)]->turns.write(offset, bytes, size);
  }
  void write(const Job& job, int file, std::int64_t offset, const void* data, std::size_t size) override {
    hashes_.add(job, offset, data, size);
    if (job.kind == Job::Kind::kCopy) copied_nonfinite_ += count_nonfinite_stored(job.info.dtype, data, size);
    put(*files_[static_cast<std::size_t>(file)], offset, data, size);
  }
  std::vector<std::string> finish() {
    syncs_.finish();
    for (const auto& out : files_) out->file->sync_and_close();
    return hashes_.finish();
  }
  std::int64_t copied_nonfinite() const noexcept { return copied_nonfinite_.load(); }
  // Bytes of each file that nothing was written to.
  std::vector<std::int64_t> unwritten() const {
    std::vector<std::int64_t> bytes;
    for (const auto& out : files_) {
      std::int64_t left = 0;
      for (const auto& window : out->left) left += std::abs(window.load());  // below zero: written twice
      bytes.push_back(left);
    }
    return bytes;
  }

 private:
  // Write-back is asked for in pieces of this size, once they are full: the disk works while the merge does, in long writes.
  static constexpr std::int64_t kWindow = std::int64_t{16} << 20;
  // Long enough that what a sync costs beside its writes (a commit of the journal, a flush of the disk) does not count.
  static constexpr std::int64_t kSyncPiece = std::int64_t{64} << 20;
  static constexpr std::size_t kMostWaiting = 2;  // chunks; the memory plan has one for each worker

  struct Output {
    Output(std::unique_ptr<WriteFile> f, std::int64_t bytes, FileSink& sink)
        : file(std::move(f)),
          left(static_cast<std::size_t>(ceil_div(bytes, kWindow))),
          turns([this, &sink](std::int64_t offset, const void* data, std::size_t size) { sink.put(*this, offset, data, size); },
                sink.spare_, kMostWaiting) {
      for (std::size_t w = 0; w < left.size(); ++w) left[w] = std::min(kWindow, bytes - static_cast<std::int64_t>(w) * kWindow);
    }
    std::unique_ptr<WriteFile> file;
    std::vector<std::atomic<std::int64_t>> left;  // bytes of each window that are not written yet
    WriteTurns turns;
  };

  void put(Output& out, std::int64_t offset, const void* data, std::size_t size) {
    out.file->write_at(offset, data, size);
    const std::int64_t end = offset + static_cast<std::int64_t>(size);
    for (std::int64_t at = offset; at < end;) {
      const std::int64_t window = at / kWindow;
      const std::int64_t stop = std::min(end, (window + 1) * kWindow);
      if (out.left[static_cast<std::size_t>(window)].fetch_sub(stop - at) == stop - at) {
        out.file->start_writeback(window * kWindow, kWindow);
        syncs_.wrote(*out.file, kWindow);
      }
      at = stop;
    }
  }

  SpareBuffers spare_;
  std::vector<std::unique_ptr<Output>> files_;
  EarlySync syncs_{kSyncPiece};
  TensorHashes hashes_;
  std::atomic<std::int64_t> copied_nonfinite_{0};
};

class CompareSink final : public TileSink {
 public:
  CompareSink(const Plan& plan, const std::string& folder, Comparison& comparison) : comparison_(comparison) {
    for (const PlanFile& file : plan.files) files_.push_back(open(file, (fs::path(folder) / file.name).string()));
  }
  void write(const Job& job, int file, std::int64_t offset, const void* data, std::size_t size) override {
    const auto& in = files_[static_cast<std::size_t>(file)];
    if (in == nullptr) return;
    thread_local PageBuffer buffer;
    std::byte* there = buffer.place(offset, static_cast<std::int64_t>(size));
    in->read_at(offset, there, size);
    const bool same = std::memcmp(there, data, size) == 0;
    const std::lock_guard lock(mutex_);
    comparison_.bytes_compared += static_cast<std::int64_t>(size);
    if (!same && seen_.insert(job.info.name).second) comparison_.differing.push_back(job.info.name);
  }

 private:
  std::unique_ptr<ReadFile> open(const PlanFile& file, const std::string& path) {
    if (!path_exists(path)) {
      comparison_.problems.push_back(fmt::format("{} is missing", file.name));
      return nullptr;
    }
    auto in = open_for_read(path);
    if (in->size() != file.bytes) {
      comparison_.problems.push_back(fmt::format("{} has {} bytes, the plan says {}", file.name, in->size(), file.bytes));
      return nullptr;
    }
    std::string header(file.header.size(), '\0');
    in->read_at(0, header.data(), header.size());
    if (header != file.header) {
      comparison_.problems.push_back(fmt::format("{} has another header than the plan", file.name));
      return nullptr;
    }
    return in;
  }

  Comparison& comparison_;
  std::vector<std::unique_ptr<ReadFile>> files_;
  std::mutex mutex_;
  std::set<std::string> seen_;
};

std::int64_t space_needed(const Plan& plan) {
  std::int64_t bytes = 0;
  for (const PlanFile& file : plan.files) bytes += file.bytes;
  const PlanInput& donor = plan.inputs[static_cast<std::size_t>(plan.donor)];
  for (const std::string& name : plan.companions) {
    std::error_code ignored;
    bytes += static_cast<std::int64_t>(fs::file_size(fs::path(donor.path) / name, ignored));
  }
  // Configurations, indices, card, recipe and record, the last by its size per tensor and source.
  for (const auto& [name, text] : plan.made_files()) bytes += static_cast<std::int64_t>(text->size());
  bytes += 3 * static_cast<std::int64_t>(plan.recipe.text.size()) + (1 << 16);
  for (const Job& job : plan.jobs) bytes += 1200 + 800 * static_cast<std::int64_t>(job.sources.size());
  return bytes + bytes / 100;
}

// Which files of a model that lies there already go: those of its folder, and in folders that are parts of this output too.
std::function<bool(const std::string&)> replaced_files(const Plan& plan) {
  return [parts = plan.model_parts()](const std::string& name) {
    return is_model_file_name(std::string(name_in_folder(name, parts[part_of(parts, name)].folder)));
  };
}

void write_companions(const Plan& plan, OutputFolder& folder, Written& written) {
  for (const auto& [name, text] : plan.made_files()) {
    folder.add_small_file(name, *text);
    written.companions.push_back({name, static_cast<std::int64_t>(text->size()), hash128_hex(*text)});
  }
  const PlanInput& donor = plan.inputs[static_cast<std::size_t>(plan.donor)];
  for (const std::string& name : plan.companions) {
    folder.copy_file((fs::path(donor.path) / name).string(), name);
    const std::string copy = (fs::path(folder.working_path()) / name).string();
    written.companions.push_back({name, static_cast<std::int64_t>(fs::file_size(copy)), hash_file(copy), FileOrigin::kCopied});
  }
}

}  // namespace

RunResult write_model(const Plan& plan, const std::string& target, const WriteOptions& options,
                      const std::function<void(const Progress&)>& progress,
                      const std::function<std::vector<SmallFile>(const RunResult&, const Written&)>& describe) {
  OutputFolder folder(target, options.existing, replaced_files(plan));
  for (const PlanInput& input : plan.inputs) folder.protect(input.path);
  folder.check_space(space_needed(plan));
  RunResult result;
  Written written;
  {
    FileSink sink(plan, folder);
    result = run_jobs(plan, options.run, sink, progress);
    written.tensor_hashes = sink.finish();
    written.checked.copied_nonfinite = sink.copied_nonfinite();
    check_coverage(plan, sink.unwritten(), written.checked);
  }
  if (options.hash_inputs) {
    const int threads = options.run.threads > 0 ? options.run.threads : default_threads();
    for (const PlanInput& input : plan.inputs) {
      written.content_hashes.push_back(hash_weight_files(input.checkpoint, threads, options.run.stop));
      input.checkpoint.check_unchanged();
    }
  }
  write_companions(plan, folder, written);
  check_output(plan, folder.working_path(), written.checked);
  const std::vector<SmallFile> described = describe(result, written);
  written.checked.throw_if_wrong();
  for (const SmallFile& file : described) folder.add_small_file(file.name, file.text);
  if (options.run.stop != nullptr && options.run.stop->load()) throw Error(ErrorCode::kInterrupted, "interrupted; nothing was left behind");
  folder.commit();
  return result;
}

Comparison compare_with(const Plan& plan, const std::string& folder, const RunOptions& options,
                        const std::function<void(const Progress&)>& progress, RunResult* result) {
  Comparison comparison;
  CompareSink sink(plan, folder, comparison);
  RunResult run = run_jobs(plan, options, sink, progress);
  if (result != nullptr) *result = std::move(run);
  return comparison;
}

}  // namespace crucible
