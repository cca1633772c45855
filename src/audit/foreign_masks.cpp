// Methods that draw their masks at random (dare_*, della*).
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <numeric>
#include <thread>

#include <fmt/format.h>

#include "audit/foreign_parts.h"
#include "audit/mask_model.h"
#include "audit/ramp_fit.h"
#include "base/hash.h"
#include "base/text_util.h"

namespace crucible::foreign {
namespace {

using task_arithmetic::Rescale;

constexpr std::int64_t kMaskElems = std::int64_t{1} << 20;  // halved for each model: subsets double
constexpr std::int64_t kLongestRanked = std::int64_t{1} << 20;
// Ranks that half precision rounds make a ramp a staircase; rates then differ by this much without anything being ignored.
constexpr double kDensityTolerance = 0.01, kEpsilonTolerance = 0.02;
// Logarithm of the likelihood by which one reading must beat another.
constexpr double kDecisive = 25;
constexpr double kExplainedEnough = 0.95;

double number_of(const Params& params, const char* name, double otherwise) {
  const auto i = params.table().find(name);
  if (!i) return otherwise;
  const Value& v = params.value(*i);
  if (const auto* real = std::get_if<double>(&v)) return *real;
  if (const auto* flag = std::get_if<bool>(&v)) return *flag ? 1 : 0;
  if (const auto* choice = std::get_if<int>(&v)) return *choice;
  return static_cast<double>(std::get<std::int64_t>(v));
}
bool is_given(const Params& params, const char* name) {
  const auto i = params.table().find(name);
  return i && !params.is_default(*i);
}
// Half the width of the ramp; 0 for methods without one.
double epsilon_of(const Params& model) {
  return is_given(model, "window") ? number_of(model, "window", 0) / 2 : number_of(model, "epsilon", 0);
}

// Models whose masks are drawn with the same numbers.
struct Group {
  int input = 0;
  double density = 1, epsilon = 0;
  friend bool operator<(const Group& a, const Group& b) {
    return std::tie(a.input, a.density, a.epsilon) < std::tie(b.input, b.density, b.epsilon);
  }
};

Combine combine_of(const Plan& plan, const Job& job, const Alternative* alternative) {
  const auto global = alternative != nullptr && alternative->input < 0 ? with_value(job.global, *alternative) : job.global;
  Combine how;
  how.lambda = number_of(*global, "lambda", 1);
  how.normalize = number_of(*global, "normalize", 0) != 0;
  how.rescale =
      static_cast<Rescale>(static_cast<int>(number_of(*global, "rescale", static_cast<double>(static_cast<int>(Rescale::kNone)))));
  how.elects = plan.method->name == "dare_ties" || plan.method->name == "della";
  for (std::size_t i = 0; i < job.models.size(); ++i) {
    const auto model = alternative != nullptr && applies_to(*alternative, job, i) ? with_value(job.models[i], *alternative) : job.models[i];
    how.weight.push_back(number_of(*model, "weight", 1));
    how.density.push_back(number_of(*model, "density", 1));
    how.epsilon.push_back(epsilon_of(*model));
  }
  return how;
}

// Ranks of the magnitudes of a row; equal ones by lower index.
void rank_row(const float* delta, std::size_t n, float* rho, std::uint8_t* tenth, std::vector<std::uint32_t>& order) {
  order.resize(n);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [delta](std::uint32_t a, std::uint32_t b) { return std::abs(delta[a]) < std::abs(delta[b]); });
  for (std::size_t r = 0; r < n; ++r) {
    rho[order[r]] = n > 1 ? static_cast<float>(r) / static_cast<float>(n - 1) : 0.5f;
    tenth[order[r]] = static_cast<std::uint8_t>(r * kTenths / n);
  }
}

// Reads rows of one tensor of all models. `through`: the type that the tool rounds what it reads to.
Block read_block(const Plan& plan, const Checkpoint& output, const Pair& pair, double share, std::optional<DType> through) {
  const Job& job = plan.jobs[pair.job];
  const bool one_row = number_of(*job.global, "rank_scope", 0) != 0;
  const std::int64_t row = one_row ? job.tiling.elems : row_length(job.info.shape);
  const std::int64_t rows = row > 0 ? job.tiling.elems / row : 0;
  const auto wanted = static_cast<std::int64_t>(
      std::ceil(std::max(share * static_cast<double>(rows), 4096.0 / static_cast<double>(std::max<std::int64_t>(row, 1)))));
  const std::int64_t count = std::clamp<std::int64_t>(wanted, std::min<std::int64_t>(rows, 1), rows);
  Block block;
  block.job = pair.job;
  block.whole = count == rows;
  block.stored = pair.out->info.dtype;
  block.working = coarser(block.stored, plan.recipe.dtype.value_or(job.base->tensor->info.dtype));
  block.elems = static_cast<std::size_t>(count * row);
  const auto read_rows = [&](std::vector<float>& into, const auto& read) {
    into.resize(block.elems);
    if (block.whole) return read(0, count * row, into.data());
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t at = k * rows / count + static_cast<std::int64_t>(hash64(job.info.name, static_cast<std::uint64_t>(k)) %
                                                                           static_cast<std::uint64_t>(rows / count));
      read(at * row, row, into.data() + k * row);
    }
  };
  const auto read_source = [&](const SourceTensor& s, std::vector<float>& into) {
    read_rows(into, [&](std::int64_t begin, std::int64_t n, float* values) { read_elements(plan, s, begin, n, values, through); });
  };
  read_rows(block.out, [&](std::int64_t begin, std::int64_t n, float* values) { read_elements(output, *pair.out, begin, n, values, {}); });
  read_source(*job.base, block.base);
  std::vector<std::uint32_t> order;
  for (const SourceTensor& s : job.sources) {
    std::vector<float>& delta = block.delta.emplace_back();
    read_source(s, delta);
    for (std::size_t e = 0; e < block.elems; ++e) delta[e] -= block.base[e];
    std::vector<float>& rho = block.rho.emplace_back(block.elems);
    std::vector<std::uint8_t>& tenth = block.tenth.emplace_back(block.elems);
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t at = k * row;
      rank_row(delta.data() + at, static_cast<std::size_t>(row), rho.data() + at, tenth.data() + at, order);
    }
  }
  return block;
}

struct Case {
  std::vector<Block> blocks;
  std::vector<Combine> combine;
  std::map<Group, int> groups;
  std::vector<double> starts;  // by group
  MaskFit fit;
};

Case read_case(const Plan& plan, const Checkpoint& output, const std::vector<Pair>& pairs, std::optional<DType> through) {
  std::int64_t total = 0;
  std::size_t models = 1;
  for (const Pair& p : pairs) {
    total += plan.jobs[p.job].tiling.elems;
    models = std::max(models, plan.jobs[p.job].sources.size());
  }
  const double share = std::min(1.0, static_cast<double>(kMaskElems >> models) / static_cast<double>(std::max<std::int64_t>(total, 1)));
  Case made;
  for (const Pair& p : pairs) {
    Block block = read_block(plan, output, p, share, through);
    if (block.elems == 0) continue;
    const Job& job = plan.jobs[p.job];
    const Combine how = combine_of(plan, job, nullptr);
    for (std::size_t i = 0; i < job.sources.size(); ++i) {
      const auto [it, fresh] =
          made.groups.emplace(Group{job.sources[i].input, how.density[i], how.epsilon[i]}, static_cast<int>(made.groups.size()));
      if (fresh) made.starts.push_back(how.density[i]);
      block.group.push_back(it->second);
    }
    made.blocks.push_back(std::move(block));
    made.combine.push_back(how);
  }
  made.fit = fit_masks(made.blocks, made.combine, made.starts);
  return made;
}

MaskFit fit_with(const Plan& plan, const Case& asked, const Alternative& alternative) {
  std::vector<Combine> combine;
  for (const Block& block : asked.blocks) combine.push_back(combine_of(plan, plan.jobs[block.job], &alternative));
  return fit_masks(asked.blocks, combine, asked.starts);
}

void fit_readings(const Plan& plan, const Case& asked, const RunOptions& run, std::vector<std::pair<Alternative, MaskFit>>& readings) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < readings.size(); i = next++) readings[i].second = fit_with(plan, asked, readings[i].first);
  };
  std::vector<std::jthread> others;
  const auto threads = static_cast<std::size_t>(run.threads > 0 ? run.threads : default_threads());
  for (std::size_t t = 1; t < std::min(threads, readings.size()); ++t) others.emplace_back(work);
  work();
}

// What one group shows of a number.
struct Estimate {
  double asked = 0, found = 0, error = HUGE_VAL, neutral = 0;
  std::int64_t elems = 0;
};

// The verdict of several groups of one model: the worst one speaks.
ParameterVerdict verdict_of(const std::string& parameter, const std::string& model, const std::vector<Estimate>& estimates,
                            double tolerance) {
  ParameterVerdict v;
  v.parameter = parameter;
  v.model = model;
  const Estimate* worst = nullptr;
  int told = 0;
  const auto off = [](const Estimate& e) { return std::abs(e.found - e.asked); };
  for (const Estimate& e : estimates) {
    // An error so large that asked and neutral cannot be told apart answers nothing.
    const bool tells = kForeignSigmas * e.error < std::max(tolerance, std::abs(e.asked - e.neutral) / 2);
    if (!tells) continue;
    ++told;
    if (worst == nullptr ||
        off(e) / std::max(e.error, tolerance / kForeignSigmas) > off(*worst) / std::max(worst->error, tolerance / kForeignSigmas))
      worst = &e;
  }
  if (worst == nullptr) {
    const Estimate& e =
        *std::min_element(estimates.begin(), estimates.end(), [](const Estimate& a, const Estimate& b) { return a.error < b.error; });
    v.asked = e.asked;
    v.text = std::isfinite(e.error)
                 ? fmt::format("{} asked, {:.3f} +- {:.3f} found in {} elements: too few are told apart by the output's precision",
                               render_number(e.asked), e.found, e.error, e.elems)
                 : fmt::format("{} asked: the output's precision, or its size, tells nothing", render_number(e.asked));
    return v;
  }
  v.asked = worst->asked;
  v.found = worst->found;
  v.standard_error = worst->error;
  v.shows = off(*worst) > kForeignSigmas * worst->error && off(*worst) > tolerance ? Shows::kNo : Shows::kYes;
  v.text = fmt::format("{} asked, {:.3f} +- {:.3f} found{}", render_number(worst->asked), worst->found, worst->error,
                       told > 1 ? fmt::format(" (the furthest of {} values over the layers)", told) : "");
  return v;
}

void judge_rates(const Plan& plan, const Case& asked, const MaskFit& fit, ForeignReport& report) {
  std::map<int, std::vector<Estimate>> densities, epsilons;
  for (const auto& [group, g] : asked.groups) {
    const GroupRates& rates = fit.groups[static_cast<std::size_t>(g)];
    std::vector<KeepRate> points;
    std::int64_t elems = 0;
    for (std::size_t t = 0; t < kTenths; ++t) {
      elems += rates.elems[t];
      if (std::isfinite(rates.error[t])) points.push_back({rates.rho[t], rates.rate[t], rates.error[t]});
    }
    const RampFit ramp = fit_ramp(points, group.density);
    densities[group.input].push_back({group.density, ramp.density, ramp.found ? ramp.density_error : HUGE_VAL, 1.0, elems});
    // Where all is kept or none, there is no ramp to see.
    if (group.density > 0 && group.density < 1)
      epsilons[group.input].push_back({group.epsilon, ramp.epsilon, ramp.found ? ramp.epsilon_error : HUGE_VAL, 0.0, elems});
  }
  const bool has_ramp = plan.method->model->find("epsilon").has_value();
  for (const auto& [input, estimates] : densities) {
    const std::string& model = plan.inputs[static_cast<std::size_t>(input)].ref.text();
    report.verdicts.push_back(verdict_of("density", model, estimates, kDensityTolerance));
    if (!epsilons.contains(input)) continue;
    ParameterVerdict v = verdict_of("epsilon", model, epsilons[input], kEpsilonTolerance);
    // Without such a parameter a ramp in the data is a sign of another method, and a flat one is no news.
    if (has_ramp || v.shows == Shows::kNo) report.verdicts.push_back(std::move(v));
  }
}

ParameterVerdict verdict_of(const Plan& plan, const Alternative& alternative, double lead, bool other_reading_leads) {
  ParameterVerdict v;
  v.parameter = alternative.parameter;
  if (alternative.input >= 0) v.model = plan.inputs[static_cast<std::size_t>(alternative.input)].ref.text();
  v.asked = parse_number(alternative.asked_text);
  if (lead > kDecisive) {
    v.shows = Shows::kNo;
    v.found = parse_number(alternative.value_text);
    v.text = fmt::format("{} asked: the output is what {} gives", alternative.asked_text, alternative.value_text);
  } else if (lead < -kDecisive) {
    v.shows = Shows::kYes;
    v.text = fmt::format("{} asked, and it shows: {} fits far worse", alternative.asked_text, alternative.value_text);
  } else {
    v.text = fmt::format("{} asked: {} fits as well{}", alternative.asked_text, alternative.value_text,
                         other_reading_leads ? "" : "; here the two give the same, or differ by less than the rounding");
  }
  return v;
}

// Why these tensors cannot be judged; empty where they can.
std::string obstacle(const Plan& plan, const Job& job) {
  if (!job.base) return "they have no base";
  if (job.sources.empty()) return "no model takes part in them";
  if (job.sources.size() > kMostModels) return fmt::format("more than {} models take part", kMostModels);
  if (job.info.shape.size() > 2) return "other tools rank tensors of three axes along another one";
  const bool whole = number_of(*job.global, "rank_scope", 0) != 0;
  if ((whole ? job.tiling.elems : row_length(job.info.shape)) > kLongestRanked) return "their rows are too long to be ranked here";
  for (const SourceTensor& s : job.sources) {
    if (std::count_if(job.sources.begin(), job.sources.end(), [&](const SourceTensor& o) { return o.input == s.input; }) > 1)
      return "a model takes part twice";
  }
  static_cast<void>(plan);
  return {};
}

}  // namespace

void judge_masks(const Plan& plan, const Checkpoint& output, const std::vector<Pair>& pairs, const RunOptions& run, ForeignReport& report) {
  std::vector<Pair> fit_for_it;
  std::map<std::string, std::int64_t> left_out;
  for (const Pair& p : pairs) {
    const std::string why = obstacle(plan, plan.jobs[p.job]);
    why.empty() ? fit_for_it.push_back(p) : static_cast<void>(++left_out[why]);
  }
  for (const auto& [why, count] : left_out)
    report.remarks.push_back(fmt::format("{} not looked at: {}", count == 1 ? "1 tensor is" : fmt::format("{} tensors are", count), why));
  if (fit_for_it.empty()) {
    report.fit = "no tensor could be judged";
    return;
  }
  Case asked = read_case(plan, output, fit_for_it, {});
  // Some tools round what they read to the recipe's dtype first.
  if (plan.recipe.dtype) {
    Case rounded = read_case(plan, output, fit_for_it, plan.recipe.dtype);
    if (rounded.fit.explained > asked.fit.explained) asked = std::move(rounded);
  }
  for (const Block& b : asked.blocks) report.elems += static_cast<std::int64_t>(b.elems);

  MaskFit best = asked.fit;
  std::vector<std::pair<Alternative, MaskFit>> readings;
  for (const Alternative& alternative : alternatives_of(plan)) {
    const auto is = [&](const char* name) { return alternative.parameter == name; };
    if (is("lambda") || is("weight") || is("normalize") || is("rescale")) readings.emplace_back(alternative, MaskFit{});
  }
  fit_readings(plan, asked, run, readings);
  for (const auto& [alternative, fit] : readings) {
    if (fit.likelihood > best.likelihood + kDecisive) best = fit;
  }
  judge_rates(plan, asked, best, report);
  const bool other_leads = best.likelihood > asked.fit.likelihood;
  for (const auto& [alternative, fit] : readings) {
    // Only the reading that fits best may speak against the recipe: a wrong one beside it may also do better than another wrong one.
    const bool leads = other_leads && fit.likelihood == best.likelihood;
    const double lead = fit.likelihood - (leads ? asked.fit.likelihood : best.likelihood);
    report.verdicts.push_back(verdict_of(plan, alternative, leads ? lead : std::min(lead, 0.0), other_leads));
  }
  report.fit = fmt::format("masks that the recipe allows explain {:.3f} % of the {} elements where masks can be told", 100 * best.explained,
                           best.informative);
  if (best.informative > 0 && best.explained < kExplainedEnough) {
    report.wrong.push_back(
        fmt::format("{:.1f} % of the elements are what no choice of masks gives: the output is not of this recipe, or a parameter "
                    "has a value that is neither the one asked nor its neutral one",
                    100 * (1 - best.explained)));
    for (ParameterVerdict& v : report.verdicts) {
      if (v.shows == Shows::kYes) v.shows = Shows::kCannotTell;
    }
  }
}

}  // namespace crucible::foreign
