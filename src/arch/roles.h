// What each tensor of a network is for, and why we think so: from its name, its shape and config.json together.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "arch/towers.h"
#include "crucible/tensor.h"

namespace crucible {

// A role is a path: a group ("attention") or a part of one ("attention.q"). Traits stand beside it.
struct TensorRole {
  std::string path = "other";
  std::string why;                // "name part `q_proj`", "shape [vocab_size, hidden_size] outside the layers"
  Tower tower = Tower::kNone;     // trait: belongs to a tower or to what connects it
  bool is_bias = false;           // trait
  bool is_extra = false;          // trait: of extra prediction layers (MTP)
  bool is_before_layers = false;  // outside the layers: comes before them (embeddings, towers), not after (final norm, head)

  std::string_view group() const noexcept { return std::string_view(path).substr(0, path.find('.')); }
  // "attention.q", "norm, vision, bias": the path and the traits.
  std::string text() const;
};

// The groups, in the order of a forward pass: "embedding", "attention", ..., "other".
const std::vector<std::string_view>& role_groups();

// What may stand after `role:` in a filter: groups, their parts, and the traits (bias, vision, audio, projector, mtp).
const std::vector<std::string>& role_words();

// Is the tensor of this role? A group matches all its parts; a trait matches whatever the path is.
bool role_matches(const TensorRole& role, std::string_view word) noexcept;

// Roles of all tensors of one model, in their order. Names decide first, by a table of their parts; where a name says nothing, shapes and
// config.json do (made-up names). `config_text` may be empty.
std::vector<TensorRole> infer_roles(const std::vector<const TensorInfo*>& tensors, const std::string& config_text);

// The same from the name alone, for one tensor without its model.
TensorRole role_of_name(std::string_view tensor_name);

// Outside the layers: does the tensor come before them, or after?
bool comes_before_layers(std::string_view tensor_name);

}  // namespace crucible
