// Makes the models of a plan one network: tensor names, tied heads, vocabularies of different padding.
#pragma once

#include <string>
#include <vector>

#include "arch/vocabulary.h"
#include "plan/plan.h"

namespace crucible {

// Gives every input a view under the names of the donor (the base, else the first model), so that the rest of the planner knows one
// spelling only. Every difference that was explained is a notice. May change the root's PlanPart::config_changes.
void align_models(Plan& plan, Diagnostics& diagnostics);

// The parts of models of several are aligned each for itself; heads and vocabularies are those of the model's own folder.
//
// The steps of align_models, in order. What each input's vocabulary is, is found once, after the first: heads and padding do not change
// what the steps read of it.
using Vocabularies = std::vector<VocabularyFacts>;          // by input
void align_names_of(Plan& plan, Diagnostics& diagnostics);  // prefixes, aliases, experts and projections fused or apart
Vocabularies vocabularies_of(const Plan& plan);
// Some models tie their head to the embedding, others have one.
void settle_heads(Plan& plan, const Vocabularies& vocabularies, Diagnostics& diagnostics);
// Rows beyond the tokenizer's last token.
void pad_vocabularies(Plan& plan, const Vocabularies& vocabularies, Diagnostics& diagnostics);

// The sizes of all vocabularies as a table, for a message about models whose vocabularies differ.
std::string render_vocabularies(const Plan& plan);

}  // namespace crucible
