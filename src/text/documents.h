// A stream of YAML documents cut into its documents, each of which keeps its places.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crucible {

// The text of each document, with one empty line in the place of every line before it: a place in it is a place in the whole. Documents
// start at `---` and after `...`. Empty when the pieces would be far larger than the whole (a hostile number of documents).
std::optional<std::vector<std::string>> split_documents(std::string_view text);

// A text without the empty lines at its front.
std::string_view without_leading_lines(std::string_view text) noexcept;

}  // namespace crucible
