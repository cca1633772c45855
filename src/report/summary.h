// What a run measured, added up per model, held against what was planned.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"
#include "run/runner.h"

namespace crucible {

struct ModelSummary {
  std::string name;         // as the recipe writes it
  ModelMeasure measure;     // over all merged tensors
  bool sparsified = false;  // the method drops entries of its task vector
  bool ranked = false;      // ... by magnitude rank, so deciles mean something
  double kept_share() const noexcept;
  double planned_share() const noexcept;
  double kept_z() const noexcept;  // of the number kept; 0 where it is planned exactly and right
  double decile_rate(int decile) const noexcept;
  double decile_planned(int decile) const noexcept;
  double decile_z(int decile) const noexcept;
};

// What kernels said about tensors; the same words once.
struct Remark {
  std::string text;
  std::int64_t tensors = 0;
  std::string first;  // tensor
};

struct RunSummary {
  std::vector<ModelSummary> models;
  std::vector<Remark> remarks;
  std::int64_t merged_tensors = 0;
  std::int64_t copied_tensors = 0;
  std::int64_t elems = 0;
  std::int64_t sign_conflicts = 0;
  double out_delta_square = 0;
  std::int64_t nonfinite = 0;
  std::vector<std::string> nonfinite_tensors;  // non-finite because their inputs were
};

RunSummary summarize(const Plan& plan, const RunResult& result);

// Beyond this many standard deviations a measurement contradicts its plan. One false alarm in about 500 million measurements.
inline constexpr double kContradictionSigmas = 6.0;

// Every measurement that contradicts the plan, in words that name the parameter. Empty = the parameters took effect.
std::vector<std::string> find_contradictions(const RunSummary& summary);

}  // namespace crucible
