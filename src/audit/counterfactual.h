// Does a parameter change the bytes? A sample of the merge is computed twice, as planned and with the parameter at a value without
// effect, and the elements that differ are counted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "run/runner.h"

namespace crucible {

struct Counterfactual {
  std::string parameter;
  std::string instead;  // the value that it was given instead
  std::int64_t tensors = 0, tensors_that_differ = 0;
  std::int64_t elements = 0, differ = 0;  // of the sample
};

// `question`: NAME (its neutral value is taken) or NAME=VALUE. Reads the inputs of at most a few hundred million elements, writes nothing.
// What is wrong about the question goes to `diagnostics`: an unknown parameter, one without a neutral value, a value it does not take.
std::vector<Counterfactual> counterfactuals(const Plan& plan, const std::vector<std::string>& questions, const RunOptions& options,
                                            Diagnostics& diagnostics);

std::string render_counterfactual(const Counterfactual& c);

}  // namespace crucible
