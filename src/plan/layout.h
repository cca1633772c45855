// Where every output byte goes: shards, headers, index.
#pragma once

#include "plan/plan.h"

namespace crucible {

// Assigns files and offsets to plan.jobs (given in model order), builds headers and the index, and sorts the jobs by file and offset.
void lay_out(Plan& plan);

}  // namespace crucible
