#include "report/text.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "report/layer_map.h"
#include "report/numbers.h"

namespace crucible {
namespace {

constexpr int kBarWidth = 40;

// A bar of a share, with a mark where the plan says it should end.
std::string bar(double share, double planned) {
  const int filled = static_cast<int>(std::lround(share * kBarWidth));
  const int mark = std::clamp(static_cast<int>(std::lround(planned * kBarWidth)), 0, kBarWidth);
  std::string out;
  for (int i = 0; i <= kBarWidth; ++i) out += i == mark ? "|" : i < filled ? "\u2588" : " ";
  return out;
}

std::string count_text(std::int64_t n) { return grouped(static_cast<double>(n)); }

std::string lengths_text(const ModelSummary& model, bool has_base) {
  const double angle = std::acos(model.cosine()) * 180 / std::numbers::pi;
  return fmt::format("norm of its {} {:.4g}, {:.1f} degrees from the result{}", has_base ? "task vector" : "tensors", model.norm(), angle,
                     has_base ? "'s" : "");
}

void add_model(std::string& out, const ModelSummary& model, bool has_base) {
  const ModelMeasure& m = model.measure;
  if (!model.sparsified) {
    if (model.norm() > 0) out += fmt::format("  {}: {}\n", model.name, lengths_text(model, has_base));
    return;
  }
  out += fmt::format("  {}: kept {:.3f} % of {} task vector entries, planned {:.3f} %\n", model.name, 100 * model.kept_share(),
                     count_text(m.elems), 100 * model.planned_share());
  if (model.norm() > 0) out += fmt::format("    {}\n", lengths_text(model, has_base));
  if (model.l1_before > 0) {
    out += fmt::format("    norms after sparsifying and rescaling: L1 {:.4f} of what it was", model.l1_after / model.l1_before);
    out += model.l2_before > 0 ? fmt::format(", L2 {:.4f}\n", root(model.l2_after / model.l2_before)) : std::string("\n");
  }
  if (m.votes > 0) {
    out += fmt::format("    sign election: {:.1f} % of its votes lost\n",
                       100 * static_cast<double>(m.votes_lost) / static_cast<double>(m.votes));
  }
  if (!model.ranked) return;
  out += fmt::format("    keep rate by magnitude, smallest tenth first (| = planned)   measured  planned\n");
  const std::int64_t ranked = std::accumulate(m.decile_elems.begin(), m.decile_elems.end(), std::int64_t{0});
  if (ranked < m.elems) out += fmt::format("    (counted on {} of the entries: every eighth row of large tensors)\n", count_text(ranked));
  for (int d = 0; d < kDeciles; ++d) {
    out += fmt::format("    {:>2} {} {:>8.2f} % {:>6.2f} %\n", d + 1, bar(model.decile_rate(d), model.decile_planned_rate(d)),
                       100 * model.decile_rate(d), 100 * model.decile_planned_rate(d));
  }
}

// What was judged, parameter by parameter.
std::string verdict_text(const Verdict& verdict) {
  if (!verdict.on) return "Not audited (--no-audit): nothing was held against the plan.\n";
  std::map<std::string, std::int64_t> checks;
  for (const Check& c : verdict.rows) checks[c.parameter] += c.count;
  std::vector<std::string> named;
  named.reserve(checks.size());
  for (const auto& [name, count] : checks) named.push_back(fmt::format("{} ({})", name, count_text(count)));
  std::string out = verdict.checks == 0
                        ? std::string("No parameter of this method leaves a trace that can be measured.\n")
                        : fmt::format("Audit: {} checks, all kept: {}\n", count_text(verdict.checks), join_names(named, 20));
  if (!verdict.silent.empty() && verdict.checks > 0) {
    out += fmt::format("  taken by the arithmetic, with nothing to measure: {}\n", join_names(verdict.silent, 20));
  }
  return out;
}

std::string layer_map_text(const Plan& plan) {
  std::string out;
  if (!plan.layer_map.empty()) out += "layers of the output, and where they come from\n";
  for (const std::string& line : layer_map_lines(named_layers(plan))) out += "  " + line + "\n";
  return out;
}

}  // namespace

std::string render_run_summary(const Plan& plan, const RunResult& result, const RunSummary& summary) {
  std::string out = fmt::format("{} by {}", render_count(summary.merged_tensors, "tensor") + " merged", plan.method->title);
  if (summary.copied_tensors > 0) out += fmt::format(", {} copied", summary.copied_tensors);
  out += fmt::format("; {} written in {:.2f} s", render_bytes(plan.data_bytes()), result.seconds);
  out += fmt::format("; peak memory {}\n", render_bytes(result.peak_bytes));
  for (const Remark& r : summary.remarks)
    out += fmt::format("notice: {} ({}, first {})\n", r.text, render_count(r.tensors, "tensor"), printable(r.first));
  if (summary.merged_tensors == 0 || summary.models.empty()) return out + layer_map_text(plan);
  out += "What the parameters did, counted on every element, norms on a fixed sample:\n";
  for (const ModelSummary& model : summary.models) add_model(out, model, summary.has_base);
  if (summary.sign_conflicts > 0) {
    out += fmt::format("  models disagreed about the sign of {:.1f} % of the elements\n",
                       100 * static_cast<double>(summary.sign_conflicts) / static_cast<double>(std::max<std::int64_t>(summary.elems, 1)));
  }
  if (summary.has_base && summary.result_square > 0) {
    double largest = 0;
    for (const ModelSummary& m : summary.models) largest = std::max(largest, m.norm());
    if (largest > 0) {
      out += fmt::format("  distance of the result from the base: {:.3f} of the farthest model's, {:.2g} of the base's norm\n",
                         root(summary.result_square) / largest, root(summary.result_square) / std::max(root(summary.base_square), 1e-300));
    }
  }
  if (summary.saturated > 0) {
    out += fmt::format("  {} output elements have the largest magnitude of their type\n", count_text(summary.saturated));
  }
  if (summary.nonfinite > 0) {
    out += fmt::format("  {} output elements are not finite because inputs were not: {}\n", count_text(summary.nonfinite),
                       join_names(summary.nonfinite_tensors, 4));
  }
  for (const Counterfactual& c : summary.counterfactuals) out += render_counterfactual(c) + "\n";
  return out + layer_map_text(plan) + verdict_text(summary.verdict);
}

std::string render_plan(const Plan& plan, const MemoryPlan& memory) {
  std::string out = fmt::format("method    {} ({})\n", plan.method->name, plan.method->title);
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    const PlanInput& input = plan.inputs[i];
    out += fmt::format("{}  {}  ({} tensors, {})\n", plan.base && *plan.base == static_cast<int>(i) ? "base    " : "model   ",
                       input.ref.text(), input.checkpoint.tensors().size(), input.path);
  }
  const auto copies = std::count_if(plan.jobs.begin(), plan.jobs.end(), [](const Job& j) { return j.kind == Job::Kind::kCopy; });
  out += fmt::format("output    {}, {} in {}; {} merged, {} copied\n", render_count(static_cast<std::int64_t>(plan.jobs.size()), "tensor"),
                     render_bytes(plan.data_bytes()), render_count(static_cast<std::int64_t>(plan.files.size()), "file"),
                     static_cast<std::int64_t>(plan.jobs.size()) - copies, copies);
  out += fmt::format("reads     {} (once)\n", render_bytes(plan.input_bytes()));
  out +=
      fmt::format("memory    {} predicted peak, {}\n", render_bytes(memory.predicted_peak_bytes), render_count(memory.workers, "worker"));
  out += fmt::format("seed      {}{}\n", plan.options.seed, plan.method->random ? "" : " (the method draws nothing)");
  out += fmt::format("digest    {}\n", plan.digest);
  out += layer_map_text(plan);
  if (!plan.companions.empty()) out += fmt::format("copied    {}\n", join_names(plan.companions, 40));
  return out;
}

}  // namespace crucible
