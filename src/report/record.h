// crucible.json: what was asked, from which files, and what was measured. Versioned; read back by `crucible verify`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crucible/error.h"
#include "plan/plan.h"
#include "report/summary.h"

namespace crucible {

inline constexpr int kRecordVersion = 1;

// `output_folder` is where the record will lie: input paths are written relative to it where they can be.
std::string render_record(const Plan& plan, const RunResult& result, const RunSummary& summary, const std::string& output_folder);

// What is needed to make the same plan again.
struct Record {
  std::string program_version;
  std::string recipe_file;
  std::string recipe_text;
  std::uint64_t seed = 0;
  std::int64_t shard_bytes = 0;
  std::string plan_digest;
  std::vector<std::pair<std::string, std::string>> model_dirs;  // reference -> folder, absolute
};
// Problems (no record, damaged, another version) go to `diagnostics`.
std::optional<Record> open_record(const std::string& folder, Diagnostics& diagnostics);

}  // namespace crucible
