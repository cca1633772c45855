// The parts of the output: which folders have weights of their own, and what their config.json says.
#pragma once

#include "plan/plan.h"

namespace crucible {

// Fills Plan::parts after the donor. A part that some model lacks altogether is an error that names it, where such tensors are; so is one
// that only other models than the donor have, where their tensors would be in the output: no document of the output would list it.
void make_parts(Plan& plan, Diagnostics& diagnostics);

// Gives every part its config.json: the donor's, with PlanPart::config_changes and the output's dtype.
void edit_configs(Plan& plan, Diagnostics& diagnostics);

}  // namespace crucible
