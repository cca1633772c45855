// One network, two spellings: brings the tensor names of one checkpoint to those of another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "crucible/tensor.h"

namespace crucible {

// Consecutive elements of one tensor of the model that is brought over.
struct AlignedPiece {
  std::size_t tensor = 0;  // index into the list that was given
  std::int64_t begin = 0;  // first element
  std::int64_t count = 0;
};

struct AlignedTensor {
  TensorInfo info;  // name as the reference spells it
  std::vector<AlignedPiece> pieces;
  bool is_mapped = false;  // not simply stored under this name
};

// One difference that was explained, in words, with the number of tensors that it explains.
struct AlignedRule {
  std::string text;
  std::int64_t tensors = 0;
};

struct Alignment {
  std::vector<AlignedTensor> tensors;  // every tensor given, mapped or as it is; unsorted
  std::vector<AlignedRule> rules;      // empty: the two spell their names alike, as far as they have the same tensors
  std::vector<std::string> problems;   // explained, but it cannot be done: why
};

// Explains, in this order: legacy and alias names of single parts, a constant prefix (`model.`, `language_model.`) or suffix, experts
// stored one by one against stacked, and projections stored fused (qkv_proj, gate_up_proj) against apart, where the shapes prove it. What
// cannot be explained keeps its name. `model_type` (of config.json, may be empty) decides between layouts only where shapes cannot.
Alignment align_names(const std::vector<const TensorInfo*>& reference, const std::vector<const TensorInfo*>& other,
                      const std::string& model_type);

// A non-persistent buffer that some checkpoints carry and every loader can do without: rotary frequencies, causal masks, position ids.
bool is_spare_buffer(const TensorInfo& tensor);

}  // namespace crucible
