// Judges the output of another tool against a recipe: which parameters show in the data, and which do not. Needs no record.
//
// A method without random choices is computed again, once as asked and once for each parameter with that parameter at its neutral value;
// least squares then says how far the output lies on the way from the one to the other. Where masks were drawn at random, they are
// unknown: keep rates by magnitude, and with them density and epsilon, are estimated from base, inputs and output (audit/foreign_masks.h).
// docs/verify.md has the formulas.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/checkpoint.h"
#include "plan/plan.h"
#include "run/runner.h"

namespace crucible {

enum class Shows { kYes, kNo, kCannotTell };
std::string_view to_string(Shows shows) noexcept;

struct ParameterVerdict {
  std::string parameter;
  std::string model;  // as the recipe writes it; empty for one of the whole merge
  Shows shows = Shows::kCannotTell;
  std::string text;  // "0.3 asked, 0.00 +- 0.01 found"
  std::optional<double> asked, found, standard_error;
};

struct ForeignReport {
  std::vector<ParameterVerdict> verdicts;
  std::vector<std::string> wrong;    // what no parameter explains: tensors that are missing, values of another merge
  std::vector<std::string> remarks;  // what was not looked at, and why
  std::string fit;                   // how well the recipe explains the output, in words
  std::int64_t elems = 0;            // looked at
  std::int64_t elems_total = 0;      // of merged tensors
  bool says_no() const noexcept;
};

// A parameter does not show when what is found is further from what was asked than this many standard errors, and further than a small
// tolerance (of its own for each kind of estimate), which covers the rounding of tools that compute in half precision.
inline constexpr double kForeignSigmas = 5;

// Reads samples of the tensors (all of a small model). Throws Error when a file cannot be read.
ForeignReport judge_output(const Plan& plan, const Checkpoint& output, const RunOptions& run);

}  // namespace crucible
