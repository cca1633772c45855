// The model whose config and other files the output gets.
#pragma once

#include "plan/plan.h"

namespace crucible {

// Index of the input: what PlanOptions::copy_from names (an error when the recipe names no such model), else the base, else the first.
int find_donor(const Plan& plan, Diagnostics& diagnostics);

// Fills Plan::companions and Plan::left_out from the donor's folder. Code among them is a notice that names it.
void choose_companions(Plan& plan, Diagnostics& diagnostics);

}  // namespace crucible
