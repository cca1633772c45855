#include "arch/roles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace crucible {
namespace {

TensorInfo info(const std::string& name, Shape shape = {8, 8}, DType dtype = DType::kF32) { return {name, dtype, std::move(shape)}; }

std::vector<TensorRole> roles_of(const std::vector<TensorInfo>& tensors, const std::string& config = {}) {
  std::vector<const TensorInfo*> all;
  for (const TensorInfo& t : tensors) all.push_back(&t);
  return infer_roles(all, config);
}

std::string role_of(const std::string& name, Shape shape = {12, 8}) { return roles_of({info(name, std::move(shape))})[0].text(); }

TEST(Roles, NamesOfFamilies) {
  struct Case {
    std::string name, role;
  };
  for (const Case& c : std::vector<Case>{
           {"model.embed_tokens.weight", "embedding"},
           {"transformer.wte.weight", "embedding"},
           {"bert.embeddings.position_embeddings.weight", "embedding"},
           {"shared.weight", "embedding"},
           {"lm_head.weight", "head"},
           {"output.weight", "head"},
           {"transformer.output_layer.weight", "head"},
           {"cls.predictions.decoder.weight", "head"},
           {"classifier.weight", "head.other"},
           {"score.weight", "head.other"},
           {"bert.pooler.dense.weight", "head.other"},
           {"model.norm.weight", "norm"},
           {"transformer.h.1.ln_1.weight", "norm"},
           {"bert.embeddings.LayerNorm.bias", "norm, bias"},
           {"model.layers.0.self_attn.q_proj.weight", "attention.q"},
           {"model.layers.0.self_attn.k_proj.bias", "attention.k, bias"},
           {"model.layers.0.self_attn.kv_b_proj.weight", "attention.kv"},
           {"transformer.h.0.attn.c_attn.weight", "attention.qkv"},
           {"transformer.h.0.attn.c_proj.weight", "attention.o"},
           {"transformer.h.0.mlp.c_proj.weight", "mlp.down"},
           {"bert.encoder.layer.0.attention.self.query.weight", "attention.q"},
           {"bert.encoder.layer.0.attention.output.dense.weight", "attention.o"},
           {"bert.encoder.layer.0.attention.output.LayerNorm.weight", "norm"},
           {"bert.encoder.layer.0.intermediate.dense.weight", "mlp.up"},
           {"bert.encoder.layer.0.output.dense.weight", "mlp.down"},
           {"decoder.block.0.layer.1.EncDecAttention.v.weight", "attention.v"},
           {"encoder.block.0.layer.1.DenseReluDense.wi_0.weight", "mlp.gate"},
           {"model.layers.0.attention.wq.weight", "attention.q"},
           {"model.layers.0.feed_forward.w2.weight", "mlp.down"},
           {"model.layers.0.mlp.gate_proj.weight", "mlp.gate"},
           {"model.layers.0.mlp.experts.3.gate_proj.weight", "expert.gate"},
           {"model.layers.0.block_sparse_moe.experts.3.w3.weight", "expert.up"},
           {"model.layers.0.block_sparse_moe.gate.weight", "router"},
           {"model.layers.0.mlp.shared_experts.down_proj.weight", "shared_expert.down"},
           {"model.layers.0.mlp.gate.e_score_correction_bias", "router, bias"},
           {"model.layers.0.mlp.gate_up_proj.weight", "mlp.gate_up"},
           {"visual.blocks.0.attn.qkv.weight", "attention.qkv, vision"},
           {"visual.patch_embed.proj.weight", "embedding, vision"},
           {"visual.merger.mlp.0.weight", "mlp, projector"},
           {"audio_tower.layers.0.fc1.weight", "mlp.up, audio"},
           {"backbone.layers.0.mixer.A_log", "ssm"},
           {"mtp.layers.0.self_attn.q_proj.weight", "attention.q, mtp"},
           {"model.layers.0.self_attn.rotary_emb.inv_freq", "buffer"},
       }) {
    EXPECT_EQ(role_of(c.name), c.role) << c.name;
  }
}

TEST(Roles, NeighboursTell) {
  // `gate` routes only where there are experts; what lies beside A_log is a state space block.
  const auto roles = roles_of({info("model.layers.0.mlp.gate.weight"), info("model.layers.0.mlp.experts.0.w1.weight"),
                               info("backbone.layers.1.mixer.A_log", {8}), info("backbone.layers.1.mixer.out_proj.weight"),
                               info("backbone.layers.2.mixer.q_proj.weight"), info("backbone.layers.1.mixer.norm.weight", {8})});
  EXPECT_EQ(roles[0].path, "router");
  EXPECT_EQ(roles[2].path, "ssm");
  EXPECT_EQ(roles[3].path, "ssm");
  EXPECT_EQ(roles[4].path, "attention.q");
  EXPECT_EQ(roles[5].path, "norm");
  EXPECT_EQ(roles_of({info("model.layers.0.mlp.gate.weight")})[0].path, "mlp.gate");
}

TEST(Roles, ShapesTell) {
  EXPECT_EQ(role_of("transformer.h.0.attn.bias", {1, 1, 8, 8}), "buffer");
  EXPECT_EQ(role_of("model.layers.0.mlp.gate_up_proj", {4, 8, 8}), "expert.gate_up");
  EXPECT_EQ(role_of("lm_head.dense.weight", {8, 8}), "head.other");
  EXPECT_EQ(roles_of({info("model.layers.0.mlp.count", {1}, DType::kI64)})[0].path, "buffer");
}

TEST(Roles, MadeUpNamesByShapeAndConfig) {
  const std::string config = R"({"vocab_size": 32, "hidden_size": 8, "intermediate_size": 20, "num_experts": 4})";
  const auto roles = roles_of(
      {info("alpha.weight", {32, 8}), info("beta.weight", {32, 8}), info("stack.0.a.weight", {20, 8}), info("stack.0.b.weight", {8, 20}),
       info("stack.0.c.weight", {8}), info("stack.0.d.weight", {4, 8}), info("stack.0.e", {4, 20, 8}), info("stack.0.f.weight", {3, 5})},
      config);
  std::vector<std::string> paths;
  for (const TensorRole& r : roles) paths.push_back(r.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"embedding", "head", "mlp", "mlp.down", "norm", "router", "expert", "other"}));
  EXPECT_EQ(roles[0].why, "shape [vocab_size, hidden_size] outside the layers");
  EXPECT_TRUE(roles[0].is_before_layers);
  EXPECT_FALSE(roles[1].is_before_layers);
  EXPECT_EQ(roles[7].why, "neither its name nor its shape tells");
}

TEST(Roles, ExtraLayersAreBeyondTheCount) {
  const std::vector<TensorInfo> tensors = {info("model.layers.0.mlp.up_proj.weight"), info("model.layers.1.mlp.up_proj.weight"),
                                           info("model.layers.2.mlp.up_proj.weight")};
  const auto roles = roles_of(tensors, R"({"num_hidden_layers": 2})");
  EXPECT_FALSE(roles[1].is_extra);
  EXPECT_TRUE(roles[2].is_extra);
}

TEST(Roles, Matching) {
  TensorRole role;
  role.path = "attention.q";
  role.tower = Tower::kVision;
  EXPECT_TRUE(role_matches(role, "attention"));
  EXPECT_TRUE(role_matches(role, "attention.q"));
  EXPECT_FALSE(role_matches(role, "attention.qkv"));
  EXPECT_FALSE(role_matches(role, "att"));
  EXPECT_TRUE(role_matches(role, "vision"));
  EXPECT_FALSE(role_matches(role, "bias"));
  role.path = "attention.qkv";
  EXPECT_FALSE(role_matches(role, "attention.q"));
}

TEST(Roles, EveryRoleThatIsInferredMayBeAskedFor) {
  const auto& words = role_words();
  for (const std::string name : {"lm_head.weight", "h.0.attn.c_attn.weight", "h.0.mlp.experts.gate_up_proj", "h.0.mamba.A_log", "x.y"}) {
    EXPECT_NE(std::find(words.begin(), words.end(), roles_of({info(name)})[0].path), words.end()) << name;
  }
}

TEST(Roles, BeforeAndAfterTheLayers) {
  for (const char* name : {"model.embed_tokens.weight", "bert.embeddings.LayerNorm.weight", "visual.post_layernorm.weight",
                           "transformer.rotary_pos_emb.inv_freq", "shared.weight"}) {
    EXPECT_TRUE(comes_before_layers(name)) << name;
  }
  for (const char* name : {"model.norm.weight", "lm_head.weight", "lm_head.layer_norm.weight", "bert.pooler.dense.weight", "score.weight",
                           "transformer.ln_f.bias", "cls.predictions.bias"}) {
    EXPECT_FALSE(comes_before_layers(name)) << name;
  }
}

}  // namespace
}  // namespace crucible
