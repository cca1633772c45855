#include "arch/vocabulary.h"

#include <gtest/gtest.h>

namespace crucible {
namespace {

VocabularyFacts facts_about(const std::vector<std::pair<std::string, Shape>>& tensors, const std::string& config) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, shape] : tensors) infos.push_back({name, DType::kBF16, shape});
  std::vector<const TensorInfo*> pointers;
  for (const TensorInfo& t : infos) pointers.push_back(&t);
  return vocabulary_of(pointers, config);
}

TEST(Vocabulary, EmbeddingAndHeadOfADecoder) {
  const auto f =
      facts_about({{"model.embed_tokens.weight", {50, 8}}, {"model.layers.0.mlp.up_proj.weight", {50, 8}}, {"lm_head.weight", {50, 8}}},
                  R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 50, "tie_word_embeddings": false})");
  EXPECT_EQ(f.embedding, "model.embed_tokens.weight");
  EXPECT_EQ(f.head, "lm_head.weight");
  EXPECT_EQ(f.rows, 50);
  EXPECT_EQ(f.config_size, 50);
  EXPECT_EQ(f.config_tied, false);
  EXPECT_FALSE(f.is_tied());
}

TEST(Vocabulary, AHeadThatIsNotStoredIsTiedUnlessTheConfigSaysNo) {
  const std::vector<std::pair<std::string, Shape>> tensors = {{"transformer.wte.weight", {50, 8}}, {"transformer.wpe.weight", {64, 8}}};
  const auto f = facts_about(tensors, R"({"architectures": ["GPT2LMHeadModel"], "vocab_size": 50})");
  EXPECT_EQ(f.embedding, "transformer.wte.weight");
  EXPECT_TRUE(f.is_tied());
  EXPECT_FALSE(f.is_tied_for_sure());
  EXPECT_TRUE(facts_about(tensors, R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"})").is_tied_for_sure());
  EXPECT_FALSE(facts_about(tensors, R"({"architectures": ["GPT2Model"]})").is_tied());
  EXPECT_FALSE(facts_about(tensors, R"({"architectures": ["GPT2LMHeadModel"], "tie_word_embeddings": false})").is_tied());
  EXPECT_TRUE(facts_about(tensors, R"({"tie_word_embeddings": true})").is_tied());
}

TEST(Vocabulary, LayersOfAHeadAreNotTheProjection) {
  const auto f = facts_about({{"roberta.embeddings.word_embeddings.weight", {50, 8}},
                              {"roberta.embeddings.position_embeddings.weight", {64, 8}},
                              {"lm_head.dense.weight", {8, 8}},
                              {"lm_head.bias", {50}}},
                             R"({"architectures": ["RobertaForMaskedLM"], "vocab_size": 50, "tie_word_embeddings": true})");
  EXPECT_EQ(f.head, "");
  EXPECT_TRUE(f.is_tied());
}

TEST(Vocabulary, AHeadMayBePaddedOtherwiseThanTheEmbedding) {
  const auto f = facts_about({{"model.embed_tokens.weight", {96, 32}}, {"lm_head.weight", {128, 32}}}, "{}");
  EXPECT_EQ(f.head, "lm_head.weight");
  EXPECT_FALSE(f.is_tied());
}

TEST(Vocabulary, TheTextModelOfAVisionLanguageModel) {
  const auto f = facts_about({{"model.language_model.embed_tokens.weight", {50, 8}},
                              {"model.visual.pos_embed.weight", {900, 8}},
                              {"model.visual.patch_embed.proj.weight", {8, 48}}},
                             R"({"architectures": ["Qwen3VLForConditionalGeneration"], "tie_word_embeddings": true,
                                 "text_config": {"vocab_size": 50, "tie_word_embeddings": true}, "vision_config": {"depth": 2}})");
  EXPECT_EQ(f.embedding, "model.language_model.embed_tokens.weight");
  EXPECT_EQ(f.size_path, "text_config.vocab_size");
  EXPECT_EQ(f.tied_paths, (std::vector<std::string>{"tie_word_embeddings", "text_config.tie_word_embeddings"}));
}

TEST(Vocabulary, TheSharedEmbeddingOfAnEncoderDecoder) {
  const auto f =
      facts_about({{"decoder.embed_tokens.weight", {50, 8}}, {"encoder.embed_tokens.weight", {50, 8}}, {"shared.weight", {50, 8}}},
                  R"({"architectures": ["T5ForConditionalGeneration"], "vocab_size": 50})");
  EXPECT_NE(f.embedding, "");
  EXPECT_EQ(f.rows, 50);
}

}  // namespace
}  // namespace crucible
