// Joins names with headers: is each tensor there, in every model, with one shape? Makes the jobs.
#pragma once

#include "plan/enumerate.h"
#include "plan/plan.h"

namespace crucible {

// Fills plan.jobs in the order of `tensors`. Missing tensors, differing shapes and vocabularies are errors, all of them at once.
void join_tensors(Plan& plan, const std::vector<LogicalTensor>& tensors, Diagnostics& diagnostics);

}  // namespace crucible
