// Is a merge done already? Answered by the record that lies beside its output.
#pragma once

#include <string>

#include "plan/plan.h"

namespace crucible {

// Is the record in `folder` that of this plan? Looks at the record alone.
bool is_output_of(const Plan& plan, const std::string& folder);

// Empty when `folder` holds what `plan` would write: its record has the plan's digest and is whole, no weight file of an input is younger
// than it, the weight files have the sizes and headers that it lists, and the other files their content. Else the reason, in words. Data of
// weights is not read: `crucible verify` does that.
std::string why_not_done(const Plan& plan, const std::string& folder);

}  // namespace crucible
