#include "recipe/later.h"

#include <fmt/format.h>

#include "base/text_util.h"
#include "recipe/keys.h"

namespace crucible {
namespace {

constexpr std::string_view kBuildTokenizer = "building a tokenizer";
constexpr std::string_view kTokenizerHint = "leave it out: the tokenizer of the base model (or of the first model) is copied";

void accept_base_tokenizer(const Place& place, BindContext& context) {
  context.diagnostics.notice(place,
                             "the tokenizer of the base model (or of the first model) is copied; all models must have its vocabulary");
}

// A tokenizer source is "union", "base" or a model. True when it asks for what happens anyhow.
bool check_source_form(const Node& node, BindContext& context) {
  if (node.is_scalar() && node.text == "base") return true;
  if (!node.is_scalar() || node.text != "union") parse_model_ref(node, context.diagnostics);
  return false;
}

void check_token_entry(const Node::Entry& token, BindContext& context) {
  if (token.value.is_null() || token.value.is_map()) return;
  context.diagnostics.error(
      token.value.place, fmt::format("the entry of token `{}` must be a mapping, not {}", printable(token.key, 40), describe(token.value)));
}

}  // namespace

void check_tokenizer_source(const Node::Entry& entry, BindContext& context) {
  if (check_source_form(entry.value, context)) {
    accept_base_tokenizer(entry.key_place, context);
  } else {
    context.report_later(entry.key_place, fmt::format("{} (`tokenizer_source`)", kBuildTokenizer), std::string(kTokenizerHint));
  }
}

void check_tokenizer(const Node::Entry& entry, BindContext& context) {
  const Node& node = entry.value;
  if (!node.is_map()) {
    context.diagnostics.error(node.place, fmt::format("`tokenizer` must be a mapping, not {}", describe(node)),
                              std::string(kTokenizerHint));
    return;
  }
  check_keys(node, KeyLevel::kTokenizer, context);
  const Node* source = find_value(node, "source");
  const Node* tokens = find_value(node, "tokens");
  const Node* padding = find_value(node, "pad_to_multiple_of");
  const bool is_base = source != nullptr && check_source_form(*source, context);
  if (tokens != nullptr && !tokens->is_map()) {
    context.diagnostics.error(tokens->place, fmt::format("`tokens` must be a mapping of tokens, not {}", describe(*tokens)));
  } else if (tokens != nullptr) {
    for (const Node::Entry& token : tokens->entries) check_token_entry(token, context);
  }
  if (padding != nullptr && !(padding->is_scalar() && parse_integer(padding->text).value_or(0) > 0)) {
    context.diagnostics.error(padding->place, "`pad_to_multiple_of` must be an integer > 0");
  }
  const bool has_tokens = tokens != nullptr && !(tokens->is_map() && tokens->entries.empty());
  if (is_base && !has_tokens && padding == nullptr) {
    accept_base_tokenizer(entry.key_place, context);
  } else {
    context.report_later(entry.key_place, fmt::format("{} (`tokenizer`)", kBuildTokenizer), std::string(kTokenizerHint));
  }
}

void check_chat_template(const Node::Entry& entry, BindContext& context) {
  if (!entry.value.is_scalar()) {
    context.diagnostics.error(entry.value.place, fmt::format("`chat_template` must be a text, not {}", describe(entry.value)));
    return;
  }
  context.report_later(entry.key_place, "setting a chat template (`chat_template`)",
                       "leave it out: the chat template of the base model is copied");
}

void check_name(const Node::Entry& entry, BindContext& context) {
  if (!entry.value.is_scalar()) {
    context.diagnostics.error(entry.value.place, fmt::format("`name` must be a text, not {}", describe(entry.value)));
    return;
  }
  if (context.options.count == RecipeCount::kSeveral) return;
  context.report_ignored("name", entry.key_place, "`name` belongs to files with several merges (crucible multi); this file has one", "",
                         "remove it");
}

void check_residual_weight(const Node::Entry& entry, BindContext& context) {
  context.report_ignored("residual_weight", entry.key_place, "`residual_weight` has no meaning", "no merge method uses it", "remove it");
}

void check_reference(const ModelRef& reference, BindContext& context) {
  if (reference.lora) {
    context.report_later(reference.place, fmt::format("LoRA adapters (`{}`)", printable(reference.text())),
                         "merge the adapter into its model first; a path that holds `+` is written {model: {path: \"...\"}}");
  }
  if (!reference.override_architecture.empty()) {
    context.report_later(reference.place, "`override_architecture`", "leave it out: the architecture is read from the tensors");
  }
}

}  // namespace crucible
