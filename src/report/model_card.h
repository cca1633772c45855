// README.md and the recipe that goes with a merged model to others. Neither names an absolute path.
#pragma once

#include <string>

#include "plan/plan.h"
#include "report/summary.h"

namespace crucible {

// Front matter for the Hub, what was merged, the recipe, what the audit found, how to verify.
std::string render_model_card(const Plan& plan, const RunSummary& summary, const std::string& title);

// The recipe, byte for byte where it names no absolute path; else with local folders named by their last component, and a remark on top.
std::string published_recipe(const Plan& plan);

}  // namespace crucible
