#include "arch/vocabulary.h"

#include <gtest/gtest.h>

namespace crucible {
namespace {

VocabularyFacts facts_of(std::vector<TensorInfo> tensors, const std::string& config) {
  std::vector<const TensorInfo*> pointers;
  for (const TensorInfo& t : tensors) pointers.push_back(&t);
  return vocabulary_of(pointers, config);
}

TensorInfo matrix(std::string name, std::int64_t rows, std::int64_t columns) { return {std::move(name), DType::kF32, {rows, columns}}; }

TEST(Vocabulary, ADenseLayerWithinAHeadIsNoHead) {
  const VocabularyFacts facts = facts_of({matrix("roberta.embeddings.word_embeddings.weight", 96, 32),
                                          matrix("lm_head.dense.weight", 32, 32),
                                          {"lm_head.bias", DType::kF32, {96}}},
                                         R"({"architectures": ["RobertaForMaskedLM"], "tie_word_embeddings": true})");
  EXPECT_EQ(facts.embedding, "roberta.embeddings.word_embeddings.weight");
  EXPECT_EQ(facts.head, "");
  EXPECT_TRUE(facts.is_tied());
}

TEST(Vocabulary, AHeadMayBePaddedOtherwiseThanTheEmbedding) {
  const VocabularyFacts facts = facts_of({matrix("model.embed_tokens.weight", 96, 32), matrix("lm_head.weight", 128, 32)}, "{}");
  EXPECT_EQ(facts.head, "lm_head.weight");
  EXPECT_FALSE(facts.is_tied());
}

}  // namespace
}  // namespace crucible
