// Views of a plan and of a run as text: the terminal summary, the plan listing.
#pragma once

#include <string>

#include "plan/plan.h"
#include "report/summary.h"
#include "run/runner.h"

namespace crucible {

// What the parameters did, measured: kept shares, keep rate by magnitude decile beside the plan, sign conflicts, norms.
std::string render_run_summary(const Plan& plan, const RunResult& result, const RunSummary& summary);

// What goes where, and what it takes.
std::string render_plan(const Plan& plan, const MemoryPlan& memory);

}  // namespace crucible
