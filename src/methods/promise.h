// What the parameters of a merge promise about its data, held against what was measured. A method states its promises from the plan's
// parameters and the measurements of one job; nothing that the kernel took enters the planned side.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace crucible {

struct Promise {
  std::string_view parameter;  // that the promise is about
  int model = -1;              // the job's input that it is about; -1: the merge as a whole
  std::string_view what;       // "share kept": the same words in every job
  double measured = 0;
  double planned = 0;

  // A number of draws that succeeded: `planned` is its mean. The bound on chance holds for independent draws of any probabilities.
  double draws = 0;
  double variance = 0;  // for reports
  // A sum of draws with different weights, each draw moving it by at most a known amount: the sum of the squares of these amounts.
  double squared_ranges = 0;
  // Neither: the two may differ by this much.
  double tolerance = 0;

  // The parameter of the same model that must have kept its promise for this one to mean anything; empty: none.
  std::string_view given;
  int tenth = -1;              // a keep rate by magnitude rank: which
  bool in_total_only = false;  // nothing is promised of one tensor, only of the sum over all of them
  double scale = 1;            // what a report divides both numbers by: draws for shares, a norm for projections

  static Promise count(std::string_view parameter, int model, std::string_view what, double measured, double planned, double draws,
                       double variance) {
    return {parameter, model, what, measured, planned, draws, variance, 0, 0, {}, -1, false, draws > 0 ? draws : 1};
  }
  // A count that is planned to the last element.
  static Promise exact(std::string_view parameter, int model, std::string_view what, double measured, double planned, double of) {
    return {parameter, model, what, measured, planned, 0, 0, 0, 0.5, {}, -1, false, of > 0 ? of : 1};
  }
  static Promise value(std::string_view parameter, int model, std::string_view what, double measured, double planned, double tolerance) {
    return {parameter, model, what, measured, planned, 0, 0, 0, tolerance, {}, -1, false, 1};
  }
};

// The words for the share of a task vector that is kept, where a method plans one: reports show it beside the plan.
inline constexpr std::string_view kShareKept = "share of the task vector kept";

using Promises = std::vector<Promise>;

}  // namespace crucible
