// What a run measured, added up per model, beside what was planned.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "audit/counterfactual.h"
#include "audit/judge.h"
#include "plan/plan.h"
#include "run/runner.h"

namespace crucible {

// Squared norms and inner products of whole tensors, estimated from the sample of each.
struct Lengths {
  double square = 0;        // of y: the task vector, or the input where there is no base
  double with_result = 0;   // <y, y of the output>
  double input_square = 0;  // of the input itself
  double input_result = 0;  // <input, output>
};

struct ModelSummary {
  int input = 0;         // index into Plan::inputs
  std::string name;      // as the recipe writes it
  ModelMeasure measure;  // over all merged tensors
  Lengths lengths;
  Histogram histogram;       // of y
  double result_square = 0;  // of the output's y and of the output, over the tensors that this model takes part in
  double whole_result_square = 0;
  double l1_before = 0, l1_after = 0;  // of the task vectors, before sparsifying and after rescaling
  double l2_before = 0, l2_after = 0;  // the same, squared L2 norms
  double planned_kept = 0, planned_variance = 0;
  std::array<double, kDeciles> decile_planned{}, decile_variance{};
  bool sparsified = false;  // the method drops entries of its task vector
  bool ranked = false;      // ... by magnitude rank, so deciles mean something
  double kept_share() const noexcept;
  double planned_share() const noexcept;
  double decile_rate(int decile) const noexcept;
  double decile_planned_rate(int decile) const noexcept;
  double norm() const noexcept;
  double cosine() const noexcept;        // of y with the output's y
  double input_cosine() const noexcept;  // of the input with the output
};

// What kernels said about tensors; the same words once.
struct Remark {
  std::string text;
  std::int64_t tensors = 0;
  std::string first;  // tensor
};

struct RunSummary {
  Verdict verdict;
  std::vector<Counterfactual> counterfactuals;
  std::vector<ModelSummary> models;
  std::vector<Remark> remarks;
  std::int64_t merged_tensors = 0;
  std::int64_t copied_tensors = 0;
  std::int64_t elems = 0;
  std::int64_t sampled = 0;
  std::int64_t sign_conflicts = 0;
  std::int64_t saturated = 0;
  bool has_base = false;
  double result_square = 0;  // of the output's y: output - base, or the output
  double base_square = 0, out_square = 0, base_out = 0;
  Histogram result_histogram;
  std::int64_t nonfinite = 0;
  std::vector<std::string> nonfinite_tensors;  // non-finite because their inputs were
};

// The lengths of one source of a job, and of its result (index = number of sources), scaled from the sample to the whole tensor.
Lengths lengths_of(const Measure& measure, std::size_t source);
double result_square_of(const Measure& measure);
// The L1 norm of a source's task vector before sparsifying and after rescaling: whole where the method took it, else from the sample.
std::pair<double, double> l1_norms_of(const Measure& measure, std::size_t source);
// sqrt(a), and a / sqrt(b c) in [-1, 1]; 0 where there is nothing.
double root(double square) noexcept;
double cosine_of(double product, double square_a, double square_b) noexcept;

RunSummary summarize(const Plan& plan, const RunResult& result, const Verdict& verdict);

}  // namespace crucible
