// Model references: "path[@revision][+lora[@revision]]", or a mapping (mergekit's grammar; it has no escapes, the mapping form serves
// paths that hold '+' or '@').
#pragma once

#include <optional>
#include <string>

#include "crucible/error.h"
#include "text/node.h"

namespace crucible {

struct ModelPath {
  std::string path;      // a folder, or a Hub id "org/name"
  std::string revision;  // empty = none
  friend bool operator==(const ModelPath&, const ModelPath&) = default;
};

struct ModelRef {
  ModelPath model;
  std::optional<ModelPath> lora;
  std::string override_architecture;
  Place place;
  // The reference as text: the identity of the model (place aside), and the key of its random streams.
  std::string text() const;
  bool same_as(const ModelRef& other) const { return text() == other.text(); }
};

// What a model written as a text is: a reference, or the path of a weight file or folder, whatever characters it holds.
enum class PathForm { kReference, kPlain };

// Binds a scalar or a mapping {model: {path, revision}, lora: ..., override_architecture}. Problems go to `diagnostics`.
std::optional<ModelRef> parse_model_ref(const Node& node, Diagnostics& diagnostics, PathForm form = PathForm::kReference);

}  // namespace crucible
