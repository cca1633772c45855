// Where each value of a JSON text stands, so that one value can be replaced and every other byte kept. Python's NaN, Infinity and
// -Infinity count as values, and a byte-order mark in front is skipped: transformers writes and reads both.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crucible {

struct JsonEntry;

// One value: text.substr(begin, end - begin).
struct JsonSpan {
  enum class Kind { kObject, kList, kString, kOther };  // kOther: number, true, false, null, NaN, Infinity
  Kind kind = Kind::kOther;
  std::size_t begin = 0;
  std::size_t end = 0;
  std::vector<JsonEntry> entries;  // of an object, in file order
  std::vector<JsonSpan> items;     // of a list

  // The value of a key, the last one where a key stands twice (the one that parsers keep); null when absent.
  const JsonSpan* find(std::string_view key) const noexcept;
  std::string_view in(std::string_view text) const noexcept { return text.substr(begin, end - begin); }
};

struct JsonEntry {
  std::string key;  // escapes resolved
  std::size_t key_begin = 0;
  std::size_t key_end = 0;
  JsonSpan value;
};

// Python's literals replaced by null, and the byte-order mark removed: what standard parsers read.
std::string to_standard_json(std::string_view text);

// The spans of a text, or why it is no JSON (`problem`). Limits: 128 levels.
std::optional<JsonSpan> find_json_spans(std::string_view text, std::string& problem);

}  // namespace crucible
