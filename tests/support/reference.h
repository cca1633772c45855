// Every method again, from its formulas, in plain f64 loops over whole tensors: no tiles, no passes, no code of the kernels. Slow.
// Random methods draw random_draw(key, index), which has a test of its own.
#pragma once

#include <string>
#include <vector>

#include "support/kernel_driver.h"

namespace crucible::test {

struct Expected {
  std::vector<double> value;
  // The largest operand of the last sum: the scale of rounding where terms cancel, and larger where f64 itself has no digits left.
  // Infinity: any number will do, because rounding of f64 decides.
  std::vector<double> largest;
  // Where a decision is open up to rounding (votes of an election that cancel, a score at a threshold), the value with the other
  // outcome; else equal to `value`.
  std::vector<double> other;
  std::vector<std::vector<char>> kept;  // per model and element, of the sparsifying methods
};

Expected reference(const std::string& method, const MergeCase& merge);

// DELLA's keep probabilities by rank; c found by bisection on the sum of the clamped line.
struct Ramp {
  double center = 0;
  std::vector<double> p;
};
Ramp reference_ramp(double density, double epsilon, std::int64_t n);

// Units in the last place of a type at a magnitude (of its smallest subnormal below the normal range).
double ulp_at(DType dtype, double magnitude);

// The worst error of an output in units: f32 in ulps of the largest operand (a result above 2 is a defect); f16 and bf16 in ulps of
// the exact value, less what f32 arithmetic may lose where terms cancel (above 0.51 is a defect). Infinity where the two disagree
// about what is finite.
double worst_error(DType dtype, const std::vector<float>& out, const Expected& expected);

}  // namespace crucible::test
