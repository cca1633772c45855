// The embedding and the head of a network, and whether they are one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crucible/tensor.h"

namespace crucible {

struct VocabularyFacts {
  std::string embedding;  // tensor of the input token embedding, [rows, hidden]; empty when there is none
  std::string head;       // tensor of the output projection onto the vocabulary; empty when none is stored
  std::int64_t rows = 0;  // of the embedding, else of the head

  std::optional<std::int64_t> config_size;  // vocab_size of config.json
  std::string size_path;                    // where it stands: "vocab_size", "text_config.vocab_size"
  std::optional<bool> config_tied;          // tie_word_embeddings of config.json
  std::vector<std::string> tied_paths;      // where it stands; empty when it does not

  // config.json does not say whether the head is tied, and its family ties unless told otherwise.
  bool ties_by_default = false;

  // The architecture that config.json names computes logits over the vocabulary (ForCausalLM, LMHeadModel, ...).
  bool wants_head = false;

  // The head is the embedding: none is stored, and config.json says so, or names a class that needs one and does not say otherwise.
  bool is_tied() const noexcept { return !embedding.empty() && head.empty() && config_tied.value_or(wants_head); }
  // The same where another model has a head: a head that is merely lost must not pass for a tied one.
  bool is_tied_for_sure() const noexcept { return is_tied() && config_tied.value_or(ties_by_default); }
};

// From names, shapes and config.json (JSON text, may be empty).
VocabularyFacts vocabulary_of(const std::vector<const TensorInfo*>& tensors, const std::string& config_text);

}  // namespace crucible
