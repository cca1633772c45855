// config.json edited by replacing single values in its text: order, unknown fields, the spelling of numbers, Python's NaN and
// Infinity, and the layout of everything else stay byte for byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/error.h"

namespace crucible {

// One value of config.json that a merge changes.
struct ConfigChange {
  std::string path;  // keys joined by dots, e.g. "text_config.num_hidden_layers"
  std::string json;  // the new value as JSON text
  std::string why;   // a few words for people
};

// A text as a JSON string, in quotes.
std::string json_string(std::string_view text);

// The JSON text of the value at a path, as the config spells it; empty when it is absent or the config is no JSON.
std::optional<std::string> config_value(std::string_view config_text, std::string_view path);

// What the type of all floating-point tensors changes in a config: `torch_dtype` or `dtype`, whichever it has (both if both), in nested
// configs too; a table of types by part gets the type in each row. A config that names no type gets `torch_dtype`.
// `dtype` is a torch name ("bfloat16"). Quantization settings have types of their own and are left alone.
enum class DtypeKey {
  kAddWhereAbsent,
  kOnlyWherePresent,  // a config that names no type stays as it is
};
std::vector<ConfigChange> dtype_changes(std::string_view config_text, std::string_view dtype, DtypeKey key = DtypeKey::kAddWhereAbsent);

// Those of the changes whose value differs from what the config says, each path once (of two for one path the later one stands).
std::vector<ConfigChange> effective_changes(std::string_view config_text, const std::vector<ConfigChange>& changes);

// The text with the named values replaced; absent keys are added at the end of their object, in its layout. Every other byte is as it
// was. A text that is no JSON object, and a path through something that is no object, are errors; the text is then returned unchanged.
// `name`: of the file, for messages.
std::string edit_config(const std::string& config_text, const std::vector<ConfigChange>& changes, const std::string& name,
                        Diagnostics& diagnostics);

}  // namespace crucible
