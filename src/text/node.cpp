#include "text/node.h"

namespace crucible {

const Node* Node::find(std::string_view key) const noexcept {
  for (const Entry& e : entries) {
    if (e.key == key) return &e.value;
  }
  return nullptr;
}

std::string_view describe(const Node& node) noexcept {
  switch (node.kind) {
    case Node::Kind::kNull: return "nothing";
    case Node::Kind::kSequence: return "a list";
    case Node::Kind::kMap: return "a mapping";
    case Node::Kind::kScalar: break;
  }
  if (node.quoted) return "a text";
  const bool digits = !node.text.empty() && node.text.find_first_not_of("0123456789.eE+-") == std::string::npos &&
                      node.text.find_first_of("0123456789") != std::string::npos;
  return digits ? "a number" : "a text";
}

}  // namespace crucible
