// The twin of the task arithmetic kernel: the formula again, one element after the other in plain f64, on a sample of the elements and
// with the parameters as the plan has them. Where the two differ, the twin tells which single change of a parameter explains it.
#pragma once

#include <string_view>
#include <vector>

#include "methods/shared/task_arithmetic.h"

namespace crucible::task_arithmetic {

class TaskTwin {
 public:
  // The parameters that the alternatives are about, in the order of SpotCheck::explained.
  static std::vector<std::string_view> alternatives(std::size_t models, const FieldTable& global);

  TaskTwin(const Audit& audit, const Design& design);

  // The factor that restores each model's L1 norm.
  void see_norms(std::vector<double> factors) { factors_ = std::move(factors); }
  void see_zero_side(bool zero_is_plus) noexcept { zero_is_plus_ = zero_is_plus; }

  // `kept`: sparsified task vectors; `scales`: the factors that the kernel put on them.
  void check(const Tile& tile, std::int64_t tensor_elems, const TileInputs& in, std::span<const float* const> kept,
             std::span<const double> scales, const float* out, Measure& measure, Scratch& scratch, int free_slot) const noexcept;

 private:
  struct Formula {
    std::vector<double> weights;
    double lambda = 1;
    bool normalize = false;
    bool restores_norm = false;
    bool counts_winners = false;
  };
  // Is `out` base + what is added, for n elements (kSpotElems at most) from i on? Also where nothing can be said: on a tie of the election,
  // where the last bit of a sum decides, and where weights cancel.
  void see(const Formula& formula, const float* base, std::span<const float* const> kept, std::int64_t i, std::int64_t n, const float* out,
           bool* agrees) const noexcept;

  Election election_;
  bool zero_is_plus_ = true;
  Formula plan_;
  std::vector<Formula> others_;  // as alternatives() names them
  std::vector<double> factors_;
};

}  // namespace crucible::task_arithmetic
