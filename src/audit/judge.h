// Holds what was measured against what the parameters promise, tensor by tensor and over all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "methods/promise.h"
#include "plan/plan.h"
#include "run/runner.h"

namespace crucible {

// How likely a correct merge is to be accused, at most: the level of one whole merge, shared by all of its checks (Bonferroni).
inline constexpr double kFalseAlarm = 1e-9;

// All promises of one kind: about one parameter, one model, in the same words.
struct Check {
  std::string parameter;
  std::optional<int> input;  // of the plan; none: about the merge as a whole
  std::string what;
  std::string tensor;   // the one that is farthest from its promise; empty: the sum over all tensors is
  double measured = 0;  // of that tensor, or of the sum
  double planned = 0;
  std::optional<double> sigmas;
  std::optional<double> tolerance;
  double chance = 1;       // of so much or more in a correct merge, at most
  std::int64_t count = 0;  // tensors that were looked at
  std::int64_t wrong = 0;
  int tenth = -1;
  bool judged = true;  // false: what it rests on is wrong already
  bool ok = true;
  // Sums over all tensors.
  double total_measured = 0, total_planned = 0, total_variance = 0;
};

// What one job's parameters plan to keep of each model, where they do.
struct KeptPlan {
  std::vector<double> kept, variance;  // per source; empty: nothing is planned
};

struct Verdict {
  bool on = false;  // something was judged
  bool ok = true;
  std::int64_t checks = 0;          // promises looked at
  std::vector<Check> rows;          // wrong ones first
  std::vector<std::string> silent;  // parameters that reach the arithmetic, of which the method promises nothing that can be measured
  std::vector<KeptPlan> jobs;
};

Verdict judge(const Plan& plan, const RunResult& result);

// The upper bound on the chance, as a natural logarithm: 0 where nothing is off, -infinity where no chance can do it.
double log_chance(const Promise& promise) noexcept;

// Each wrong row in words that name the parameter. Empty = the parameters took effect.
std::vector<std::string> contradictions(const Plan& plan, const Verdict& verdict);

}  // namespace crucible
