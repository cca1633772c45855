// A YAML document as a tree that remembers where everything stood.
// Scalars stay text: what a text means ("1e-10", "yes") is decided by the field it is bound to, not by the parser.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crucible/error.h"

namespace crucible {

struct Node {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  struct Entry;  // key and value of a map, in file order

  Kind kind = Kind::kNull;
  Place place;                 // of the first character
  std::string text;            // kScalar: the value
  bool quoted = false;         // kScalar: was written in quotes, so it is never a number, a boolean or null
  std::vector<Node> items;     // kSequence
  std::vector<Entry> entries;  // kMap; keys are unique

  bool is_null() const noexcept { return kind == Kind::kNull; }
  bool is_scalar() const noexcept { return kind == Kind::kScalar; }
  bool is_sequence() const noexcept { return kind == Kind::kSequence; }
  bool is_map() const noexcept { return kind == Kind::kMap; }
  const Node* find(std::string_view key) const noexcept;  // kMap: the value of a key, or null
};

struct Node::Entry {
  std::string key;
  Place key_place;
  Node value;
};

// "a number", "a list", "a mapping", "nothing": for messages.
std::string_view describe(const Node& node) noexcept;

}  // namespace crucible
