// The first part of `verify`: the files of an output against the hashes of its record.
#pragma once

#include "report/verify.h"

namespace crucible {

void verify_weight_files(const std::string& folder, const Record& record, const RunOptions& run, Verification& found);
void verify_companions(const std::string& folder, const Record& record, Verification& found);

}  // namespace crucible
