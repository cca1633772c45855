// Executes a plan: reads tiles, converts, computes, converts, writes at the planned offset.
//
// A task is (job, pass, chunk). Workers take tasks in plan order; nothing is ordered after that: results carry their chunk's index, and
// what must be summed is summed in tile order. A byte budget decides how many workers and jobs are under way, never what they compute.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "crucible/run.h"
#include "io/page_buffer.h"
#include "methods/kernel.h"
#include "plan/plan.h"

namespace crucible {

enum class Measuring {
  kCounts,  // what kernels count in passing
  kAudit,   // and the sample: norms, projections, histograms, elements computed twice
};

struct RunOptions {
  int threads = 0;                          // 0 = all processors
  std::int64_t memory_bytes = 0;            // budget of buffers and kernel state; 0 = default_memory()
  const std::atomic<bool>* stop = nullptr;  // set by a signal handler
  // Only these chunks of the output (pieces of kCopyChunk bytes where a tensor is copied) are computed, and jobs without any are left
  // out. The passes before the output see every tile of a job all the same. Empty = everything.
  std::function<bool(std::size_t job, std::int64_t chunk)> selection;
  Measuring measuring = Measuring::kAudit;
  Reading reading = Reading::kMeasured;
};

// Into how many chunks the output of a job is cut.
std::int64_t output_chunks(const Job& job) noexcept;

// The lesser of 2 GiB and a quarter of the machine's memory.
std::int64_t default_memory();
int default_threads();

// How a budget is spent on a plan. Pure arithmetic on the plan.
struct MemoryPlan {
  int workers = 1;
  std::int64_t worker_bytes = 0;       // buffers of one worker at most
  std::int64_t keep_budget_bytes = 0;  // what one job's kernel may keep between passes
  std::int64_t state_bytes = 0;        // of all jobs under way at most
  bool may_map = false;                // is there room for mapped pages of inputs?
  std::int64_t release_at_once = 0;    // of those that are done with and wait to leave memory
  std::int64_t mapped_bytes = 0;       // of pages that may stay mapped from one pass to the next, beside those
  std::int64_t predicted_peak_bytes = 0;
};
// Throws Error{kNoSpace} when one worker on the largest job does not fit, naming the smallest budget that does.
MemoryPlan plan_memory(const Plan& plan, const RunOptions& options);

// Where output bytes go: files under way, or a comparison with files that exist. Thread-safe.
class TileSink {
 public:
  virtual ~TileSink() = default;
  virtual void write(const Job& job, int file, std::int64_t offset, const void* data, std::size_t size) = 0;
  // The same, of what stands at the place of a buffer; the sink may keep it and leave another one, and then write later.
  virtual void write_buffer(const Job& job, int file, std::int64_t offset, PageBuffer& bytes, std::size_t size) {
    write(job, file, offset, bytes.data(), size);
  }
};

// What happened to one job.
struct JobResult {
  Measure measure;
  std::vector<Kernel::Note> notes;
  std::string remark;                // of the kernel
  std::int64_t input_nonfinite = 0;  // output elements that are not finite because inputs were not
};

struct Progress {
  std::int64_t bytes_done = 0;  // of output
  std::int64_t bytes_total = 0;
  std::string tensor;  // one that is under way
};

struct RunResult {
  std::vector<JobResult> jobs;  // as in the plan
  double seconds = 0;
  std::int64_t peak_bytes = 0;  // resident memory of the process
  std::int64_t bytes_read = 0;
};

// Runs all jobs of a plan into a sink. `progress` (may be empty) is called from workers, at most a few times a second.
// Throws the first Error that a worker met; the sink is then incomplete.
RunResult run_jobs(const Plan& plan, const RunOptions& options, TileSink& sink, const std::function<void(const Progress&)>& progress);

}  // namespace crucible
