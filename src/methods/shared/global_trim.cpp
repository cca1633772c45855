#include "methods/shared/global_trim.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "simd/select.h"

namespace crucible::task_arithmetic {
namespace {

// What a kernel needs of a cut. Shares the survey's data, which outlives the kernels.
class KeepAboveCut final : public Sparsifier {
 public:
  KeepAboveCut(const RankCut& cut, std::int64_t first_tile) : cut_(cut), first_tile_(first_tile) {}

  const float* apply(const Tile& tile, const float* delta, float* room, ModelMeasure* measure, Scratch&) noexcept override {
    simd::MagnitudeCut cut = cut_.in_tile(first_tile_ + tile.index);
    simd::MagnitudeCut none;
    const std::int64_t count = simd::keep_band(delta, cut, none, room, tile.count);
    if (measure == nullptr) return room;
    measure->elems += tile.count;
    measure->kept += count;
    return room;
  }

 private:
  const RankCut& cut_;
  std::int64_t first_tile_;
};

}  // namespace

std::unique_ptr<Survey> GlobalTrim::make(std::span<const KernelSpec> jobs, Findings& findings) {
  const auto asks = [](const KernelSpec& spec) { return spec.global->take(&Global::trim_scope) == TrimScope::kModel; };
  if (std::none_of(jobs.begin(), jobs.end(), asks)) return nullptr;
  auto survey = std::make_unique<GlobalTrim>();
  std::vector<std::size_t> by_name(jobs.size());
  std::iota(by_name.begin(), by_name.end(), std::size_t{0});
  std::sort(by_name.begin(), by_name.end(), [&jobs](std::size_t a, std::size_t b) { return jobs[a].tensor < jobs[b].tensor; });
  survey->jobs_.resize(jobs.size());
  for (const std::size_t j : by_name) {
    const KernelSpec& spec = jobs[j];
    SeenJob& job = survey->jobs_[j];
    job.plan_job = spec.job;
    job.takes_part = asks(spec);
    if (!job.takes_part) continue;
    job.elects = spec.global->take(&Global::elect) == Elect::kPaper;
    job.first_tile = survey->tiles_;
    CHECK(spec.tiling.chunk_tiles == jobs.front().tiling.chunk_tiles);
    survey->tiles_ += spec.tiling.chunks() * spec.tiling.chunk_tiles;  // a chunk of a tensor is one of the model
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
  for (Vector& v : survey->vectors_) {
    v.cuts = RankCuts(
        RankCuts::Spec{.takes = {v.take()}, .elems = v.elems, .tiles = survey->tiles_, .chunk_tiles = jobs.front().tiling.chunk_tiles});
    v.open = v.is_cut();
  }
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
  if (!selecting_) return 2;
  return vectors_.empty() ? 0 : std::ssize(vectors_) * vectors_.front().cuts.count_size();
}

bool GlobalTrim::wants(int, std::size_t j) const noexcept {
  const SeenJob& job = jobs_[j];
  if (!selecting_) return job.elects;
  return std::any_of(job.vectors.begin(), job.vectors.end(), [this](std::size_t v) { return vectors_[v].open; });
}

bool GlobalTrim::wants_tile(std::size_t j, const Tile& tile) const noexcept {
  const SeenJob& job = jobs_[j];
  return !selecting_ || std::any_of(job.vectors.begin(), job.vectors.end(),
                                    [&](std::size_t v) { return vectors_[v].open && vectors_[v].cuts.wants(job.first_tile + tile.index); });
}

void GlobalTrim::see(int, std::size_t j, const Tile& tile, const TileInputs& in, std::uint64_t* counts, Scratch& scratch) noexcept {
  const SeenJob& job = jobs_[j];
  if (!selecting_) return count_signs(job, tile, in, counts, scratch);
  for (std::size_t m = 0; m < job.vectors.size(); ++m) {
    const auto v = static_cast<std::int64_t>(job.vectors[m]);
    Vector& vector = vectors_[job.vectors[m]];
    if (!vector.open) continue;
    vector.cuts.reduce(job.first_tile + tile.index, in.task_vectors[m], tile.count, counts + v * vector.cuts.count_size());
  }
}

Next GlobalTrim::seal(int, std::span<const std::uint64_t> counts) {
  if (!selecting_) {
    zero_is_plus_ = counts[0] >= counts[1];
    return Next::kMap;
  }
  bool more = false;
  for (std::size_t v = 0; v < vectors_.size(); ++v) {
    Vector& vector = vectors_[v];
    if (!vector.open) continue;
    const auto size = static_cast<std::size_t>(vector.cuts.count_size());
    vector.open = vector.cuts.seal(counts.subspan(v * size, size));
    more = more || vector.open;
  }
  if (more) return Next::kReduce;
  selecting_ = false;
  return std::any_of(jobs_.begin(), jobs_.end(), [](const SeenJob& job) { return job.elects; }) ? Next::kReduce : Next::kMap;
}

void GlobalTrim::count_signs(const SeenJob& job, const Tile& tile, const TileInputs& in, std::uint64_t* counts,
                             Scratch& scratch) const noexcept {
  float* room = scratch.floats(0, tile.count);
  double* sum = scratch.doubles(1, tile.count);
  std::fill_n(sum, tile.count, 0.0);
  for (std::size_t m = 0; m < job.vectors.size(); ++m) {
    const float* kept = sparsifier(job, m)->apply(tile, in.task_vectors[m], room, nullptr, scratch);
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
  return kTileElems * 12 + std::ssize(vectors_) * RankCuts::most_counter_bytes(1, tiles_);
}
std::int64_t GlobalTrim::kept_bytes() const noexcept { return std::ssize(vectors_) * std::int64_t{sizeof(Vector)}; }

std::unique_ptr<Sparsifier> GlobalTrim::sparsifier(std::size_t plan_job, std::size_t model) const {
  return sparsifier(*std::find_if(jobs_.begin(), jobs_.end(), [plan_job](const SeenJob& j) { return j.plan_job == plan_job; }), model);
}

std::unique_ptr<Sparsifier> GlobalTrim::sparsifier(const SeenJob& job, std::size_t model) const {
  const Vector& vector = vectors_[job.vectors[model]];
  if (vector.keeps_all()) return make_keep_all();
  if (vector.take() == 0) return make_keep_none();
  return std::make_unique<KeepAboveCut>(vector.cuts[0], job.first_tile);
}

}  // namespace crucible::task_arithmetic
