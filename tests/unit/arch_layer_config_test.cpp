#include "arch/layer_config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

SlicedStack stack_of(const std::string& config, std::int64_t layers, const std::string& key = "num_hidden_layers") {
  SlicedStack out{"m", config, {}, {}};
  out.stack.name = "model.layers";
  out.stack.layers = out.stack.indices = layers;
  out.stack.config_key = key;
  out.kinds.resize(static_cast<std::size_t>(layers));
  return out;
}

struct Result {
  Json config;
  LayerConfigAnswer answer;
};

Result adapt(const SlicedStack& donor, const std::vector<SlicedStack>& models, const std::vector<LayerSource>& layers) {
  Result out{{}, adapt_layer_config(donor, models, layers)};
  Diagnostics diagnostics;
  out.config = Json::parse(edit_config(donor.config_text, out.answer.changes, "config.json", diagnostics));
  EXPECT_FALSE(diagnostics.has_errors());
  return out;
}

Result adapt(const SlicedStack& donor, const std::vector<std::int64_t>& layers) {
  std::vector<LayerSource> sources;
  for (const std::int64_t l : layers) sources.push_back({0, l});
  return adapt(donor, {donor}, sources);
}

SlicedStack with_experts(SlicedStack stack, const std::vector<int>& layers) {
  for (const int l : layers) stack.kinds[static_cast<std::size_t>(l)].experts = true;
  return stack;
}

TEST(LayerConfig, CountsListsStringsAndNumbers) {
  const auto donor = stack_of(
      R"({"num_hidden_layers": 4, "eos_token_id": [1, 2, 3, 4], "conv_kernel_sizes": [5, 5, 5, 5], "layer_types": ["a", "b", "c", "d"],
      "nested": {"widths": [1, 2, 3, 4]}, "hybrid_override_pattern": "M*-M", "mlp_only_layers": [0, 3],
      "linear_attn_config": {"kda_layers": [1, 3]}, "moe_layers_enum": "1,2", "short": [1, 2]})",
      4);
  const Result r = adapt(donor, {3, 0, 0, 1, 2});
  EXPECT_EQ(r.config["num_hidden_layers"], 5);
  EXPECT_EQ(r.config["conv_kernel_sizes"].dump(), "[5,5,5,5]");
  EXPECT_EQ(r.config["layer_types"].dump(), R"(["d","a","a","b","c"])");
  EXPECT_EQ(r.config["nested"]["widths"].dump(), "[4,1,1,2,3]");
  EXPECT_EQ(r.config["hybrid_override_pattern"], "MMM*-");
  EXPECT_EQ(r.config["mlp_only_layers"].dump(), "[0,1,2]");
  EXPECT_EQ(r.config["linear_attn_config"]["kda_layers"].dump(), "[2,3,5]");
  EXPECT_EQ(r.config["moe_layers_enum"], "3,4");
  EXPECT_EQ(r.config["eos_token_id"].size(), 4U);
  EXPECT_EQ(r.config["short"].size(), 2U);
  EXPECT_TRUE(r.answer.errors.empty() && r.answer.notices.empty());
}

TEST(LayerConfig, EntriesComeFromTheModelOfTheLayer) {
  const auto donor = stack_of(R"({"num_hidden_layers": 2, "layer_types": ["a", "b"], "mlp_only_layers": [0]})", 2);
  auto other = stack_of(R"({"text_config": {"num_hidden_layers": 3, "layer_types": ["x", "y", "z"], "mlp_only_layers": [1, 2]}})", 3,
                        "text_config.num_hidden_layers");
  const Result r = adapt(donor, {donor, other}, {{0, 0}, {1, 2}, {1, 1}, {0, 1}});
  EXPECT_EQ(r.config["layer_types"].dump(), R"(["a","z","y","b"])");
  EXPECT_EQ(r.config["mlp_only_layers"].dump(), "[0,1,2]");

  other.config_text = R"({"text_config": {"num_hidden_layers": 3}})";
  const Result lacking = adapt(donor, {donor, other}, {{0, 0}, {1, 1}});
  EXPECT_EQ(lacking.config["layer_types"].dump(), R"(["a","b"])");
  ASSERT_EQ(lacking.answer.notices.size(), 1U);
  EXPECT_NE(lacking.answer.notices[0].find("layer_types"), std::string::npos);
  EXPECT_EQ(adapt(donor, {donor, other}, {{0, 0}, {1, 2}}).answer.errors.size(), 1U);
}

TEST(LayerConfig, OnlyTheStacksOwnPartChanges) {
  const auto donor = stack_of(R"({"text_config": {"num_hidden_layers": 2, "layer_types": ["a", "b"]}, "other": [1, 2],
      "vision_config": {"num_hidden_layers": 2, "kinds": [1, 2]}})",
                              2, "text_config.num_hidden_layers");
  const Result r = adapt(donor, {1, 1, 0});
  EXPECT_EQ(r.config["text_config"]["layer_types"].size(), 3U);
  EXPECT_EQ(r.config["other"].size(), 2U);
  EXPECT_EQ(r.config["vision_config"].dump(), R"({"num_hidden_layers":2,"kinds":[1,2]})");
}

TEST(LayerConfig, LeadingDenseLayers) {
  const auto donor = with_experts(stack_of(R"({"num_hidden_layers": 4, "first_k_dense_replace": 2})", 4), {2, 3});
  EXPECT_EQ(adapt(donor, {0, 1, 2, 3, 2}).config["first_k_dense_replace"], 2);
  EXPECT_EQ(adapt(donor, {1, 2, 3}).config["first_k_dense_replace"], 1);
  EXPECT_EQ(adapt(donor, {0, 1, 1}).config["first_k_dense_replace"], 3);
  const Result r = adapt(donor, {2, 0, 3});
  ASSERT_EQ(r.answer.errors.size(), 1U);
  EXPECT_NE(r.answer.errors[0].find("first_k_dense_replace"), std::string::npos);
  // A rule that does not describe the donor's own tensors is not understood.
  EXPECT_TRUE(adapt(with_experts(donor, {0}), {2, 0, 3}).answer.errors.empty());
}

TEST(LayerConfig, PeriodsAndOffsets) {
  const auto donor =
      with_experts(stack_of(R"({"num_hidden_layers": 6, "expert_layer_period": 2, "expert_layer_offset": 1})", 6), {1, 3, 5});
  EXPECT_EQ(adapt(donor, {0, 1, 2, 3}).answer.changes.size(), 1U);  // the count alone
  const Result moved = adapt(donor, {1, 2, 3});
  EXPECT_EQ(moved.config["expert_layer_period"], 2);
  EXPECT_EQ(moved.config["expert_layer_offset"], 0);
  EXPECT_EQ(adapt(donor, {1, 1, 0, 0}).answer.errors.size(), 1U);
}

TEST(LayerConfig, TheLastLayerIsTheLastAgain) {
  const auto donor = with_experts(stack_of(R"({"num_hidden_layers": 3, "moe_layer_interval": 1, "moe_layer_start_index": 1,
      "moe_layer_end_index": 2})",
                                           3),
                                  {1, 2});
  const Result r = adapt(donor, {0, 1, 2, 1, 2});
  EXPECT_EQ(r.config["moe_layer_end_index"], 4);
  EXPECT_EQ(r.config["moe_layer_start_index"], 1);
}

TEST(LayerConfig, SparseStepsAreToldByTheListOfDenseLayers) {
  const auto donor = with_experts(stack_of(R"({"num_hidden_layers": 4, "decoder_sparse_step": 2, "mlp_only_layers": []})", 4), {1, 3});
  const Result same = adapt(donor, {0, 1});
  EXPECT_EQ(same.config["decoder_sparse_step"], 2);
  const Result r = adapt(donor, {1, 0, 3});
  EXPECT_EQ(r.config["decoder_sparse_step"], 1);
  EXPECT_EQ(r.config["mlp_only_layers"].dump(), "[1]");
}

TEST(LayerConfig, RulesThatNoTensorShows) {
  const auto window = stack_of(R"({"num_hidden_layers": 4, "use_sliding_window": true, "max_window_layers": 2})", 4);
  EXPECT_EQ(adapt(window, {1, 2, 3}).config["max_window_layers"], 1);
  EXPECT_EQ(adapt(window, {2, 0}).answer.notices.size(), 1U);
  const auto off = stack_of(R"({"num_hidden_layers": 4, "use_sliding_window": false, "max_window_layers": 2})", 4);
  EXPECT_TRUE(adapt(off, {2, 0}).answer.notices.empty());
  const auto listed = stack_of(R"({"num_hidden_layers": 4, "sliding_window_pattern": 2, "layer_types": ["a", "b", "a", "b"]})", 4);
  EXPECT_TRUE(adapt(listed, {1, 1, 0}).answer.notices.empty()) << "the list goes first";
  const auto pattern = stack_of(R"({"num_hidden_layers": 6, "sliding_window_pattern": 3})", 6);
  EXPECT_EQ(adapt(pattern, {0, 1, 2, 0, 1, 2}).config["sliding_window_pattern"], 3);
  EXPECT_EQ(adapt(pattern, {1, 2, 4, 5}).config["sliding_window_pattern"], 2);
  EXPECT_EQ(adapt(pattern, {2, 0}).answer.notices.size(), 1U);
}

TEST(LayerConfig, RunsOfAttentionTypes) {
  const auto donor = stack_of(
      R"({"num_layers": 4, "attention_types": [[["global", "local"], 2]], "attention_layers": ["g", "l", "g", "l"]})", 4, "num_layers");
  const Result r = adapt(donor, {1, 1, 2});
  EXPECT_EQ(r.config["attention_types"].dump(), R"([[["local","local","global"],1]])");
  EXPECT_EQ(r.config["attention_layers"].dump(), R"(["l","l","g"])");
}

TEST(LayerConfig, ACountThatNoKeyHolds) {
  auto donor = stack_of("{}", 3, "");
  EXPECT_EQ(adapt_layer_config(donor, {donor}, {{0, 0}}).notices.size(), 1U);
  EXPECT_TRUE(adapt_layer_config(donor, {donor}, {{0, 0}, {0, 1}, {0, 2}}).notices.empty());
  // A list for each layer says it too.
  donor.config_text = R"({"layers_block_type": ["a", "b", "c"]})";
  const Result r = adapt(donor, {2, 1});
  EXPECT_EQ(r.config.dump(), R"({"layers_block_type":["c","b"]})");
  EXPECT_TRUE(r.answer.notices.empty());
}

}  // namespace
}  // namespace crucible
