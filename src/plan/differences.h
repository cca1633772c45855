// What the inputs of a merge disagree about apart from their weights: special tokens, chat template, rope, context length, ...
#pragma once

#include <string>
#include <vector>

#include "crucible/error.h"

namespace crucible {

struct Plan;

// One kind of difference ("rope settings"), with the keys that differ.
struct Difference {
  struct Row {
    std::string key;                  // "rope_theta"
    std::string file;                 // where it stands: "config.json"
    std::vector<std::string> values;  // by input of the plan, as shown; empty = that model has no such file
    std::string chosen;               // what the output has
  };
  std::string kind;
  std::vector<Row> rows;
};

// Values are compared after normalisation (torch_dtype and dtype, rope_parameters and rope_theta, [2] and 2, 1e4 and 10000, absent and the
// default where it is known), so that equal things never show. Reads the small files of the inputs; those that cannot be read are skipped.
std::vector<Difference> find_differences(const Plan& plan);

// One notice for each kind, with a small table: which model has which value, and what the output has.
void report_differences(const Plan& plan, Diagnostics& diagnostics);

}  // namespace crucible
