// Promises that several methods make.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "methods/method.h"

namespace crucible {

// A change of parameters that a wrong output may be explained by, and the coefficients that it would give.
struct OtherCombination {
  std::string_view parameter;
  std::vector<double> coefficients;
};

// out = (base +) sum_i c_i y_i: the projections of the output on every y_i are what the coefficients say, to the rounding of f32. Each of
// `parameters` gets a promise; a projection that is off is laid to the first of `others` that explains it, else to the first parameter.
void promise_combination(const Measure& measure, std::span<const double> coefficients, const std::vector<std::string_view>& parameters,
                         const std::vector<OtherCombination>& others, Promises& out);

// Elements that were computed twice: `alternatives` are the parameters that SpotCheck::explained counts for. One promise for each
// parameter among them.
void promise_spots(const Measure& measure, const std::vector<std::string_view>& alternatives, Promises& out);

namespace task_arithmetic {

// What the eight methods of the family promise beyond what they keep: weight, lambda, normalize, rescale, elect.
void promise_sum(const JobFacts& job, const Measure& measure, Promises& out);
// DARE: a share `density` of the entries, each by a draw of its own.
void promise_draws(const JobFacts& job, const Measure& measure, Promises& out);
// TIES: trunc(density * n) entries of each tensor, or of the whole model.
void promise_trim(const JobFacts& job, const Measure& measure, Promises& out);
// Breadcrumbs: trunc(density * n) entries of the tensor or of each row.
void promise_band(const JobFacts& job, const Measure& measure, Promises& out);
// DELLA: a share `density`, along the ramp of `epsilon`.
void promise_ramp(const JobFacts& job, const Measure& measure, Promises& out);

}  // namespace task_arithmetic
}  // namespace crucible
