// Makes the models of a plan one network: tensor names, tied heads, vocabularies of different padding.
#pragma once

#include <string>

#include "plan/plan.h"

namespace crucible {

// Gives every input a view under the names of the donor (the base, else the first model), so that the rest of the planner knows one
// spelling only. Every difference that was explained is a notice. May change plan.config_changes.
void align_models(Plan& plan, Diagnostics& diagnostics);

// The steps of align_models, in order.
void align_names_of(Plan& plan, Diagnostics& diagnostics);    // prefixes, aliases, experts and projections fused or apart
void settle_heads(Plan& plan, Diagnostics& diagnostics);      // some models tie their head to the embedding, others have one
void pad_vocabularies(Plan& plan, Diagnostics& diagnostics);  // rows beyond the tokenizer's last token

// The sizes of all vocabularies as a table, for a message about models whose vocabularies differ.
std::string render_vocabularies(const Plan& plan);

}  // namespace crucible
