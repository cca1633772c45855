#include "run/survey.h"

#include <exception>
#include <mutex>
#include <thread>

#include "crucible/error.h"

namespace crucible {
namespace {

struct SurveyWorker {
  TileBuffers buffers;
  Scratch scratch;
  std::vector<std::uint64_t> counts;
};

// A chunk of a merge job of the plan.
struct SurveyChunk {
  std::size_t job = 0;  // index into PlanSurvey::jobs
  std::int64_t chunk = 0;
};

class SurveyRun {
 public:
  SurveyRun(const Plan& plan, const PlanSurvey& survey, int workers, const std::atomic<bool>* stop, TileReader& reader)
      : plan_(plan), survey_(survey), stop_(stop), reader_(reader), workers_(static_cast<std::size_t>(workers)) {}

  void run() {
    for (int pass = 0;; ++pass) {
      begin(pass);
      {
        std::vector<std::jthread> threads;
        for (std::size_t w = 1; w < workers_.size(); ++w) threads.emplace_back([this, pass, w] { work(pass, workers_[w]); });
        work(pass, workers_.front());
      }
      if (failure_) std::rethrow_exception(failure_);
      std::vector<std::uint64_t>& total = workers_.front().counts;
      for (std::size_t w = 1; w < workers_.size(); ++w) {
        for (std::size_t i = 0; i < total.size(); ++i) total[i] += workers_[w].counts[i];
      }
      reader_.settle_reading();
      if (survey_.survey->seal(pass, total) == Next::kMap) return;
    }
  }

 private:
  void begin(int pass) {
    for (SurveyWorker& w : workers_) w.counts.assign(static_cast<std::size_t>(survey_.survey->count_size(pass)), 0);
    next_ = {};
    skip_unwanted(pass);
  }

  void skip_unwanted(int pass) {
    while (next_.job < survey_.jobs.size() &&
           (next_.chunk >= plan_.jobs[survey_.jobs[next_.job]].tiling.chunks() || !survey_.survey->wants(pass, next_.job))) {
      next_ = {next_.job + 1, 0};
    }
  }

  bool next_chunk(int pass, SurveyChunk& chunk) {
    const std::lock_guard lock(mutex_);
    if (failure_ || next_.job == survey_.jobs.size()) return false;
    chunk = next_;
    ++next_.chunk;
    skip_unwanted(pass);
    return true;
  }

  void work(int pass, SurveyWorker& worker) {
    try {
      SurveyChunk at;
      while (next_chunk(pass, at)) {
        if (stop_ != nullptr && stop_->load(std::memory_order_relaxed)) {
          throw Error(ErrorCode::kInterrupted, "interrupted; nothing was left behind");
        }
        const Job& job = plan_.jobs[survey_.jobs[at.job]];
        reader_.begin_chunk(job, at.chunk, worker.buffers);
        const auto wants = [&](const Tile& tile) { return survey_.survey->wants_tile(at.job, tile); };
        job.tiling.for_wanted_of_chunk(at.chunk, wants, [&](const Tile& tile, std::int64_t end) {
          const TileInputs inputs = reader_.read(job, tile, end, survey_.survey->input_form(), worker.buffers);
          TileReader::prefetch(worker.buffers);
          survey_.survey->see(pass, at.job, tile, inputs, worker.counts.data(), worker.scratch);
          TileReader::prefetch(worker.buffers);
          TileReader::prefetch(worker.buffers);
        });
        reader_.end_chunk(worker.buffers);
        if (reader_.maps()) reader_.release(job, job.tiling.chunk_begin(at.chunk), job.tiling.chunk_end(at.chunk));
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  const Plan& plan_;
  const PlanSurvey& survey_;
  const std::atomic<bool>* stop_;
  TileReader& reader_;
  std::vector<SurveyWorker> workers_;
  std::mutex mutex_;
  SurveyChunk next_;
  std::exception_ptr failure_;
};

}  // namespace

std::unique_ptr<Survey> run_survey(const Plan& plan, int workers, const std::atomic<bool>* stop, TileReader& reader) {
  NoFindings findings;  // checked while planning
  PlanSurvey survey = make_plan_survey(plan, findings);
  if (survey.survey) SurveyRun(plan, survey, workers, stop, reader).run();
  return std::move(survey.survey);
}

}  // namespace crucible
