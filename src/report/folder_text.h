// What lies in the output folder and where it is from, as text.
#pragma once

#include <string>

#include "plan/plan.h"
#include "run/write_model.h"

namespace crucible {

// Copied, rebuilt and left-out files, what changed in config.json, and the check of what was written: a few lines.
std::string render_folder_summary(const Plan& plan, const Written& written);

}  // namespace crucible
