// What the tokenizer files of a model folder say about its vocabulary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace crucible {

struct TokenizerFacts {
  std::string file;           // that the facts are from: "tokenizer.json"
  std::int64_t size = 0;      // largest token id + 1, added tokens included
  std::string vocabulary_id;  // hash of all (token, id) pairs: equal for equal vocabularies, whatever file they stand in
};

// Reads tokenizer.json (BPE, WordPiece, WordLevel, Unigram), else vocab.json or vocab.txt, with added_tokens.json and the
// added_tokens_decoder of tokenizer_config.json. Empty when there is no such file or it cannot be read: nothing is known then.
std::optional<TokenizerFacts> read_tokenizer_facts(const std::string& folder);

}  // namespace crucible
