// Keys of mergekit's language whose work comes later: their form is checked, then they are refused with one clear line, so that
// nothing is ignored. Internal to src/recipe.
#pragma once

#include "recipe/context.h"
#include "text/node.h"

namespace crucible {

void check_tokenizer_source(const Node::Entry& entry, BindContext& context);
void check_tokenizer(const Node::Entry& entry, BindContext& context);
void check_chat_template(const Node::Entry& entry, BindContext& context);
void check_name(const Node::Entry& entry, BindContext& context);
void check_residual_weight(const Node::Entry& entry, BindContext& context);

// LoRA adapters and architecture overrides of a reference.
void check_reference(const ModelRef& reference, BindContext& context);

}  // namespace crucible
