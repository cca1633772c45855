// What every report carries: style sheet and script.
#pragma once

#include <string_view>

namespace crucible {

extern const std::string_view kStyle;
extern const std::string_view kScript;
// Of kScript, as a content security policy takes it ("sha256-" and base64): nothing else on the page may run.
extern const std::string_view kScriptHash;

}  // namespace crucible
