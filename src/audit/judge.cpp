#include "audit/judge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"

namespace crucible {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// n KL(q || p) of two rates: Chernoff's exponent. It bounds sums of independent draws of unequal probabilities too (Hoeffding 1956).
double exponent(double measured, double planned, double draws) noexcept {
  const double q = measured / draws, p = planned / draws;
  const auto term = [](double a, double b) { return a <= 0 ? 0.0 : a * std::log(a / b); };
  return draws * (term(q, p) + term(1 - q, 1 - p));
}

void add_to(Promise& sum, const Promise& p) {
  sum.measured += p.measured;
  sum.planned += p.planned;
  sum.draws += p.draws;
  sum.variance += p.variance;
  sum.squared_ranges += p.squared_ranges;
  sum.scale += p.scale;
}

using Key = std::tuple<std::string, int, std::string>;  // parameter, input (-1: none), words

struct Group {
  Promise total;
  Promise worst;
  double worst_chance = 1;  // a logarithm; above 0: none yet
  std::string worst_tensor;
  std::int64_t count = 0;
  std::size_t last_job = 0;
  double tolerance_of_job = 0;
  std::vector<double> chances;
  bool additive = true;
};

class Judge {
 public:
  Judge(const Plan& plan, const RunResult& result) : plan_(plan), result_(result) {}

  Verdict run() {
    verdict_.jobs.resize(plan_.jobs.size());
    for (std::size_t j = 0; j < plan_.jobs.size(); ++j) {
      if (plan_.jobs[j].kind == Job::Kind::kMerge && plan_.method->promise != nullptr) collect(j);
    }
    for (const auto& [key, group] : groups_) verdict_.checks += group.count + (group.additive && group.count > 1 ? 1 : 0);
    verdict_.on = true;
    const double limit = std::log(kFalseAlarm / static_cast<double>(std::max<std::int64_t>(verdict_.checks, 1)));
    for (const auto& [key, group] : groups_) verdict_.rows.push_back(row(key, group, limit));
    set_aside_what_rests_on_wrong();
    std::stable_sort(verdict_.rows.begin(), verdict_.rows.end(), [](const Check& a, const Check& b) { return a.ok < b.ok; });
    for (const Check& c : verdict_.rows) verdict_.ok = verdict_.ok && c.ok;
    name_the_silent();
    return std::move(verdict_);
  }

 private:
  void collect(std::size_t j) {
    const Job& job = plan_.jobs[j];
    const JobResult& result = result_.jobs[j];
    // What came from a damaged input proves nothing, and a run of chosen tiles saw only a part.
    if (result.input_nonfinite > 0 || result.measure.elems == 0 || result.measure.elems != job.tiling.elems) return;
    const BoundParams params = bind_params(job);
    Promises promises;
    plan_.method->promise({job.info.name, &job.info.shape, job.base.has_value(), &params.global, params.models, {}}, result.measure,
                          result.notes, promises);
    for (const Promise& p : promises) {
      CHECK(p.model < static_cast<int>(job.sources.size()), "{} promises for input {}", plan_.method->name, p.model);
      const int input = p.model < 0 ? -1 : job.sources[static_cast<std::size_t>(p.model)].input;
      if (p.what == kShareKept) plan_kept(j, p);
      // The draws of another tensor, once more: they prove nothing new, and bounds count on draws that are independent.
      if (!job.as.empty() && (p.draws > 0 || p.squared_ranges > 0)) continue;
      Group& group = groups_[{std::string(p.parameter), input, std::string(p.what)}];
      if (group.count++ == 0) {
        group.total = p;
      } else {
        add_to(group.total, p);
      }
      // A tolerance is that of the whole model, whatever its number of tensors; a model that a job has twice has it twice.
      group.tolerance_of_job = (group.count > 1 && group.last_job == j ? group.tolerance_of_job : 0) + p.tolerance;
      group.last_job = j;
      group.total.tolerance = std::max(group.total.tolerance, group.tolerance_of_job);
      // Values with a tolerance do not add up to anything.
      group.additive = group.additive && (p.draws > 0 || p.squared_ranges > 0 || p.in_total_only);
      const double chance = p.in_total_only ? 0 : log_chance(p);
      group.chances.push_back(chance);
      if (group.worst_chance > 0 || chance < group.worst_chance) {
        group.worst = p;
        group.worst_chance = chance;
        group.worst_tensor = job.info.name;
      }
    }
  }

  void plan_kept(std::size_t j, const Promise& p) {
    KeptPlan& kept = verdict_.jobs[j];
    const std::size_t n = plan_.jobs[j].sources.size();
    kept.kept.resize(n);
    kept.variance.resize(n);
    kept.kept[static_cast<std::size_t>(p.model)] = p.planned;
    kept.variance[static_cast<std::size_t>(p.model)] = p.variance;
  }

  Check row(const Key& key, const Group& group, double limit) const {
    const double total_chance = group.additive ? log_chance(group.total) : 0;
    // The sum is shown unless one tensor alone is the worse.
    const bool show_total = group.additive && (total_chance <= group.worst_chance || group.worst_chance >= limit);
    const Promise& p = show_total ? group.total : group.worst;
    Check c;
    c.parameter = std::get<0>(key);
    if (std::get<1>(key) >= 0) c.input = std::get<1>(key);
    c.what = std::get<2>(key);
    if (!show_total) c.tensor = group.worst_tensor;
    c.measured = p.measured / p.scale;
    c.planned = p.planned / p.scale;
    if (p.variance > 0) c.sigmas = (p.measured - p.planned) / std::sqrt(p.variance);
    if (p.draws == 0 && p.squared_ranges == 0) c.tolerance = p.tolerance / p.scale;
    c.chance = std::exp(std::min(total_chance, group.worst_chance));
    c.count = group.count;
    c.wrong = std::count_if(group.chances.begin(), group.chances.end(), [limit](double chance) { return chance < limit; });
    c.tenth = group.worst.tenth;
    c.ok = c.wrong == 0 && !(total_chance < limit);
    const Promise& t = group.total;
    c.total_measured = t.measured;
    c.total_planned = t.planned;
    c.total_variance = t.variance;
    return c;
  }

  void set_aside_what_rests_on_wrong() {
    for (Check& c : verdict_.rows) {
      const std::string_view given = groups_.at({c.parameter, c.input.value_or(-1), c.what}).total.given;
      if (given.empty()) continue;
      for (const Check& other : verdict_.rows) {
        if (other.ok || other.parameter != given || other.input != c.input) continue;
        c.judged = false;
        c.ok = true;
        break;
      }
    }
  }

  void name_the_silent() {
    std::set<std::string> spoken;
    for (const Check& c : verdict_.rows) spoken.insert(c.parameter);
    for (const FieldTable* table : {plan_.method->global, plan_.method->model}) {
      for (const Field& f : table->fields()) {
        if (!spoken.contains(f.name)) verdict_.silent.push_back(f.name);
      }
    }
  }

  const Plan& plan_;
  const RunResult& result_;
  Verdict verdict_;
  std::map<Key, Group> groups_;
};

}  // namespace

double log_chance(const Promise& p) noexcept {
  const double off = std::abs(p.measured - p.planned);
  if (!(off == off)) return kNever;
  constexpr double kBothSides = 0.693147180559945;
  if (p.draws > 0) {
    // Sums of probabilities, and probabilities of 32 bits.
    if (off <= 0.5 && off <= 1e-9 * p.draws + 1e-6) return 0;
    const double rounding = 1e-9 * p.draws;
    if (p.planned <= rounding && off > rounding + 0.5) return kNever;
    if (p.draws - p.planned <= rounding && off > rounding + 0.5) return kNever;
    if (p.measured < 0 || p.measured > p.draws) return kNever;
    if (p.planned <= 0 || p.planned >= p.draws) return 0;
    return std::min(0.0, kBothSides - exponent(p.measured, p.planned, p.draws));
  }
  if (p.squared_ranges > 0) return std::min(0.0, kBothSides - 2 * off * off / p.squared_ranges);
  return off <= p.tolerance ? 0 : kNever;
}

Verdict judge(const Plan& plan, const RunResult& result) { return Judge(plan, result).run(); }

std::vector<std::string> contradictions(const Plan& plan, const Verdict& verdict) {
  std::vector<std::string> found;
  for (const Check& c : verdict.rows) {
    if (c.ok) continue;
    std::string text = fmt::format("`{}`", c.parameter);
    if (c.input) text += fmt::format(" of {}", plan.inputs[static_cast<std::size_t>(*c.input)].ref.text());
    text += fmt::format(": {} is {}, the plan says {}", c.what, render_number(c.measured), render_number(c.planned));
    if (c.sigmas) text += fmt::format(" ({:.1f} standard deviations off)", *c.sigmas);
    if (!c.tensor.empty()) text += fmt::format("; worst in {}", printable(c.tensor));
    if (c.wrong > 0) text += fmt::format("; {} of {} tensors are off", c.wrong, c.count);
    found.push_back(std::move(text));
  }
  return found;
}

}  // namespace crucible
