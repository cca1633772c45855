// The sparsify stages that more than one method of the task arithmetic family uses.
#pragma once

#include "methods/shared/task_arithmetic.h"

namespace crucible::task_arithmetic {

// One model's density, on its way into the arithmetic.
double take_density(const KernelSpec& spec, std::size_t model);

// DARE: every entry survives with probability density.
std::unique_ptr<Sparsifier> drop_at_random(const KernelSpec& spec, std::size_t model, Rescale rescale);

// Model Breadcrumbs: skips the trunc(gamma * n) largest entries and keeps the next trunc(density * n); where both do not fit, gamma
// gives way.
std::unique_ptr<Sparsifier> keep_band(const KernelSpec& spec, std::size_t model, Rescale rescale);
void check_band(const JobFacts& job, Findings& findings);

// DELLA: every entry survives with a probability that rises with its magnitude rank.
std::unique_ptr<Sparsifier> prune_by_rank(const KernelSpec& spec, std::size_t model, Rescale rescale);
void check_ramp(const JobFacts& job, Findings& findings);

// Half width of a model's ramp: epsilon, or half of window where that was given instead.
double half_width(double epsilon, double window, const Params& model);

}  // namespace crucible::task_arithmetic
