#include "run/runner.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "base/aligned.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/text_util.h"
#include "run/observe.h"
#include "run/survey.h"
#include "run/tensor_hash.h"
#include "run/tile_reader.h"
#include "simd/ops.h"
#include "tensor/convert.h"

namespace crucible {
namespace {

using Clock = std::chrono::steady_clock;

// What the tiles of one chunk add up to.
struct ChunkPart {
  std::vector<double> sums;
  Measure measure;
  std::int64_t input_nonfinite = 0;
  std::string unexplained;  // NaN came out of a tile without any: another tile of the tensor must hold the cause
};

constexpr std::int64_t kElemsForACounter = 256;  // a pass with fewer for each of its counters is one worker's

// A job under way. The scheduler's lock guards everything but the kernel's own work.
struct ActiveJob {
  std::size_t index = 0;
  const Job* job = nullptr;
  std::optional<BoundParams> params;  // of a merge
  Audit audit;
  std::unique_ptr<Kernel> kernel;  // null for a copy
  bool mapping = false;
  int pass = 0;
  std::vector<std::int64_t> selected;  // chunks of the output; all when empty
  std::int64_t chunks = 0;
  std::int64_t next_chunk = 0;
  std::int64_t done_chunks = 0;
  std::int64_t state_bytes = 0;
  // Parts are added in the order of the chunks: one that comes early waits here.
  std::map<std::int64_t, ChunkPart> early;
  std::int64_t next_to_add = 0;
  // Mapped pages of inputs: those of the first `keep_mapped` chunks stay until the output is made, the others go behind the pass.
  bool maps = false;
  std::int64_t keep_mapped = 0;
  std::int64_t keep_mapped_bytes = 0;
  std::vector<double> sums;
  std::vector<std::vector<std::uint64_t>> counts;  // one set per worker, so that counting needs no lock
  // Is the pass one worker's, and whose? To clear and to add up counters of each would cost more than it gains.
  bool by_one = false;
  std::optional<std::size_t> worker;
  JobResult result;
  std::string unexplained;

  ActiveJob(const Job& j, std::size_t i, int workers) : index(i), job(&j), counts(static_cast<std::size_t>(workers)) {
    if (j.kind == Job::Kind::kMerge) params = bind_params(j);
  }

  // May this worker have the pass's next chunk? With the lock held.
  bool has_chunk_for(std::size_t id) {
    if (next_chunk == chunks) return false;
    if (by_one && !worker) worker = id;
    return !by_one || worker == id;
  }
  // Of the job, the n-th chunk that the pass deals out; before the output that is every chunk.
  std::int64_t chunk_at(std::int64_t n, bool of_output) const {
    return !of_output || selected.empty() ? n : selected[static_cast<std::size_t>(n)];
  }
};

struct Worker {
  std::size_t id = 0;
  Scratch scratch;
  TileBuffers buffers;
  AlignedVector<float> out;
  PageBuffer stored;           // a chunk of the output in its own type
  AlignedVector<double> sums;  // of one tile
};

class Scheduler {
 public:
  Scheduler(const Plan& plan, const RunOptions& options, TileSink& sink, const std::function<void(const Progress&)>& progress)
      : plan_(plan),
        options_(options),
        memory_(plan_memory(plan, options)),
        sink_(sink),
        progress_(progress),
        reader_(plan, memory_.may_map ? options.reading : Reading::kByPosition, memory_.release_at_once),
        mapped_left_(memory_.mapped_bytes) {
    result_.jobs.resize(plan.jobs.size());
    total_bytes_ = options.selection ? 0 : plan.data_bytes();
    for (std::size_t j = 0; options.selection && j < plan.jobs.size(); ++j) {
      for (const std::int64_t chunk : select(j))
        total_bytes_ += std::min(hash_chunk_bytes(plan.jobs[j]), plan.jobs[j].bytes - chunk * hash_chunk_bytes(plan.jobs[j]));
    }
  }

  RunResult run() {
    const auto start = Clock::now();
    survey_ = run_survey(plan_, memory_.workers, options_.stop, reader_);
    std::vector<std::jthread> threads;
    for (int i = 1; i < memory_.workers; ++i) threads.emplace_back([this, i] { work(static_cast<std::size_t>(i)); });
    work(0);
    threads.clear();
    if (failure_) std::rethrow_exception(failure_);
    for (const PlanInput& input : plan_.inputs) input.checkpoint.check_unchanged();
    result_.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    result_.bytes_read = reader_.bytes_read();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    result_.peak_bytes = static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
    return std::move(result_);
  }

 private:
  struct Task {
    ActiveJob* job = nullptr;
    std::int64_t chunk = 0;
    bool mapping = false;
    int pass = 0;
  };

  void work(std::size_t id) {
    Worker worker;
    worker.id = id;
    try {
      while (const auto task = next_task(id)) {
        if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) {
          throw Error(ErrorCode::kInterrupted, "interrupted; nothing was left behind");
        }
        finish_chunk(*task, process(*task, worker));
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();  // the first cause wins
      changed_.notify_all();
    }
  }

  // The next chunk of the earliest job that has one; starts another job when none has and the budget allows; waits otherwise.
  std::optional<Task> next_task(std::size_t id) {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (failure_) return std::nullopt;
      for (const auto& active : active_) {
        if (active->has_chunk_for(id)) return Task{active.get(), active->next_chunk++, active->mapping, active->pass};
      }
      if (start_job()) continue;
      if (active_.empty() && next_job_ == plan_.jobs.size()) return std::nullopt;
      changed_.wait(lock);
    }
  }

  std::vector<std::int64_t> select(std::size_t job) const {
    std::vector<std::int64_t> chunks;
    for (std::int64_t c = 0; c < output_chunks(plan_.jobs[job]); ++c) {
      if (options_.selection(job, c)) chunks.push_back(c);
    }
    return chunks;
  }

  // With the lock held.
  bool start_job() {
    if (next_job_ == plan_.jobs.size()) return false;
    const Job& job = plan_.jobs[next_job_];
    std::vector<std::int64_t> selected;
    if (options_.selection) {
      selected = select(next_job_);
      if (selected.empty()) {
        if (job.kind == Job::Kind::kMerge) result_.jobs[next_job_].measure.models.resize(job.sources.size());
        ++next_job_;
        return true;
      }
    }
    auto active = std::make_unique<ActiveJob>(job, next_job_, memory_.workers);
    active->selected = std::move(selected);
    if (job.kind == Job::Kind::kCopy) {
      active->mapping = true;
      begin_pass(*active);
    } else {
      KernelSpec spec = kernel_spec(job, *active->params, memory_.keep_budget_bytes);
      spec.job = next_job_;
      spec.survey = survey_.get();
      if (options_.measuring == Measuring::kAudit) {
        active->audit = {job.global.get(), job.models};
        spec.audit = &active->audit;
      }
      active->kernel = plan_.method->make_kernel(spec);
      active->state_bytes = active->kernel->kept_bytes();
      if (!active_.empty() && state_bytes_ + active->state_bytes > memory_.state_bytes) return false;
      active->kernel->prepare();
      active->mapping = active->kernel->first() == Next::kMap;
      active->maps = reader_.maps();
      if (active->maps && !active->mapping) {
        const std::int64_t chunk_bytes = std::max<std::int64_t>(1, bytes_of_inputs(job, job.tiling.chunk_elems()));
        active->keep_mapped = std::min(job.tiling.chunks(), mapped_left_ / chunk_bytes);
        active->keep_mapped_bytes = active->keep_mapped * chunk_bytes;
        mapped_left_ -= active->keep_mapped_bytes;
      }
      begin_pass(*active);
    }
    if (job.kind == Job::Kind::kMerge) result_.jobs[next_job_].measure.models.resize(job.sources.size());
    ++next_job_;
    if (active->chunks == 0) return true;  // an empty tensor has no bytes to write
    state_bytes_ += active->state_bytes;
    active_.push_back(std::move(active));
    return true;
  }

  static void begin_pass(ActiveJob& active) {
    active.chunks = active.mapping ? output_chunks(*active.job) : active.job->tiling.chunks();
    if (active.mapping && !active.selected.empty()) active.chunks = static_cast<std::int64_t>(active.selected.size());
    active.next_chunk = 0;
    active.done_chunks = 0;
    active.next_to_add = 0;
    active.sums.assign(active.mapping ? 0 : static_cast<std::size_t>(active.kernel->sum_count(active.pass)), 0.0);
    for (auto& counts : active.counts) counts.clear();
    active.worker.reset();
    active.by_one = !active.mapping && active.kernel->count_size(active.pass) > active.job->tiling.elems / kElemsForACounter;
  }

  ChunkPart process(const Task& task, Worker& worker) {
    const Job& job = *task.job->job;
    const std::int64_t chunk = task.job->chunk_at(task.chunk, task.mapping);
    if (job.kind == Job::Kind::kCopy) {
      copy_chunk(job, chunk, worker);
      reader_.add_bytes_read(worker.buffers);
      return {};
    }
    ChunkPart part;
    part.measure.models.resize(job.sources.size());
    reader_.begin_chunk(job, chunk, worker.buffers);
    if (task.mapping) {
      map_chunk(*task.job, chunk, worker, part);
    } else {
      reduce_chunk(task, worker, part);
    }
    reader_.end_chunk(worker.buffers);
    if (task.job->maps && (task.mapping || chunk >= task.job->keep_mapped))
      reader_.release(job, job.tiling.chunk_begin(chunk), job.tiling.chunk_end(chunk));
    return part;
  }

  void reduce_chunk(const Task& task, Worker& worker, ChunkPart& part) {
    const Job& job = *task.job->job;
    part.sums.assign(task.job->sums.size(), 0.0);
    std::vector<std::uint64_t>& counts = task.job->counts[worker.id];
    counts.resize(static_cast<std::size_t>(task.job->kernel->count_size(task.pass)));  // zeroes on the first chunk of a pass
    Kernel& kernel = *task.job->kernel;
    const auto wants = [&kernel](const Tile& tile) { return kernel.wants(tile); };
    job.tiling.for_wanted_of_chunk(task.chunk, wants, [&](const Tile& tile, std::int64_t end) {
      worker.sums.assign(part.sums.size(), 0.0);
      const TileInputs inputs = reader_.read(job, tile, end, kernel.input_form(), worker.buffers);
      TileReader::prefetch(worker.buffers);
      kernel.reduce(task.pass, tile, inputs, worker.sums.data(), counts.data(), part.measure, worker.scratch);
      TileReader::prefetch(worker.buffers);
      for (std::size_t i = 0; i < part.sums.size(); ++i) part.sums[i] += worker.sums[i];
      TileReader::prefetch(worker.buffers);
    });
  }

  void map_chunk(ActiveJob& active, std::int64_t chunk, Worker& worker, ChunkPart& part) {
    const Job& job = *active.job;
    const std::int64_t elem = facts(job.info.dtype).bits / 8;
    const std::int64_t offset = job.offset + job.tiling.chunk_begin(chunk) * elem;
    std::byte* stored = worker.stored.place(offset, job.tiling.chunk_elems() * elem);
    worker.out.resize(static_cast<std::size_t>(job.tiling.tile_elems));
    const std::int64_t end = job.tiling.chunk_end(chunk);
    std::int64_t size = 0;
    job.tiling.for_tiles_of_chunk(chunk, [&](const Tile& tile) {
      const TileInputs inputs = reader_.read(job, tile, end, active.kernel->input_form(), worker.buffers);
      TileReader::prefetch(worker.buffers);
      active.kernel->map(tile, inputs, worker.out.data(), part.measure, worker.scratch);
      TileReader::prefetch(worker.buffers);
      part.measure.elems += tile.count;
      if (options_.measuring == Measuring::kAudit) observe(job, tile, inputs, worker.out.data(), part.measure);
      store(job, tile, worker, stored + size, part);
      size += tile.count * elem;
      TileReader::prefetch(worker.buffers);
    });
    sink_.write_buffer(job, job.file, offset, worker.stored, static_cast<std::size_t>(size));
    report(size, job);
  }

  void copy_chunk(const Job& job, std::int64_t chunk, Worker& worker) {
    const std::int64_t at = chunk * kCopyChunk;
    const std::int64_t size = std::min(kCopyChunk, job.bytes - at);
    const std::byte* bytes =
        job.converts() ? reader_.convert(job, at, size, worker.buffers) : reader_.read_bytes(job.sources.front(), at, size, worker.buffers);
    sink_.write(job, job.file, job.offset + at, bytes, static_cast<std::size_t>(size));
    report(size, job);
  }

  void store(const Job& job, const Tile& tile, Worker& worker, std::byte* raw, ChunkPart& part) {
    const Stored stored = store_floats(job.info.dtype, worker.out.data(), raw, tile.count);
    part.measure.saturated += stored.saturated;
    if (stored.nonfinite == 0) return;
    part.measure.nonfinite += stored.nonfinite;
    explain_nonfinite(job, tile, worker, stored.nonfinite, part);
  }

  // Non-finite output is accepted only where a non-finite input can be its cause.
  void explain_nonfinite(const Job& job, const Tile& tile, Worker& worker, std::int64_t nonfinite, ChunkPart& part) {
    // Read again, in case the kernel saw task vectors: these may overflow by themselves.
    const TileInputs inputs = reader_.read(job, tile, tile.begin + tile.count, InputForm::kValues, worker.buffers);
    std::int64_t in_inputs = inputs.base != nullptr ? simd::count_nonfinite(inputs.base, tile.count) : 0;
    for (const float* x : inputs.models) in_inputs += simd::count_nonfinite(x, tile.count);
    if (in_inputs > 0) {
      part.input_nonfinite += nonfinite;
      return;
    }
    std::int64_t at = 0;
    while (at + 1 < tile.count && std::abs(worker.out[static_cast<std::size_t>(at)]) <= facts(job.info.dtype).largest) ++at;
    const std::string message = fmt::format(
        "tensor {}: element {} is {} after the merge, which {} cannot hold (largest {}), though all inputs are finite; "
        "use a wider out_dtype, or smaller weights",
        printable(job.info.name), tile.begin + at, render_number(static_cast<double>(worker.out[static_cast<std::size_t>(at)])),
        facts(job.info.dtype).torch_name, render_number(facts(job.info.dtype).largest));
    // A method of whole vectors spreads a NaN over all tiles of its tensor. Infinity has its cause where it stands.
    if (!std::isnan(worker.out[static_cast<std::size_t>(at)])) throw Error(ErrorCode::kNumeric, message);
    if (part.unexplained.empty()) part.unexplained = message;
  }

  void finish_chunk(const Task& task, ChunkPart part) {
    std::unique_lock lock(mutex_);
    ActiveJob& active = *task.job;
    active.early.emplace(task.chunk, std::move(part));
    for (auto it = active.early.begin(); it != active.early.end() && it->first == active.next_to_add; it = active.early.erase(it)) {
      for (std::size_t i = 0; i < active.sums.size(); ++i) active.sums[i] += it->second.sums[i];
      active.result.measure.add(it->second.measure);
      active.result.input_nonfinite += it->second.input_nonfinite;
      if (active.unexplained.empty()) active.unexplained = std::move(it->second.unexplained);
      ++active.next_to_add;
    }
    const bool is_last = ++active.done_chunks == active.chunks;
    if (is_last) {
      if (active.mapping) {
        // Passes before the output saw chunks that are not selected.
        if (active.maps && !active.selected.empty()) reader_.release(*active.job, 0, active.job->tiling.elems);
        reader_.settle_reading();
        retire(active);
      } else {
        // No chunk of this job is under way or waiting: others need not stand still while it is sealed.
        lock.unlock();
        const Next next = seal(active);
        lock.lock();
        active.mapping = next == Next::kMap;
        ++active.pass;
        begin_pass(active);
      }
      changed_.notify_all();
    }
  }

  static Next seal(ActiveJob& active) {
    std::vector<std::uint64_t>& total = active.counts[active.worker.value_or(0)];
    total.resize(static_cast<std::size_t>(active.kernel->count_size(active.pass)));
    for (const std::vector<std::uint64_t>& more : active.counts) {
      if (&more != &total) std::transform(more.begin(), more.end(), total.begin(), total.begin(), std::plus());
    }
    return active.kernel->seal(active.pass, {active.sums, total});
  }

  void retire(ActiveJob& active) {
    // Where only some chunks were computed, the cause may lie in another one.
    if (!active.unexplained.empty() && active.result.input_nonfinite == 0 && active.selected.empty())
      throw Error(ErrorCode::kNumeric, active.unexplained);
    if (active.kernel) {
      active.result.notes = active.kernel->notes();
      active.result.remark = active.kernel->remark();
    }
    state_bytes_ -= active.state_bytes;
    mapped_left_ += active.keep_mapped_bytes;
    result_.jobs[active.index] = std::move(active.result);
    active_.erase(std::find_if(active_.begin(), active_.end(), [&](const auto& a) { return a.get() == &active; }));
  }

  void report(std::int64_t bytes, const Job& job) {
    const std::int64_t done = bytes_done_.fetch_add(bytes) + bytes;
    if (!progress_) return;
    const auto now = Clock::now().time_since_epoch().count();
    auto last = last_report_.load();
    constexpr auto kEvery = std::chrono::duration_cast<Clock::duration>(std::chrono::milliseconds(200)).count();
    if (now - last < kEvery || !last_report_.compare_exchange_strong(last, now)) return;
    progress_({done, total_bytes_, job.info.name});
  }

  const Plan& plan_;
  const RunOptions& options_;
  MemoryPlan memory_;
  TileSink& sink_;
  const std::function<void(const Progress&)>& progress_;
  TileReader reader_;
  std::unique_ptr<Survey> survey_;
  RunResult result_;
  std::int64_t total_bytes_ = 0;
  std::atomic<std::int64_t> bytes_done_{0};
  std::atomic<Clock::rep> last_report_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<ActiveJob>> active_;
  std::size_t next_job_ = 0;
  std::int64_t state_bytes_ = 0;
  std::int64_t mapped_left_ = 0;  // that jobs may keep mapped between passes
  std::exception_ptr failure_;
};

}  // namespace

std::int64_t output_chunks(const Job& job) noexcept {
  return job.kind == Job::Kind::kCopy ? ceil_div(job.bytes, kCopyChunk) : job.tiling.chunks();
}

RunResult run_jobs(const Plan& plan, const RunOptions& options, TileSink& sink, const std::function<void(const Progress&)>& progress) {
  return Scheduler(plan, options, sink, progress).run();
}

}  // namespace crucible
