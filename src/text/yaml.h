// YAML text -> Node trees (yaml-cpp does the scanning). Hostile input is bounded: size, depth, node count, alias expansion.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crucible/error.h"
#include "text/node.h"

namespace crucible {

struct YamlLimits {
  std::size_t bytes = 16u << 20;
  int depth = 64;
  std::size_t nodes = 1u << 20;  // after alias expansion
};

// All documents of the text. Every problem (bad syntax, duplicate key, tag, non-scalar key, cyclic or exploding alias, invalid
// UTF-8, too large) goes to `diagnostics` with file:line:column and the source line; after a syntax error nothing is returned.
// Accepts a byte order mark, CRLF, leading blank lines, documents indented as a whole, "---" and "...", anchors and merge keys ("<<").
std::vector<Node> parse_yaml(std::string_view text, const std::string& file, Diagnostics& diagnostics, const YamlLimits& limits = {});

// Line `line` (1-based) of a text, without its line end.
std::string line_of(std::string_view text, int line);

}  // namespace crucible
