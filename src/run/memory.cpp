#include <algorithm>
#include <cstdio>
#include <thread>

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include "base/text_util.h"
#include "base/units.h"
#include "crucible/error.h"
#include "run/runner.h"
#include "run/tensor_hash.h"
#include "run/tile_reader.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

// The program, its libraries, thread stacks and allocator slack.
constexpr std::int64_t kProgramBytes = std::int64_t{24} << 20;
// Mapped pages of inputs that are kept between two passes, at most.
constexpr std::int64_t kMappedKept = std::int64_t{128} << 20;
// Of those that are done with, bytes that leave memory together: as many as the budget allows, since each time stops all threads.
constexpr std::int64_t kLeastReleased = std::int64_t{8} << 20;
constexpr std::int64_t kMostReleased = std::int64_t{32} << 20;

// Buffers of a worker for one job: raw bytes of an input and what is read ahead, f32 of every input and of the output, a chunk of output
// bytes and one that waits to be written, the kernel's scratch and counters.
std::int64_t worker_bytes(const Job& job, const Kernel* kernel) {
  // A copy that is converted: read, as f32, and written, each at most four bytes for one of the output.
  if (job.kind == Job::Kind::kCopy) return job.converts() ? 9 * kCopyChunk : kCopyChunk;
  const std::int64_t elems = job.tiling.tile_elems;
  const auto inputs = static_cast<std::int64_t>(job.sources.size() + (job.base ? 1 : 0));
  const std::int64_t stored = job.tiling.chunk_elems() * facts(job.info.dtype).bits / 8;
  std::int64_t widest = 0;
  const auto widen = [&widest](const SourceTensor& s) {
    for (const Piece& p : s.tensor->pieces) widest = std::max<std::int64_t>(widest, facts(p.tensor->info.dtype).bits / 8);
  };
  for (const SourceTensor& s : job.sources) widen(s);
  if (job.base) widen(*job.base);
  // Selection has two cuts a model at most.
  const std::int64_t counters = static_cast<std::int64_t>(job.sources.size()) * RankCuts::most_counter_bytes(2, job.tiling.tiles);
  return elems * (4 * (inputs + 1) + widest) + TileReader::kAheadBytes + 2 * stored + kernel->scratch_bytes() + counters;
}

}  // namespace

std::int64_t default_memory() {
  struct sysinfo info {};
  std::int64_t total = std::int64_t{8} << 30;
  if (sysinfo(&info) == 0) total = static_cast<std::int64_t>(info.totalram) * static_cast<std::int64_t>(info.mem_unit);
  return std::min(std::int64_t{2} << 30, total / 4);
}

int default_threads() { return static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }

namespace {

// What the most demanding jobs need when a kernel may keep `keep_budget_bytes` between passes.
struct Needs {
  std::int64_t worker_bytes = 0;
  std::int64_t survey_bytes = 0;  // held from before the first job to the end
  std::int64_t state_bytes = 0;
  std::int64_t chunk_bytes = 0;  // of all inputs of a chunk
  const Job* widest = nullptr;
  const Job* heaviest = nullptr;
  std::int64_t sum() const noexcept { return worker_bytes + state_bytes + survey_bytes; }
};

Needs needs_of(const Plan& plan, std::int64_t keep_budget_bytes) {
  Needs needs;
  ParamBinder binder;
  for (const Job& job : plan.jobs) {
    std::int64_t buffers = kCopyChunk;
    if (job.kind == Job::Kind::kMerge) {
      const BoundParams& params = binder.bind(job);
      const auto kernel = plan.method->make_kernel(kernel_spec(job, params, keep_budget_bytes));
      buffers = worker_bytes(job, kernel.get());
      needs.chunk_bytes = std::max(needs.chunk_bytes, bytes_of_inputs(job, job.tiling.chunk_end(0)));
      if (kernel->kept_bytes() > needs.state_bytes) {
        needs.state_bytes = kernel->kept_bytes();
        needs.heaviest = &job;
      }
    }
    if (buffers > needs.worker_bytes) {
      needs.worker_bytes = buffers;
      needs.widest = &job;
    }
  }
  NoFindings findings;
  if (const PlanSurvey survey = make_plan_survey(plan, findings); survey.survey) {
    needs.survey_bytes = survey.survey->kept_bytes();
    needs.worker_bytes += survey.survey->scratch_bytes();
  }
  return needs;
}

}  // namespace

MemoryPlan plan_memory(const Plan& plan, const RunOptions& options) {
  const std::int64_t budget = options.memory_bytes > 0 ? options.memory_bytes : default_memory();
  MemoryPlan memory;
  memory.workers = std::max(1, options.threads > 0 ? options.threads : default_threads());
  // Half for what kernels keep, half for buffers; whichever needs less leaves the rest to the other.
  memory.keep_budget_bytes = budget / 2;
  Needs needs = needs_of(plan, memory.keep_budget_bytes);
  if (needs.sum() > budget) {
    // Keeping nothing costs time only.
    memory.keep_budget_bytes = 0;
    needs = needs_of(plan, 0);
  }
  if (needs.sum() > budget) {
    throw Error(
        ErrorCode::kNoSpace,
        fmt::format("a memory budget of {} is too small: tensor {} needs {} of buffers{}; use --memory {} or more", render_bytes(budget),
                    needs.widest != nullptr ? printable(needs.widest->info.name) : "?", render_bytes(needs.worker_bytes),
                    needs.heaviest != nullptr ? fmt::format(" and {} needs {} between passes", printable(needs.heaviest->info.name),
                                                            render_bytes(needs.state_bytes))
                                              : "",
                    needs.sum()));
  }
  memory.worker_bytes = needs.worker_bytes;
  const std::int64_t largest_state = needs.state_bytes;
  const std::int64_t for_workers = (budget - largest_state - needs.survey_bytes) / std::max<std::int64_t>(memory.worker_bytes, 1);
  memory.workers = static_cast<int>(std::clamp<std::int64_t>(for_workers, 1, memory.workers));
  memory.state_bytes =
      std::max(largest_state, std::min(budget - needs.survey_bytes - memory.workers * memory.worker_bytes, 2 * largest_state));
  const std::int64_t left = budget - needs.survey_bytes - memory.workers * memory.worker_bytes - memory.state_bytes;
  // The system maps some more around a chunk.
  const std::int64_t under_way = 2 * memory.workers * needs.chunk_bytes;
  memory.may_map = options.reading != Reading::kByPosition && left >= under_way + kLeastReleased;
  if (memory.may_map) {
    memory.release_at_once = std::min(kMostReleased, left - under_way);
    memory.mapped_bytes = std::min(kMappedKept, left - under_way - memory.release_at_once);
  }
  std::int64_t plan_bytes = 0;
  for (const PlanInput& input : plan.inputs) plan_bytes += static_cast<std::int64_t>(input.checkpoint.tensors().size()) * 400;
  plan_bytes += static_cast<std::int64_t>(plan.jobs.size()) * (1200 + 300 * static_cast<std::int64_t>(plan.inputs.size()));
  memory.predicted_peak_bytes = kProgramBytes + plan_bytes + memory.workers * memory.worker_bytes + memory.state_bytes + needs.survey_bytes;
  if (memory.may_map) memory.predicted_peak_bytes += std::min(under_way + memory.release_at_once + memory.mapped_bytes, plan.input_bytes());
  return memory;
}

}  // namespace crucible
