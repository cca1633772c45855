// Small text helpers that every floor may need.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crucible {

// The candidate nearest to `name` by edit distance (case, '-' and '_' count as equal), if it is near enough to be a likely typo.
std::optional<std::string> nearest_name(std::string_view name, const std::vector<std::string>& candidates);

// Is the text one of a list of texts?
template <typename List>
bool is_one_of(std::string_view text, const List& list) noexcept {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// "a", "a and b", "a, b and c"; past `most` items: "a, b and 7 more".
std::string join_names(const std::vector<std::string>& names, std::size_t most = 8);

// Control bytes and invalid UTF-8 escaped as \xNN, cut to `most` bytes with "...": safe to print on a terminal.
std::string printable(std::string_view text, std::size_t most = 120);

// Is the text valid UTF-8 (no overlong forms, no surrogates)?
bool is_valid_utf8(std::string_view text) noexcept;

// Shortest decimal text that reads back as the same double ("0.3", "1e-05").
std::string render_number(double value);

// Locale-independent; the whole text must be a finite decimal number (YAML core schema: "1e-10", ".5", "+3").
std::optional<double> parse_number(std::string_view text) noexcept;
std::optional<std::int64_t> parse_integer(std::string_view text) noexcept;

}  // namespace crucible
