// Byte offsets of a text -> lines and columns, in constant time also on very long lines.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/error.h"

namespace crucible {

// The first control character other than tab and line ends (U+0000 to U+001F, U+007F to U+009F without U+0085).
std::optional<std::size_t> find_control(std::string_view text) noexcept;

// The text after its byte-order mark, if it has one: lines and columns are counted from there.
std::string_view without_byte_order_mark(std::string_view text) noexcept;

class LineIndex {
 public:
  // Lines end with "\n", "\r\n" or a lone "\r". The text must outlive the index; bytes that are no UTF-8 make columns inexact only.
  explicit LineIndex(std::string_view text);

  // 1-based; columns count characters. An offset past the end is the end.
  Place place_at(std::size_t offset, const std::string& file) const;

  // Line `line` (1-based) without its line end; empty when there is none.
  std::string_view line(int line) const;

  // The line of a place, fit to stand above a caret: long lines are cut, and left out when the caret would stand beyond the cut or when
  // a terminal should not see them.
  std::string line_shown(const Place& place) const;

 private:
  std::size_t chars_before(std::size_t offset) const;

  std::string_view text_;
  std::vector<std::size_t> starts_;          // of every line
  std::vector<std::size_t> chars_at_block_;  // characters before every kBlock bytes
};

}  // namespace crucible
