#include "methods/shared/promises.h"

#include <algorithm>
#include <cmath>

#include "methods/shared/gram.h"
#include "methods/shared/keep_ramp.h"
#include "methods/shared/sparsify_stages.h"
#include "methods/shared/task_twin.h"

namespace crucible {
namespace {

// What a projection may be off by: half a unit of f32 in every output element, in the worst case all one way; twice that, for the sums.
// A unit is relative, and below the normal range of f32 it is absolute.
constexpr double kRoundings = 0x1p-23;
constexpr double kSmallestUnit = 0x1p-149;

struct Misfit {
  std::size_t model = 0;
  double measured = 0, planned = 0, room = 0, size = 1;
  double excess() const noexcept { return std::abs(measured - planned) / std::max(room, 1e-300); }
};

// The projection that lies farthest outside its room.
Misfit worst_projection(const Sketch& sketch, std::span<const double> coefficients) {
  const std::size_t n = coefficients.size();
  const Gram gram(sketch.gram, n + 1);
  Misfit worst;
  for (std::size_t j = 0; j < n; ++j) {
    Misfit here;
    here.model = j;
    here.measured = gram(n, j);
    double terms = 0;
    for (std::size_t i = 0; i < n; ++i) {
      here.planned += coefficients[i] * gram(i, j);
      terms += std::abs(coefficients[i] * gram(i, j));
    }
    here.size = gram(j, j) > 0 ? gram(j, j) : 1;
    const double of_output = kRoundings * std::sqrt(std::max(sketch.out_square, sketch.base_square));
    const double of_smallest = kSmallestUnit * std::sqrt(static_cast<double>(sketch.elems));
    here.room = (of_output + of_smallest) * std::sqrt(gram(j, j)) + 1e-12 * terms + 1e-300;
    if (j == 0 || here.excess() > worst.excess()) worst = here;
  }
  return worst;
}

bool fits(const Sketch& sketch, std::span<const double> coefficients) { return worst_projection(sketch, coefficients).excess() <= 1; }

}  // namespace

void promise_combination(const Measure& measure, std::span<const double> coefficients, const std::vector<std::string_view>& parameters,
                         const std::vector<OtherCombination>& others, Promises& out) {
  const Sketch& sketch = measure.sketch;
  if (sketch.empty() || coefficients.empty() || parameters.empty()) return;
  for (const double g : sketch.gram) {
    if (!std::isfinite(g)) return;  // NaN or infinity in the inputs
  }
  const Misfit worst = worst_projection(sketch, coefficients);
  std::string_view guilty;
  if (!(worst.excess() <= 1)) {
    guilty = parameters.front();
    for (const OtherCombination& o : others) {
      if (!fits(sketch, o.coefficients)) continue;
      guilty = o.parameter;
      break;
    }
  }
  for (const std::string_view name : parameters) {
    const bool off = name == guilty;
    Promise p = Promise::value(name, static_cast<int>(worst.model), "projection of the result on the model",
                               off ? worst.measured : worst.planned, worst.planned, worst.room);
    if (guilty.empty()) p.measured = worst.measured;
    p.scale = worst.size;
    out.push_back(p);
  }
}

void promise_spots(const Measure& measure, const std::vector<std::string_view>& alternatives, Promises& out) {
  const SpotCheck& spot = measure.spot;
  if (spot.seen == 0) return;
  std::string_view guilty;
  if (spot.wrong > 0) {
    // Ties of explanation go to the first; where nothing explains most of it, to the last resort of the list's first parameter.
    const auto best = std::max_element(spot.explained.begin(), spot.explained.end());
    const bool explains = best != spot.explained.end() && 10 * *best >= 9 * spot.wrong;
    guilty = alternatives[explains ? static_cast<std::size_t>(best - spot.explained.begin()) : 0];
  }
  std::vector<std::string_view> done;
  for (const std::string_view name : alternatives) {
    if (std::find(done.begin(), done.end(), name) != done.end()) continue;
    done.push_back(name);
    out.push_back(Promise::exact(name, -1, "elements of the sample that differ from the formula",
                                 name == guilty ? static_cast<double>(spot.wrong) : 0, 0, static_cast<double>(spot.seen)));
  }
}

namespace task_arithmetic {
namespace {

constexpr std::string_view kTenths[kDeciles] = {
    "keep rate of magnitude tenth 1", "keep rate of magnitude tenth 2", "keep rate of magnitude tenth 3", "keep rate of magnitude tenth 4",
    "keep rate of magnitude tenth 5", "keep rate of magnitude tenth 6", "keep rate of magnitude tenth 7", "keep rate of magnitude tenth 8",
    "keep rate of magnitude tenth 9", "keep rate of magnitude tenth 10"};

double number(std::int64_t n) noexcept { return static_cast<double>(n); }

// What is left of the task vector's survivors against what they were: the rescaling of each survivor by its own probability.
void promise_survivors(const JobFacts& job, const Measure& measure, std::size_t i, double least, double most, Promises& out) {
  if (!job.global->table().find("rescale")) return;
  const ModelMeasure& m = measure.models[i];
  if (!(m.l1_survivors > 0) || !std::isfinite(m.l1_kept)) return;
  const bool divides = job.global->peek(&Global::rescale) == Rescale::kPerElement;
  const double low = divides ? 1 / most : 1, high = divides ? 1 / least : 1;
  const double ratio = m.l1_kept / m.l1_survivors;
  const double planned = std::clamp(ratio, low, high);
  // Survivors below the normal range of f32 have few digits.
  const double few_digits = kSmallestUnit * number(measure.sketch.elems) / m.l1_survivors;
  out.push_back(Promise::value("rescale", static_cast<int>(i), "factor on the survivors", ratio, planned, 1e-6 * high + few_digits));
}

std::int64_t whole_count(double density, std::int64_t n) { return density >= 1 ? n : share_of(density, n); }

}  // namespace

void promise_sum(const JobFacts& job, const Measure& measure, Promises& out) {
  if (job.models.empty()) return;
  promise_spots(measure, TaskTwin::alternatives(job.models.size(), job.global->table()), out);
}

void promise_draws(const JobFacts& job, const Measure& measure, Promises& out) {
  for (std::size_t i = 0; i < job.models.size(); ++i) {
    const ModelMeasure& m = measure.models[i];
    const double n = number(m.elems), density = std::clamp(job.models[i].peek(&Model::density), 0.0, 1.0);
    out.push_back(Promise::count("density", static_cast<int>(i), kShareKept, number(m.kept), n * density, n, n * density * (1 - density)));
    if (density > 0) promise_survivors(job, measure, i, density, density, out);
  }
  promise_sum(job, measure, out);
}

void promise_trim(const JobFacts& job, const Measure& measure, Promises& out) {
  const bool whole_model = job.global->peek(&Global::trim_scope) == TrimScope::kModel;
  for (std::size_t i = 0; i < job.models.size(); ++i) {
    const ModelMeasure& m = measure.models[i];
    const double density = job.models[i].peek(&Model::density);
    Promise p =
        Promise::exact("density", static_cast<int>(i), kShareKept, number(m.kept), number(whole_count(density, m.elems)), number(m.elems));
    if (whole_model) {
      // trunc(density * n) of the model's n: less than one entry from the sum of the tensors' shares, whose rounding is far less.
      p.planned = density * number(m.elems);
      p.tolerance = 1.01;
      p.in_total_only = true;
    }
    out.push_back(p);
  }
  promise_sum(job, measure, out);
}

void promise_band(const JobFacts& job, const Measure& measure, Promises& out) {
  const std::int64_t elems = elem_count(*job.shape), row = std::max<std::int64_t>(row_length(*job.shape), 1);
  const bool rows = job.global->peek(&Global::rank_scope) == RankScope::kRow && row < elems;
  for (std::size_t i = 0; i < job.models.size(); ++i) {
    const ModelMeasure& m = measure.models[i];
    const double density = job.models[i].peek(&Model::density);
    const std::int64_t n = rows ? row : elems;
    const std::int64_t planned = n > 0 ? elems / n * whole_count(density, n) : 0;
    out.push_back(Promise::exact("density", static_cast<int>(i), kShareKept, number(m.kept), number(planned), number(m.elems)));
  }
  promise_sum(job, measure, out);
}

void promise_ramp(const JobFacts& job, const Measure& measure, Promises& out) {
  const std::int64_t elems = elem_count(*job.shape), row = std::max<std::int64_t>(row_length(*job.shape), 1);
  const bool whole_tensor = job.global->peek(&Global::rank_scope) == RankScope::kTensor;
  const std::int64_t scope = whole_tensor ? elems : row;
  for (std::size_t i = 0; i < job.models.size() && elems > 0; ++i) {
    const Params& model = job.models[i];
    const ModelMeasure& m = measure.models[i];
    const int index = static_cast<int>(i);
    const double density = std::clamp(model.peek(&Model::density), 0.0, 1.0);
    const double epsilon = half_width(model.peek(&Model::epsilon), model.peek(&Model::window), model);
    const std::string_view shape = model.given(&Model::window) ? "window" : "epsilon";
    const KeepRamp ramp(density, epsilon, scope);
    const double scopes = number(elems / scope);
    const auto all = ramp.moments(0, scope);
    const double n = number(m.elems);
    out.push_back(Promise::count("density", index, kShareKept, number(m.kept), n * density, n, all.variance * scopes));
    if (density <= 0 || density >= 1) continue;
    promise_survivors(job, measure, i, std::max(ramp.probability(0), 1e-9), ramp.probability(scope - 1), out);

    double rise = 0, planned_rise = 0, rise_variance = 0, ranges = 0, weights = 0;
    for (int d = 0; d < kDeciles; ++d) {
      const auto k = static_cast<std::size_t>(d);
      const auto part = ramp.moments(decile_begin(d, scope), decile_begin(d + 1, scope));
      const double of_scope = number(decile_begin(d + 1, scope) - decile_begin(d, scope));
      if (of_scope == 0) continue;
      // Of a large tensor some rows are counted by tenth. None at all would be a fault: all are missed then.
      const double counted = m.decile_elems[k] > 0 ? number(m.decile_elems[k]) / of_scope : scopes;
      const double in_tenth = of_scope * counted;
      const double planned = part.mean * counted;
      out.push_back(Promise::count(shape, index, kTenths[k], number(m.decile_kept[k]), planned, in_tenth, part.variance * counted));
      out.back().given = "density";
      out.back().tenth = d;
      const double lever = d - 4.5;
      rise += lever * number(m.decile_kept[k]);
      planned_rise += lever * planned;
      rise_variance += lever * lever * part.variance * counted;
      ranges += lever * lever * in_tenth;
      weights += lever * lever * in_tenth;
    }
    if (weights == 0) continue;
    Promise slope = Promise::value(shape, index, "rise of the keep rate from tenth to tenth", rise, planned_rise, 0);
    slope.squared_ranges = ranges;
    slope.variance = rise_variance;
    slope.scale = weights;
    slope.given = "density";
    out.push_back(slope);
  }
  promise_sum(job, measure, out);
}

}  // namespace task_arithmetic
}  // namespace crucible
