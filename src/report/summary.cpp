#include "report/summary.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

namespace crucible {
namespace {

double ratio(double a, double b) noexcept { return b > 0 ? a / b : 0; }

double z_score(double measured, double expected, double variance) noexcept {
  const double off = measured - expected;
  // Counts that are planned exactly may differ from their mean by rounding of the plan's f64 sums only.
  if (variance <= 0) return std::abs(off) < 0.5 + 1e-9 * expected ? 0 : std::copysign(HUGE_VAL, off);
  return off / std::sqrt(variance);
}

void add_remark(std::vector<Remark>& remarks, const std::string& text, const std::string& tensor) {
  if (text.empty()) return;
  const auto known = std::find_if(remarks.begin(), remarks.end(), [&text](const Remark& r) { return r.text == text; });
  if (known != remarks.end()) {
    ++known->tensors;
  } else {
    remarks.push_back({text, 1, tensor});
  }
}

}  // namespace

double ModelSummary::kept_share() const noexcept { return ratio(static_cast<double>(measure.kept), static_cast<double>(measure.elems)); }
double ModelSummary::planned_share() const noexcept { return ratio(measure.expected_kept, static_cast<double>(measure.elems)); }
double ModelSummary::kept_z() const noexcept {
  return z_score(static_cast<double>(measure.kept), measure.expected_kept, measure.expected_variance);
}
double ModelSummary::decile_rate(int d) const noexcept {
  const auto i = static_cast<std::size_t>(d);
  return ratio(static_cast<double>(measure.decile_kept[i]), static_cast<double>(measure.decile_elems[i]));
}
double ModelSummary::decile_planned(int d) const noexcept {
  const auto i = static_cast<std::size_t>(d);
  return ratio(measure.decile_expected[i], static_cast<double>(measure.decile_elems[i]));
}
double ModelSummary::decile_z(int d) const noexcept {
  const auto i = static_cast<std::size_t>(d);
  const double n = static_cast<double>(measure.decile_elems[i]);
  const double p = decile_planned(d);
  // The variance of one common probability bounds that of the ramp inside the decile.
  return z_score(static_cast<double>(measure.decile_kept[i]), measure.decile_expected[i], n * p * (1 - p));
}

RunSummary summarize(const Plan& plan, const RunResult& result) {
  RunSummary summary;
  std::map<int, std::size_t> at;
  for (std::size_t j = 0; j < plan.jobs.size(); ++j) {
    const Job& job = plan.jobs[j];
    if (job.kind == Job::Kind::kCopy) {
      ++summary.copied_tensors;
      continue;
    }
    ++summary.merged_tensors;
    add_remark(summary.remarks, result.jobs[j].remark, job.info.name);
    const Measure& m = result.jobs[j].measure;
    for (std::size_t i = 0; i < job.sources.size(); ++i) {
      const int input = job.sources[i].input;
      const auto [it, fresh] = at.emplace(input, summary.models.size());
      if (fresh) summary.models.push_back({plan.inputs[static_cast<std::size_t>(input)].ref.text(), {}, false, false});
      summary.models[it->second].measure.add(m.models[i]);
    }
    summary.elems += m.elems;
    summary.sign_conflicts += m.sign_conflicts;
    summary.out_delta_square += m.out_delta_square;
    summary.nonfinite += result.jobs[j].input_nonfinite;
    if (result.jobs[j].input_nonfinite > 0) summary.nonfinite_tensors.push_back(job.info.name);
  }
  for (ModelSummary& model : summary.models) {
    model.sparsified = plan.method->model->find("density").has_value() && model.measure.elems > 0;
    for (const std::int64_t n : model.measure.decile_elems) model.ranked = model.ranked || n > 0;
  }
  return summary;
}

std::vector<std::string> find_contradictions(const RunSummary& summary) {
  std::vector<std::string> found;
  for (const ModelSummary& model : summary.models) {
    if (!model.sparsified) continue;
    if (std::abs(model.kept_z()) > kContradictionSigmas) {
      found.push_back(fmt::format("`density` of {}: {:.4f} of the entries were kept, the plan says {:.4f} ({:.1f} standard deviations off)",
                                  model.name, model.kept_share(), model.planned_share(), model.kept_z()));
    }
    for (int d = 0; model.ranked && d < kDeciles; ++d) {
      if (std::abs(model.decile_z(d)) <= kContradictionSigmas) continue;
      found.push_back(
          fmt::format("`epsilon` of {}: magnitude decile {} was kept at {:.4f}, the ramp says {:.4f} ({:.1f} standard deviations off)",
                      model.name, d + 1, model.decile_rate(d), model.decile_planned(d), model.decile_z(d)));
    }
  }
  return found;
}

}  // namespace crucible
