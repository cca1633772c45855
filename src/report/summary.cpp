#include "report/summary.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

namespace crucible {
namespace {

double ratio(double a, double b) noexcept { return b > 0 ? a / b : 0; }

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
double ModelSummary::planned_share() const noexcept { return ratio(planned_kept, static_cast<double>(measure.elems)); }
double ModelSummary::decile_rate(int d) const noexcept {
  const auto i = static_cast<std::size_t>(d);
  return ratio(static_cast<double>(measure.decile_kept[i]), static_cast<double>(measure.decile_elems[i]));
}
double ModelSummary::decile_planned_rate(int d) const noexcept {
  const auto i = static_cast<std::size_t>(d);
  return ratio(decile_planned[i], static_cast<double>(measure.decile_elems[i]));
}
double ModelSummary::norm() const noexcept { return root(lengths.square); }
double ModelSummary::cosine() const noexcept { return cosine_of(lengths.with_result, lengths.square, result_square); }
double ModelSummary::input_cosine() const noexcept { return cosine_of(lengths.input_result, lengths.input_square, whole_result_square); }

double root(double square) noexcept { return square > 0 ? std::sqrt(square) : 0; }
double cosine_of(double product, double a, double b) noexcept {
  return a > 0 && b > 0 ? std::clamp(product / std::sqrt(a) / std::sqrt(b), -1.0, 1.0) : 0;
}

namespace {

double scale_of(const Measure& m) noexcept {
  return m.sketch.elems > 0 ? static_cast<double>(m.elems) / static_cast<double>(m.sketch.elems) : 0;
}
std::size_t packed(std::size_t i, std::size_t j) noexcept { return i * (i + 1) / 2 + j; }

}  // namespace

Lengths lengths_of(const Measure& m, std::size_t i) {
  if (m.sketch.empty()) return {};
  const std::size_t n = m.sketch.input_square.size();
  const double scale = scale_of(m);
  return {scale * m.sketch.gram[packed(i, i)], scale * m.sketch.gram[packed(n, i)], scale * m.sketch.input_square[i],
          scale * m.sketch.input_out[i]};
}

std::pair<double, double> l1_norms_of(const Measure& m, std::size_t i) {
  const ModelMeasure& of = m.models[i];
  if (of.whole_l1_before > 0) return {of.whole_l1_before, of.whole_l1_after};
  return {scale_of(m) * of.l1_before, scale_of(m) * of.l1_after};
}

double result_square_of(const Measure& m) { return m.sketch.empty() ? 0 : scale_of(m) * m.sketch.gram.back(); }

namespace {

class Summary {
 public:
  Summary(const Plan& plan, const RunResult& result) : plan_(plan), result_(result) {}

  RunSummary run() {
    for (std::size_t j = 0; j < plan_.jobs.size(); ++j) {
      if (plan_.jobs[j].kind == Job::Kind::kCopy) {
        ++summary_.copied_tensors;
      } else {
        add(plan_.jobs[j], result_.jobs[j]);
      }
    }
    for (ModelSummary& model : summary_.models) {
      model.sparsified = plan_.method->model->find("density").has_value() && model.measure.elems > 0;
      for (const std::int64_t n : model.measure.decile_elems) model.ranked = model.ranked || n > 0;
    }
    return std::move(summary_);
  }

 private:
  ModelSummary& model(int input) {
    const auto [it, fresh] = at_.emplace(input, summary_.models.size());
    if (fresh) {
      summary_.models.emplace_back();
      summary_.models.back().input = input;
      summary_.models.back().name = plan_.inputs[static_cast<std::size_t>(input)].ref.text();
    }
    return summary_.models[it->second];
  }

  void add(const Job& job, const JobResult& result) {
    ++summary_.merged_tensors;
    add_remark(summary_.remarks, result.remark, job.info.name);
    const Measure& m = result.measure;
    summary_.elems += m.elems;
    summary_.sign_conflicts += m.sign_conflicts;
    summary_.saturated += m.saturated;
    summary_.nonfinite += result.input_nonfinite;
    summary_.has_base = summary_.has_base || job.base.has_value();
    if (result.input_nonfinite > 0) summary_.nonfinite_tensors.push_back(job.info.name);
    const double whole = scale_of(m);
    for (std::size_t i = 0; i < job.sources.size(); ++i) {
      ModelSummary& of = model(job.sources[i].input);
      of.measure.add(m.models[i]);
      const auto [before, after] = l1_norms_of(m, i);
      of.l1_before += before;
      of.l1_after += after;
      of.l2_before += whole * m.models[i].l2_before;
      of.l2_after += whole * m.models[i].l2_after;
    }
    // Lengths that are not finite would hide those of all other tensors.
    if (m.sketch.empty() || result.input_nonfinite > 0) return;
    summary_.sampled += m.sketch.elems;
    summary_.result_square += result_square_of(m);
    summary_.base_square += whole * m.sketch.base_square;
    summary_.out_square += whole * m.sketch.out_square;
    summary_.base_out += whole * m.sketch.base_out;
    summary_.result_histogram.add(m.sketch.histograms.back());
    for (std::size_t i = 0; i < job.sources.size(); ++i) {
      ModelSummary& of = model(job.sources[i].input);
      const Lengths l = lengths_of(m, i);
      of.lengths.square += l.square;
      of.lengths.with_result += l.with_result;
      of.lengths.input_square += l.input_square;
      of.lengths.input_result += l.input_result;
      of.result_square += result_square_of(m);
      of.whole_result_square += whole * m.sketch.out_square;
      of.histogram.add(m.sketch.histograms[i]);
    }
  }

  const Plan& plan_;
  const RunResult& result_;
  RunSummary summary_;
  std::map<int, std::size_t> at_;
};

}  // namespace

RunSummary summarize(const Plan& plan, const RunResult& result, const Verdict& verdict) {
  Summary summary(plan, result);
  RunSummary made = summary.run();
  made.verdict = verdict;
  for (const Check& c : verdict.rows) {
    if (!c.input) continue;
    for (ModelSummary& m : made.models) {
      if (m.input != *c.input) continue;
      if (c.what == kShareKept) {
        m.planned_kept = c.total_planned;
        m.planned_variance = c.total_variance;
      } else if (c.tenth >= 0) {
        m.decile_planned[static_cast<std::size_t>(c.tenth)] = c.total_planned;
        m.decile_variance[static_cast<std::size_t>(c.tenth)] = c.total_variance;
      }
    }
  }
  return made;
}

}  // namespace crucible
