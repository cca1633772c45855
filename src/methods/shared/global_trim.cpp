#include "methods/shared/global_trim.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "base/text_util.h"
#include "simd/ops.h"

namespace crucible::task_arithmetic {
namespace {

// What a kernel needs of a cut. Shares the survey's data, which outlives the kernels.
class KeepAboveCut final : public Sparsifier {
 public:
  KeepAboveCut(const RankCut& cut, std::int64_t first_tile, double share) : cut_(cut), first_tile_(first_tile), share_(share) {}

  void apply(const Tile& tile, const float* delta, float* kept, ModelMeasure* measure, Scratch&) noexcept override {
    const std::int64_t count = keep_inside(cut_, first_tile_ + tile.index, delta, kept, tile.count);
    if (measure == nullptr) return;
    measure->elems += tile.count;
    measure->kept += count;
    measure->expected_kept += share_ * static_cast<double>(tile.count);
  }

 private:
  const RankCut& cut_;
  std::int64_t first_tile_;
  double share_;  // kept of the whole model
};

}  // namespace

std::unique_ptr<Survey> GlobalTrim::make(std::span<const KernelSpec> jobs, Findings& findings) {
  auto survey = std::make_unique<GlobalTrim>();
  std::vector<std::size_t> by_name(jobs.size());
  std::iota(by_name.begin(), by_name.end(), std::size_t{0});
  std::sort(by_name.begin(), by_name.end(), [&jobs](std::size_t a, std::size_t b) { return jobs[a].tensor < jobs[b].tensor; });
  survey->jobs_.resize(jobs.size());
  bool asked = false;
  for (const std::size_t j : by_name) {
    const KernelSpec& spec = jobs[j];
    SeenJob& job = survey->jobs_[j];
    job.plan_job = spec.job;
    job.takes_part = spec.global->take(&Global::trim_scope) == TrimScope::kModel;
    if (!job.takes_part) continue;
    asked = true;
    job.elects = spec.global->take(&Global::elect) == Elect::kPaper;
    job.first_tile = survey->tiles_;
    job.tiles = spec.tiling.tiles;
    survey->tiles_ += job.tiles;
    survey->most_models_ = std::max(survey->most_models_, spec.models.size());
    std::map<int, int> repeats;
    for (std::size_t m = 0; m < spec.models.size(); ++m) {
      const double density = spec.models[m].take(&Model::density);
      const std::size_t v = survey->vector_of(spec.inputs[m], repeats[spec.inputs[m]]++);
      Vector& vector = survey->vectors_[v];
      if (vector.elems > 0 && vector.density != density) {
        findings.error(fmt::format("trim_scope: model takes one density for all tensors of a model; here one model has {} and {}",
                                   render_number(vector.density), render_number(density)),
                       "give the model one number, without a gradient or a filter, or use trim_scope: tensor");
      }
      vector.density = density;
      vector.elems += spec.tiling.elems;
      job.vectors.push_back(v);
      job.weights.push_back(spec.models[m].take(&Model::weight));
    }
  }
  if (!asked) return nullptr;
  for (Vector& v : survey->vectors_) v.cut = RankCut(v.take());
  return survey;
}

std::size_t GlobalTrim::vector_of(int input, int repeat) {
  for (std::size_t v = 0; v < vectors_.size(); ++v) {
    if (vectors_[v].input == input && vectors_[v].repeat == repeat) return v;
  }
  vectors_.push_back({input, repeat});
  return vectors_.size() - 1;
}

std::int64_t GlobalTrim::count_size(int) const noexcept {
  const std::int64_t vectors = std::ssize(vectors_);
  switch (phase_) {
    case Phase::kCoarse: return vectors * kCoarseBuckets;
    case Phase::kFine: return vectors * kFineBuckets;
    case Phase::kTies: return vectors * tiles_;
    case Phase::kSigns: return 2;
  }
  return 0;
}

bool GlobalTrim::wants(int, std::size_t job) const noexcept {
  return jobs_[job].takes_part && (phase_ != Phase::kSigns || jobs_[job].elects);
}

void GlobalTrim::see(int, std::size_t j, const Tile& tile, const TileInputs& in, std::uint64_t* counts, Scratch& scratch) noexcept {
  const SeenJob& job = jobs_[j];
  if (phase_ == Phase::kSigns) return count_signs(job, tile, in, counts, scratch);
  float* delta = scratch.floats(0, tile.count);
  for (std::size_t m = 0; m < job.vectors.size(); ++m) {
    const Vector& vector = vectors_[job.vectors[m]];
    if (!vector.is_cut()) continue;
    simd::subtract(in.models[m], in.base, delta, tile.count);
    const auto v = static_cast<std::int64_t>(job.vectors[m]);
    if (phase_ == Phase::kCoarse) {
      count_coarse(delta, tile.count, counts + v * kCoarseBuckets);
    } else if (phase_ == Phase::kFine) {
      count_fine(delta, tile.count, vector.cut.coarse_bucket(), counts + v * kFineBuckets);
    } else {
      counts[v * tiles_ + job.first_tile + tile.index] += count_equal(delta, tile.count, vector.cut.magnitude());
    }
  }
}

Next GlobalTrim::seal(int, std::span<const std::uint64_t> counts) {
  const auto mine = [&](std::size_t v, std::int64_t size) {
    return counts.subspan(v * static_cast<std::size_t>(size), static_cast<std::size_t>(size));
  };
  if (phase_ == Phase::kSigns) {
    zero_is_plus_ = counts[0] >= counts[1];
    return Next::kMap;
  }
  bool ties = false;
  for (std::size_t v = 0; v < vectors_.size(); ++v) {
    RankCut& cut = vectors_[v].cut;
    if (!vectors_[v].is_cut()) continue;
    if (phase_ == Phase::kCoarse) {
      cut.see_coarse(mine(v, kCoarseBuckets));
    } else if (phase_ == Phase::kFine) {
      cut.see_fine(mine(v, kFineBuckets));
      ties = ties || cut.needs_ties();
    } else if (cut.needs_ties()) {
      cut.see_ties(mine(v, tiles_));
    }
  }
  if (phase_ == Phase::kCoarse) {
    phase_ = Phase::kFine;
    return Next::kReduce;
  }
  if (phase_ == Phase::kFine && ties) {
    phase_ = Phase::kTies;
    return Next::kReduce;
  }
  phase_ = Phase::kSigns;
  return std::any_of(jobs_.begin(), jobs_.end(), [](const SeenJob& job) { return job.elects; }) ? Next::kReduce : Next::kMap;
}

void GlobalTrim::keep(const SeenJob& job, std::size_t model, const Tile& tile, const float* delta, float* kept) const noexcept {
  const Vector& vector = vectors_[job.vectors[model]];
  if (vector.is_cut()) {
    keep_inside(vector.cut, job.first_tile + tile.index, delta, kept, tile.count);
  } else {
    for (std::int64_t i = 0; i < tile.count; ++i) kept[i] = vector.keeps_all() ? delta[i] : 0.0f;
  }
}

void GlobalTrim::count_signs(const SeenJob& job, const Tile& tile, const TileInputs& in, std::uint64_t* counts,
                             Scratch& scratch) const noexcept {
  float* delta = scratch.floats(0, tile.count);
  float* kept = scratch.floats(1, tile.count);
  double* sum = scratch.doubles(2, tile.count);
  std::fill_n(sum, tile.count, 0.0);
  for (std::size_t m = 0; m < job.vectors.size(); ++m) {
    simd::subtract(in.models[m], in.base, delta, tile.count);
    keep(job, m, tile, delta, kept);
    for (std::int64_t i = 0; i < tile.count; ++i) sum[i] += job.weights[m] * static_cast<double>(kept[i]);
  }
  std::uint64_t plus = 0, minus = 0;
  for (std::int64_t i = 0; i < tile.count; ++i) {
    plus += sum[i] > 0 ? 1 : 0;
    minus += sum[i] < 0 ? 1 : 0;
  }
  counts[0] += plus;
  counts[1] += minus;
}

std::int64_t GlobalTrim::scratch_bytes() const noexcept {
  return kTileElems * 16 + std::ssize(vectors_) * std::max(kCoarseBuckets, tiles_) * 8;
}
std::int64_t GlobalTrim::kept_bytes() const noexcept { return std::ssize(vectors_) * (tiles_ + 8) * 8; }

std::unique_ptr<Sparsifier> GlobalTrim::sparsifier(std::size_t plan_job, std::size_t model) const {
  const auto job = std::find_if(jobs_.begin(), jobs_.end(), [plan_job](const SeenJob& j) { return j.plan_job == plan_job; });
  const Vector& vector = vectors_[job->vectors[model]];
  if (vector.keeps_all()) return make_keep_all();
  if (vector.take() == 0) return make_keep_none();
  const double share = static_cast<double>(vector.take()) / static_cast<double>(vector.elems);
  return std::make_unique<KeepAboveCut>(vector.cut, job->first_tile, share);
}

}  // namespace crucible::task_arithmetic
