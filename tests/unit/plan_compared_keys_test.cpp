// Equal settings in other words have equal normalised values.
#include "plan/compared_keys.h"

#include <gtest/gtest.h>

namespace crucible {
namespace {

ComparedValues config(const std::string& text) { return compared_config(text).value(); }

TEST(ComparedKeys, SpellingsOfRope) {
  const ComparedValues old = config(R"({"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}})");
  const ComparedValues now = config(R"({"rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 10000}})");
  EXPECT_EQ(old, now);
  const ComparedValues gemma = config(R"({"rope_theta": 1e6, "rope_local_base_freq": 10000.0})");
  const ComparedValues by_layer =
      config(R"({"rope_parameters": {"full_attention": {"rope_theta": 1000000.0}, "sliding_attention": {"rope_theta": 10000.0}}})");
  EXPECT_EQ(gemma, by_layer);
}

TEST(ComparedKeys, SpellingsOfOthers) {
  EXPECT_EQ(config(R"({"torch_dtype": "float16"})"), config(R"({"dtype": "torch.float16"})"));
  EXPECT_EQ(config(R"({"eos_token_id": [7, 2, 7]})"), config(R"({"eos_token_id": [2, 7]})"));
  EXPECT_EQ(config(R"({"eos_token_id": [2]})"), config(R"({"eos_token_id": 2, "pad_token_id": null})"));
  EXPECT_EQ(config(R"({"rms_norm_eps": 1e-05})"), config(R"({"rms_norm_eps": 0.00001})"));
  EXPECT_EQ(config(R"({"text_config": {"hidden_act": "swish"}})"), config(R"({"hidden_act": "silu"})"));
  EXPECT_EQ(config(R"({"sliding_window": 4096, "use_sliding_window": false})"), config("{}"));
  EXPECT_NE(config(R"({"sliding_window": 4096, "use_sliding_window": true})"), config("{}"));
  EXPECT_NE(config(R"({"quantization_config": {"bits": 4}})"), config(R"({"quantization_config": {"bits": 8}})"));
}

TEST(ComparedKeys, WhatSaysNothingOfTheNetworkIsLeftOut) {
  EXPECT_EQ(config(R"({"_name_or_path": "x", "transformers_version": "5", "attention_dropout": 0.1, "num_hidden_layers": 3})"),
            config("{}"));
  EXPECT_EQ(compared_config(""), std::nullopt);
  EXPECT_EQ(compared_config("[1]"), std::nullopt);
  EXPECT_EQ(compared_config("{\"a\": NaN}"), std::nullopt);
}

TEST(ComparedKeys, TheTemplateThatCounts) {
  const std::string config_text = R"({"chat_template": "old"})";
  EXPECT_EQ(compared_chat_template("new\n", "", config_text), compared_chat_template("", R"({"chat_template": "new"})", config_text));
  EXPECT_EQ(compared_chat_template("old", "", ""), compared_chat_template("", "", config_text));
  EXPECT_EQ(compared_chat_template("", "", ""), std::nullopt);
  EXPECT_TRUE(compared_chat_template("", "", "{}")->empty());
}

TEST(ComparedKeys, WhatAbsenceMeans) {
  EXPECT_EQ(compared_key(kConfig, "rope.rope_theta").otherwise, "10000");
  EXPECT_TRUE(compared_key(kConfig, "eos_token_id").absent_is_a_value);
  EXPECT_FALSE(compared_key(kConfig, "some_new_key").absent_is_a_value);
  EXPECT_EQ(compared_key(kConfig, "some_new_key").kind, "other keys of config.json");
  EXPECT_EQ(compared_key(kConfig, "rope.beta_fast").kind, "rope settings");
}

}  // namespace
}  // namespace crucible
