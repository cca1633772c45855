// Crucible merges the weights of language models, with proof that every parameter took effect.
//
//   crucible::MergeRequest request;
//   request.recipe_file = "recipe.yml";
//   request.model_dirs = {{"microsoft/phi-2", "./base"}};
//   const crucible::MergeReport report = crucible::merge(request, "merged");
//   std::cout << report.summary;
//
// Wrong input throws crucible::InputError, which carries every problem with its place; anything else that stops a run throws
// crucible::Error.
#pragma once

#include "crucible/checkpoint.h"
#include "crucible/dtype.h"
#include "crucible/error.h"
#include "crucible/merge.h"
#include "crucible/method.h"
#include "crucible/plan.h"
#include "crucible/tensor.h"
