// Methods without random choices: computed again, as asked and with each parameter at its neutral value.
//
// With R the merge as asked, R_k the merge with parameter k at its neutral value and D_k = R_k - R, the output is R + sum a_k D_k +
// rounding: a_k is 0 where the parameter did its work and 1 where it was ignored. The a_k are found one at a time, the one that
// explains most of what is left first, since directions of different parameters are far from orthogonal.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "audit/foreign_parts.h"
#include "base/hash.h"
#include "base/text_util.h"

namespace crucible::foreign {
namespace {

constexpr std::int64_t kRecomputedElems = std::int64_t{1} << 22;
// A parameter is taken for ignored, in part or wholly, when the output lies this far on the way to its neutral value.
constexpr double kTolerance = 0.1;
// Elements that deviate by more units of rounding than this are not explained by a tool's rounding.
constexpr double kHalfUnits = 4, kFloatUnits = 32;
constexpr double kMostUnexplained = 0.01;

// One tile of the sample and where its elements lie in the arrays.
struct Pick {
  std::size_t pair = 0;
  std::int64_t begin = 0, count = 0;
  std::int64_t at = 0;
};

struct Sample {
  std::vector<Pick> picks;
  std::map<std::pair<std::size_t, std::int64_t>, std::size_t> by_chunk;  // job and chunk -> pick
  std::int64_t elems = 0;

  void add(std::size_t pair, std::size_t job, const Tiling& tiling, std::int64_t chunk) {
    const std::int64_t begin = tiling.chunk_begin(chunk);
    const std::int64_t count = tiling.chunk_end(chunk) - begin;
    by_chunk.emplace(std::pair(job, chunk), picks.size());
    picks.push_back({pair, begin, count, elems});
    elems += count;
  }
};

Sample draw_sample(const Plan& plan, const std::vector<Pair>& pairs) {
  std::int64_t total = 0;
  for (const Pair& p : pairs) total += plan.jobs[p.job].tiling.elems;
  const double share = static_cast<double>(kRecomputedElems) / static_cast<double>(std::max<std::int64_t>(total, 1));
  Sample sample;
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const Job& job = plan.jobs[pairs[p].job];
    for (std::int64_t c = 0; c < job.tiling.chunks(); ++c) {
      const double drawn = static_cast<double>(hash64(fmt::format("{} {}", job.info.name, c)) >> 11) * 0x1p-53;
      if (drawn < share) sample.add(p, pairs[p].job, job.tiling, c);
    }
  }
  return sample;
}

// Collects f32 values of the chunks of a sample.
class Collect final : public TileSink {
 public:
  Collect(const Plan& plan, const Sample& sample, std::vector<float>& values) : plan_(plan), sample_(sample), values_(values) {}
  void write(const Job& job, int, std::int64_t offset, const void* data, std::size_t size) override {
    const auto index = static_cast<std::size_t>(&job - plan_.jobs.data());
    const std::int64_t elem = (offset - job.offset) / 4;
    const auto pick = sample_.by_chunk.find({index, elem / job.tiling.chunk_elems()});
    if (pick == sample_.by_chunk.end()) return;
    std::memcpy(values_.data() + sample_.picks[pick->second].at, data, size);
  }

 private:
  const Plan& plan_;
  const Sample& sample_;
  std::vector<float>& values_;
};

// The merge of the sample, in f32, with `alternative` in place (or as asked).
std::vector<float> compute(const Plan& asked, const Sample& sample, const Alternative* alternative, const RunOptions& run) {
  Plan plan = asked;
  for (Job& job : plan.jobs) {
    if (job.kind != Job::Kind::kMerge) continue;
    job.info.dtype = DType::kF32;
    if (alternative == nullptr) continue;
    if (alternative->input < 0) job.global = with_value(job.global, *alternative);
    for (std::size_t i = 0; i < job.models.size(); ++i) {
      if (applies_to(*alternative, job, i)) job.models[i] = with_value(job.models[i], *alternative);
    }
  }
  std::vector<float> values(static_cast<std::size_t>(sample.elems));
  Collect sink(plan, sample, values);
  RunOptions options = run;
  options.measuring = Measuring::kCounts;
  options.selection = [&](std::size_t job, std::int64_t chunk) { return sample.by_chunk.contains({job, chunk}); };
  run_jobs(plan, options, sink, {});
  return values;
}

struct Data {
  std::vector<float> out, asked, operand;  // operand: the largest magnitude that takes part in an element
  double size_square = 0;                  // of asked - base, or of asked
};

Data read_data(const Plan& plan, const Checkpoint& output, const std::vector<Pair>& pairs, const Sample& sample, const RunOptions& run) {
  Data data;
  const auto n = static_cast<std::size_t>(sample.elems);
  data.out.resize(n);
  data.operand.resize(n);
  data.asked = compute(plan, sample, nullptr, run);
  std::vector<float> x;
  for (const Pick& p : sample.picks) {
    const Job& job = plan.jobs[pairs[p.pair].job];
    const auto at = static_cast<std::size_t>(p.at), count = static_cast<std::size_t>(p.count);
    read_elements(output, *pairs[p.pair].out, p.begin, p.count, data.out.data() + at, {});
    for (std::size_t e = at; e < at + count; ++e) data.operand[e] = std::max(std::abs(data.out[e]), std::abs(data.asked[e]));
    x.resize(count);
    const auto see = [&](const SourceTensor& s) {
      read_elements(plan, s, p.begin, p.count, x.data(), {});
      for (std::size_t e = 0; e < count; ++e) data.operand[at + e] = std::max(data.operand[at + e], std::abs(x[e]));
    };
    for (const SourceTensor& s : job.sources) see(s);
    if (job.base) see(*job.base);
    for (std::size_t e = 0; e < count; ++e) {
      const double d = static_cast<double>(data.asked[at + e]) - (job.base ? static_cast<double>(x[e]) : 0.0);
      data.size_square += d * d;
    }
  }
  return data;
}

// How far the residual lies along a direction.
struct Along {
  double a = 0;
  double error = 0;      // standard error of a
  double explained = 0;  // share of the residual's square
  bool empty = true;     // the direction is nothing
};

Along project(const std::vector<double>& residual, const std::vector<double>& direction) {
  double rd = 0, dd = 0, rr = 0;
  for (std::size_t e = 0; e < residual.size(); ++e) {
    rd += residual[e] * direction[e];
    dd += direction[e] * direction[e];
    rr += residual[e] * residual[e];
  }
  Along along;
  if (dd <= 0) return along;
  along.empty = false;
  along.a = rd / dd;
  double spread = 0;
  for (std::size_t e = 0; e < residual.size(); ++e) {
    const double left = (residual[e] - along.a * direction[e]) * direction[e];
    spread += left * left;
  }
  along.error = std::sqrt(spread) / dd;
  along.explained = rr > 0 ? rd * rd / dd / rr : 0;
  return along;
}

bool deviates(const Along& along) {
  return !along.empty && std::abs(along.a) > kTolerance && std::abs(along.a) > kForeignSigmas * along.error;
}

ParameterVerdict verdict_of(const Plan& plan, const Alternative& alternative, const Along& along, bool ignored) {
  ParameterVerdict v;
  v.parameter = alternative.parameter;
  if (alternative.input >= 0) v.model = plan.inputs[static_cast<std::size_t>(alternative.input)].ref.text();
  const std::string& asked = alternative.asked_text;
  if (along.empty) {
    v.text = fmt::format("{} asked: here it changes nothing, {} gives the same values", asked, alternative.value_text);
    return v;
  }
  const auto a = parse_number(asked), neutral = parse_number(alternative.value_text);
  v.standard_error = along.error;
  if (a) v.asked = *a;
  if (a && neutral) v.found = *a + along.a * (*neutral - *a);
  const std::string where = fmt::format("{:.3f} +- {:.3f} of the way to {}", along.a, along.error, alternative.value_text);
  if (ignored) {
    v.shows = Shows::kNo;
    v.text = std::abs(along.a - 1) < kTolerance
                 ? fmt::format("{} asked: the output is what {} gives ({})", asked, alternative.value_text, where)
                 : fmt::format("{} asked: the output lies {}", asked, where);
  } else if (kForeignSigmas * along.error > 0.5) {
    v.text = fmt::format("{} asked: what it changes is less than the rounding of the output ({})", asked, where);
  } else if (deviates(along)) {
    v.text = fmt::format("{} asked: the output lies {}, which another parameter may cause", asked, where);
  } else {
    v.shows = Shows::kYes;
    v.text = fmt::format("{} asked, and it shows ({})", asked, where);
  }
  return v;
}

// Counts what rounding cannot explain, over all and by tensor.
void judge_fit(const Plan& plan, const std::vector<Pair>& pairs, const Sample& sample, const Data& data,
               const std::vector<double>& residual, ForeignReport& report) {
  std::map<std::size_t, std::pair<std::int64_t, std::int64_t>> by_pair;  // beyond, all
  double unit_square = 0, left_square = 0, largest = 0;
  std::int64_t beyond = 0;
  for (const Pick& p : sample.picks) {
    const Job& job = plan.jobs[pairs[p.pair].job];
    DType dtype = coarser(pairs[p.pair].out->info.dtype, plan.recipe.dtype.value_or(DType::kF32));
    for (const SourceTensor& s : job.sources) dtype = coarser(dtype, s.tensor->info.dtype);
    const double most = dtype == DType::kF32 ? kFloatUnits : kHalfUnits;
    for (std::int64_t e = p.at; e < p.at + p.count; ++e) {
      const auto i = static_cast<std::size_t>(e);
      const double units = std::abs(residual[i]) / spacing(dtype, static_cast<double>(data.operand[i]));
      unit_square += units * units;
      left_square += residual[i] * residual[i];
      largest = std::max(largest, units);
      const bool far = !(units <= most);
      beyond += far ? 1 : 0;
      by_pair[p.pair].first += far ? 1 : 0;
      ++by_pair[p.pair].second;
    }
  }
  const auto n = static_cast<double>(sample.elems);
  report.fit = fmt::format(
      "{:.2f} units in the last place off (root mean square; at most {:.1f}), {:.4f} % of the merge's size; {:.3f} % of the "
      "elements are further off than rounding explains",
      std::sqrt(unit_square / n), largest, data.size_square > 0 ? 100 * std::sqrt(left_square / data.size_square) : 0.0,
      100 * static_cast<double>(beyond) / n);
  if (static_cast<double>(beyond) <= kMostUnexplained * n) return;
  std::vector<std::string> names;
  for (const auto& [pair, count] : by_pair) {
    if (count.first * 20 > count.second) names.push_back(printable(plan.jobs[pairs[pair].job].info.name));
  }
  report.wrong.push_back(fmt::format("{:.1f} % of the elements are further from what the recipe gives than rounding explains; tensors: {}",
                                     100 * static_cast<double>(beyond) / n, join_names(names)));
}

}  // namespace

void judge_by_recomputing(const Plan& plan, const Checkpoint& output, const std::vector<Pair>& pairs, const RunOptions& run,
                          ForeignReport& report) {
  Sample sample = draw_sample(plan, pairs);
  // One tensor of a few huge chunks: the first one stands for it.
  if (sample.picks.empty()) sample.add(0, pairs.front().job, plan.jobs[pairs.front().job].tiling, 0);
  report.elems = sample.elems;
  const Data data = read_data(plan, output, pairs, sample, run);
  std::vector<double> residual(data.out.size());
  for (std::size_t e = 0; e < residual.size(); ++e) {
    residual[e] = static_cast<double>(data.out[e]) - static_cast<double>(data.asked[e]);
    if (!std::isfinite(residual[e])) residual[e] = 0;
  }
  const std::vector<Alternative> alternatives = alternatives_of(plan);
  std::vector<std::vector<double>> directions;
  for (const Alternative& alternative : alternatives) {
    const std::vector<float> other = compute(plan, sample, &alternative, run);
    std::vector<double>& d = directions.emplace_back(other.size());
    for (std::size_t e = 0; e < d.size(); ++e) {
      d[e] = static_cast<double>(other[e]) - static_cast<double>(data.asked[e]);
      if (!std::isfinite(d[e])) d[e] = 0;
    }
  }
  std::vector<std::optional<Along>> ignored(alternatives.size());
  for (std::size_t round = 0; round < alternatives.size(); ++round) {
    std::optional<std::size_t> best;
    Along along;
    for (std::size_t k = 0; k < alternatives.size(); ++k) {
      if (ignored[k]) continue;
      const Along mine = project(residual, directions[k]);
      if (deviates(mine) && mine.explained > 0.5 && (!best || mine.explained > along.explained)) {
        best = k;
        along = mine;
      }
    }
    if (!best) break;
    ignored[*best] = along;
    for (std::size_t e = 0; e < residual.size(); ++e) residual[e] -= along.a * directions[*best][e];
  }
  for (std::size_t k = 0; k < alternatives.size(); ++k) {
    const Along along = ignored[k] ? *ignored[k] : project(residual, directions[k]);
    report.verdicts.push_back(verdict_of(plan, alternatives[k], along, ignored[k].has_value()));
  }
  judge_fit(plan, pairs, sample, data, residual, report);
}

}  // namespace crucible::foreign
