// What the record proves, in a line; and what to do about anything that is off.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "report/record_view.h"

namespace crucible {

struct Remedy {
  std::string what;      // is off; the marks of page.h are allowed
  std::string do_this;   // what to change, or where to tell
  bool serious = false;  // a contradiction, not a hint
};

struct ReportVerdict {
  enum class Kind { kProven, kContradicted, kNotJudged };
  Kind kind = Kind::kNotJudged;
  std::string headline;                   // "All 1,204 checks passed"
  double checks = 0;                      // single comparisons
  std::vector<std::string> contradicted;  // parameters, each once
  std::vector<std::string> unmeasured;    // parameters of the method that no check names
  std::vector<Remedy> remedies;
};

ReportVerdict judge_record(const RecordView& record);

// Text without the marks of page.h.
nlohmann::ordered_json verdict_json(const ReportVerdict& verdict);

// Largest first: contradictions, then by distance from the plan.
std::vector<RecordView::Expectation> worst_first(const RecordView& record);

}  // namespace crucible
