// What the public functions and the commands share: from a request to a plan.
#pragma once

#include "crucible/merge.h"
#include "plan/plan.h"
#include "run/runner.h"

namespace crucible {

RunOptions run_options(const MergeRequest& request);

// Reads the recipe and the headers. Every problem goes to `diagnostics`; the plan is usable only when there is no error.
Plan plan_request(const MergeRequest& request, Diagnostics& diagnostics);

// The same of a recipe that was read already; what was said of it then stands before what is said of the plan.
Plan plan_recipe(const Recipe& recipe, const MergeRequest& request, const Diagnostics& of_recipe, Diagnostics& diagnostics);
ReadOptions read_options(const MergeRequest& request);

// Runs a plan that was made of `request`.
MergeReport run_plan(const Plan& plan, const MergeRequest& request, const std::string& output);

}  // namespace crucible
