// What a merge will write, as a folder that holds no data: for planning what comes after it.
#pragma once

#include <string>

#include "plan/plan.h"

namespace crucible {

// Fills the empty folder `folder`: weight files of their full size with nothing but their headers (they take no space where files may have
// holes), config and index, and links to the companion files. Throws Error{kIo}.
void write_skeleton(const Plan& plan, const std::string& folder);

}  // namespace crucible
