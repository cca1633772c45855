#include "arch/layers.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace crucible {
namespace {

using Names = std::vector<std::string>;

void add_layers(Names& names, const std::string& stack, int layers) {
  for (int i = 0; i < layers; ++i) names.push_back(stack + "." + std::to_string(i) + ".mlp.up_proj.weight");
}

Names layers_of(const std::string& stack, int layers) {
  Names names;
  add_layers(names, stack, layers);
  return names;
}

const LayerStack* named(const std::vector<LayerStack>& stacks, const std::string& name) {
  for (const LayerStack& s : stacks) {
    if (s.name == name) return &s;
  }
  return nullptr;
}

TEST(LayerStacks, CountKeysOfFamilies) {
  struct Case {
    std::string stack, config, key;
  };
  for (const Case& c : {Case{"model.layers", R"({"num_hidden_layers": 4})", "num_hidden_layers"},
                        Case{"transformer.h", R"({"n_layer": 4})", "n_layer"}, Case{"transformer.blocks", R"({"n_layers": 4})", "n_layers"},
                        Case{"transformer.encoder.layers", R"({"num_layers": 4})", "num_layers"},
                        Case{"model.encoder.layers", R"({"encoder_layers": 4, "decoder_layers": 9})", "encoder_layers"},
                        Case{"vit.encoder.layer", R"({"num_hidden_layers": 4})", "num_hidden_layers"},
                        Case{"visual.blocks", R"({"vision_config": {"depth": 4}, "num_hidden_layers": 3})", "vision_config.depth"},
                        Case{"thinker.model.layers", R"({"thinker_config": {"text_config": {"num_hidden_layers": 4}},
                                                         "talker_config": {"text_config": {"num_hidden_layers": 4}}})",
                             "thinker_config.text_config.num_hidden_layers"},
                        Case{"model.layers", R"({"bad": NaN, "num_hidden_layers": 4})", "num_hidden_layers"}}) {
    const auto stacks = find_layer_stacks(layers_of(c.stack, 4), c.config);
    ASSERT_EQ(stacks.size(), 1U) << c.stack;
    EXPECT_EQ(stacks[0].config_key, c.key) << c.stack;
    EXPECT_EQ(stacks[0].layers, 4);
  }
}

TEST(LayerStacks, AgreeWithTheIndicesThatExist) {
  // More than there are: another part's number. Less: extra prediction layers at the end.
  EXPECT_EQ(find_layer_stacks(layers_of("model.layers", 4), R"({"num_hidden_layers": 5})")[0].config_key, "");
  const auto extra = find_layer_stacks(layers_of("model.layers", 5), R"({"num_hidden_layers": 4, "num_nextn_predict_layers": 1})");
  EXPECT_EQ(extra[0].layers, 4);
  EXPECT_EQ(extra[0].indices, 5);
  EXPECT_EQ(find_layer_stacks(layers_of("model.layers", 4), "")[0].layers, 4);
}

TEST(LayerStacks, RunsOfIndicesOnly) {
  const Names names = {"visual.merger.mlp.0.weight", "visual.merger.mlp.2.weight", "proj.1.weight", "experts.0.w1", "experts.1.w1",
                       "mtp.layers.0.x.weight"};
  EXPECT_TRUE(find_layer_stacks(names, R"({"num_hidden_layers": 3})").empty());
  // Layers without tensors are layers where config.json counts them.
  Names holes = layers_of("model.layers", 8);
  holes.erase(holes.begin() + 3);
  EXPECT_TRUE(find_layer_stacks(holes, "").empty());
  EXPECT_EQ(find_layer_stacks(holes, R"({"num_hidden_layers": 8})").size(), 1U);
}

TEST(LayerStacks, ANumberBelongsToOneStack) {
  Names names = layers_of("model.language_model.layers", 2);
  add_layers(names, "model.visual.blocks", 2);
  add_layers(names, "model.visual.deepstack_merger_list", 3);
  const auto stacks = find_layer_stacks(names, R"({"text_config": {"num_hidden_layers": 2}, "vision_config": {"depth": 2}})");
  EXPECT_EQ(named(stacks, "model.language_model.layers")->config_key, "text_config.num_hidden_layers");
  EXPECT_TRUE(named(stacks, "model.language_model.layers")->is_main);
  EXPECT_EQ(named(stacks, "model.visual.blocks")->config_key, "vision_config.depth");
  EXPECT_EQ(named(stacks, "model.visual.deepstack_merger_list")->config_key, "");
  EXPECT_EQ(named(stacks, "model.visual.deepstack_merger_list")->layers, 3);
  EXPECT_EQ(named(stacks, "model.visual.deepstack_merger_list")->tower, Tower::kProjector);
}

TEST(LayerStacks, EncodersAndDecoders) {
  Names names = layers_of("encoder.block", 3);
  add_layers(names, "decoder.block", 3);
  auto stacks = find_layer_stacks(names, R"({"num_layers": 3, "num_decoder_layers": 3})");
  EXPECT_EQ(named(stacks, "encoder.block")->config_key, "num_layers");
  EXPECT_EQ(named(stacks, "decoder.block")->config_key, "num_decoder_layers");
  EXPECT_FALSE(named(stacks, "decoder.block")->is_main);

  names = layers_of("model.encoder.layers", 2);
  add_layers(names, "model.decoder.layers", 2);
  stacks = find_layer_stacks(names, R"({"decoder_layers": 2, "encoder_layers": 2, "num_hidden_layers": 2})");
  EXPECT_EQ(named(stacks, "model.encoder.layers")->config_key, "encoder_layers");
  EXPECT_EQ(named(stacks, "model.encoder.layers")->also_keys, Names{"num_hidden_layers"});
  EXPECT_EQ(named(stacks, "model.decoder.layers")->config_key, "decoder_layers");
  EXPECT_TRUE(named(stacks, "model.decoder.layers")->also_keys.empty());

  names = layers_of("encoder.encoder.layer", 2);
  add_layers(names, "decoder.bert.encoder.layer", 2);
  stacks = find_layer_stacks(names, R"({"decoder": {"num_hidden_layers": 2}, "encoder": {"num_hidden_layers": 2}})");
  EXPECT_EQ(named(stacks, "encoder.encoder.layer")->config_key, "encoder.num_hidden_layers");
  EXPECT_EQ(named(stacks, "decoder.bert.encoder.layer")->config_key, "decoder.num_hidden_layers");
}

TEST(LayerStacks, TheSameNumberUnderOtherNames) {
  const auto stacks = find_layer_stacks(layers_of("model.layers", 3), R"({"num_hidden_layers": 3, "n_layer": 3, "num_layers": 2,
                                                                          "text_config": {"num_hidden_layers": 3}})");
  std::vector<std::string> keys = stacks[0].also_keys;
  keys.push_back(stacks[0].config_key);
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys, (Names{"n_layer", "num_hidden_layers", "text_config.num_hidden_layers"}));
}

}  // namespace
}  // namespace crucible
