#include "checkpoint/strict_json.h"

#include <utility>

#include <fmt/format.h>

#include "base/text_util.h"

namespace crucible {

std::string in_quotes(std::string_view name) { return '"' + printable(name) + '"'; }

void throw_json(std::string message) { throw Error(ErrorCode::kInput, std::move(message)); }

bool JsonReader::parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& problem) {
  // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ...": only the last part is news.
  std::string_view why = problem.what();
  if (const auto bracket = why.find("] "); bracket != std::string_view::npos) why.remove_prefix(bracket + 2);
  if (why.starts_with("parse error at")) {
    if (const auto colon = why.find(": "); colon != std::string_view::npos) why.remove_prefix(colon + 2);
  }
  throw_json(fmt::format("not valid JSON at byte {}: {}", position, printable(why, 200)));
}

bool JsonReader::enter() {
  if (++depth_ > depth_limit_) throw_json(fmt::format("nested deeper than {} levels", depth_limit_));
  return true;
}

void check_json_text(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) throw_json("starts with a byte-order mark");
  if (const auto nul = text.find('\0'); nul != std::string_view::npos)
    throw_json(fmt::format("not valid JSON: a NUL byte at byte {}", nul));
}

}  // namespace crucible
