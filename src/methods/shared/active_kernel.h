// RAM and RAM+: the mean of the task vectors that are active at a parameter.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "methods/method.h"

namespace crucible {

inline constexpr double kActiveEpsilon = 1e-5;

template <typename P>
Field active_epsilon_field(double P::*member) {
  return field(member, "epsilon", "a model is active at a parameter that it moved by more than this").at_least(0).neutral(0.0);
}

// The parameters of the plan, for the check of the sample.
struct ActivePlan {
  double epsilon = 0;
  std::vector<double> unique_scales;  // empty: all 1
};

// Maps with a factor per model for the parameters where it alone is active; all 1 unless a derived kernel sets them.
class ActiveKernel : public Kernel {
 public:
  ActiveKernel(const KernelSpec& spec, double epsilon);
  void map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch&) noexcept override;

 protected:
  double epsilon() const noexcept { return epsilon_; }
  // Elements of the sample are held against this; without it nothing is checked.
  void see_plan(ActivePlan plan) { plan_ = std::move(plan); }
  std::vector<double>& unique_scales() noexcept { return unique_scales_; }
  const std::vector<double>& unique_scales() const noexcept { return unique_scales_; }

 private:
  double epsilon_;
  std::int64_t elems_;
  std::vector<double> unique_scales_;
  std::optional<ActivePlan> plan_;
};

}  // namespace crucible
