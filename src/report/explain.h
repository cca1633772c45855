// Where each number of a merge comes from and where it goes.
#pragma once

#include <string>

#include "plan/plan.h"

namespace crucible {

// Where every number of the tensors that match `pattern` came from ('*' matches any run of characters, '?' one), and the method's
// formula with the numbers filled in. Empty when no tensor matches.
std::string render_explanation(const Plan& plan, const std::string& pattern);

// One parameter through the whole merge: its declaration, every value with its place in the recipe and the tensors that take it, the
// lines of the formula that it enters, and how its effect will be measured. Empty when the method has no such parameter.
std::string render_parameter(const Plan& plan, const std::string& name);

}  // namespace crucible
