// Parts of tensor names and what they stand for: data, read by src/arch/roles.cpp only.
#pragma once

#include <array>
#include <string_view>

namespace crucible {

enum class Block { kNone, kAttention, kMlp, kExpert, kSharedExpert, kRouter, kSsm, kEmbedding, kHead, kOtherHead, kBuffer };

// A part that names a block of the network: what is below it belongs to the block.
struct BlockPart {
  std::string_view part;
  Block block;
};
inline constexpr std::array kBlockParts = {
    BlockPart{"self_attn", Block::kAttention},
    BlockPart{"attn", Block::kAttention},
    BlockPart{"attention", Block::kAttention},
    BlockPart{"self_attention", Block::kAttention},
    BlockPart{"SelfAttention", Block::kAttention},
    BlockPart{"EncDecAttention", Block::kAttention},
    BlockPart{"LocalSelfAttention", Block::kAttention},
    BlockPart{"TransientGlobalSelfAttention", Block::kAttention},
    BlockPart{"encoder_attn", Block::kAttention},
    BlockPart{"cross_attn", Block::kAttention},
    BlockPart{"crossattention", Block::kAttention},
    BlockPart{"cross_attention", Block::kAttention},
    BlockPart{"rel_attn", Block::kAttention},
    BlockPart{"attn1", Block::kAttention},
    BlockPart{"attn2", Block::kAttention},
    BlockPart{"to_q", Block::kAttention},
    BlockPart{"to_k", Block::kAttention},
    BlockPart{"to_v", Block::kAttention},
    BlockPart{"relative_attention_bias", Block::kAttention},
    BlockPart{"mlp", Block::kMlp},
    BlockPart{"ffn", Block::kMlp},
    BlockPart{"feed_forward", Block::kMlp},
    BlockPart{"feedforward", Block::kMlp},
    BlockPart{"DenseReluDense", Block::kMlp},
    BlockPart{"ff", Block::kMlp},
    BlockPart{"block_sparse_moe", Block::kMlp},
    BlockPart{"moe", Block::kMlp},
    BlockPart{"experts", Block::kExpert},
    BlockPart{"expert", Block::kExpert},
    BlockPart{"shared_expert", Block::kSharedExpert},
    BlockPart{"shared_experts", Block::kSharedExpert},
    BlockPart{"shared_mlp", Block::kSharedExpert},
    BlockPart{"router", Block::kRouter},
    BlockPart{"shared_expert_gate", Block::kRouter},
    BlockPart{"e_score_correction_bias", Block::kRouter},
    BlockPart{"expert_bias", Block::kRouter},
    BlockPart{"mamba", Block::kSsm},
    BlockPart{"mamba_decoder", Block::kSsm},
    BlockPart{"ssm", Block::kSsm},
    BlockPart{"linear_attn", Block::kSsm},
    BlockPart{"rg_lru", Block::kSsm},
    BlockPart{"short_conv", Block::kSsm},
    BlockPart{"lm_head", Block::kHead},
    BlockPart{"lm_heads", Block::kHead},
    BlockPart{"embed_out", Block::kHead},
    BlockPart{"output_layer", Block::kHead},
    BlockPart{"vocab_projector", Block::kHead},
    BlockPart{"generator_lm_head", Block::kHead},
    BlockPart{"classifier", Block::kOtherHead},
    BlockPart{"classification_head", Block::kOtherHead},
    BlockPart{"score", Block::kOtherHead},
    BlockPart{"qa_outputs", Block::kOtherHead},
    BlockPart{"pooler", Block::kOtherHead},
    BlockPart{"cls", Block::kOtherHead},
    BlockPart{"predictions", Block::kOtherHead},
    BlockPart{"vocab_transform", Block::kOtherHead},
    BlockPart{"discriminator_predictions", Block::kOtherHead},
    BlockPart{"generator_predictions", Block::kOtherHead},
    BlockPart{"seq_relationship", Block::kOtherHead},
    BlockPart{"mask_predictions", Block::kOtherHead},
    BlockPart{"v_head", Block::kOtherHead},
    BlockPart{"inv_freq", Block::kBuffer},
    BlockPart{"position_ids", Block::kBuffer},
    BlockPart{"masked_bias", Block::kBuffer},
    BlockPart{"rotary_emb", Block::kBuffer},
    BlockPart{"relative_position_index", Block::kBuffer},
    BlockPart{"num_batches_tracked", Block::kBuffer},
    BlockPart{"running_mean", Block::kBuffer},
    BlockPart{"running_var", Block::kBuffer},
    BlockPart{"wte", Block::kEmbedding},
    BlockPart{"wpe", Block::kEmbedding},
    BlockPart{"shared", Block::kEmbedding},
};

// A part that names one matrix. `alone` is the block where no other part names one; the other two are what it is inside of a block.
struct LeafPart {
  std::string_view part;
  Block alone;
  std::string_view in_attention;
  std::string_view in_mlp;
};
inline constexpr std::array kLeafParts = {
    LeafPart{"q_proj", Block::kAttention, "q", ""},
    LeafPart{"k_proj", Block::kAttention, "k", ""},
    LeafPart{"v_proj", Block::kAttention, "v", ""},
    LeafPart{"o_proj", Block::kAttention, "o", ""},
    LeafPart{"wq", Block::kAttention, "q", ""},
    LeafPart{"wk", Block::kAttention, "k", ""},
    LeafPart{"wv", Block::kAttention, "v", ""},
    LeafPart{"query", Block::kAttention, "q", ""},
    LeafPart{"key", Block::kAttention, "k", ""},
    LeafPart{"value", Block::kAttention, "v", ""},
    LeafPart{"query_proj", Block::kAttention, "q", ""},
    LeafPart{"key_proj", Block::kAttention, "k", ""},
    LeafPart{"value_proj", Block::kAttention, "v", ""},
    LeafPart{"q_lin", Block::kAttention, "q", ""},
    LeafPart{"k_lin", Block::kAttention, "k", ""},
    LeafPart{"v_lin", Block::kAttention, "v", ""},
    LeafPart{"out_lin", Block::kAttention, "o", ""},
    LeafPart{"to_q", Block::kAttention, "q", ""},
    LeafPart{"to_k", Block::kAttention, "k", ""},
    LeafPart{"to_v", Block::kAttention, "v", ""},
    LeafPart{"to_out", Block::kAttention, "o", ""},
    LeafPart{"q_a_proj", Block::kAttention, "q", ""},
    LeafPart{"q_b_proj", Block::kAttention, "q", ""},
    LeafPart{"kv_a_proj_with_mqa", Block::kAttention, "kv", ""},
    LeafPart{"kv_b_proj", Block::kAttention, "kv", ""},
    LeafPart{"kv_proj", Block::kAttention, "kv", ""},
    LeafPart{"qkv_proj", Block::kAttention, "qkv", ""},
    LeafPart{"qkv", Block::kAttention, "qkv", ""},
    LeafPart{"Wqkv", Block::kAttention, "qkv", ""},
    LeafPart{"wqkv", Block::kAttention, "qkv", ""},
    LeafPart{"W_pack", Block::kAttention, "qkv", ""},
    LeafPart{"query_key_value", Block::kAttention, "qkv", ""},
    LeafPart{"c_attn", Block::kAttention, "qkv", ""},
    LeafPart{"att_proj", Block::kAttention, "qkv", ""},
    LeafPart{"attn_out", Block::kAttention, "o", ""},
    LeafPart{"in_proj_weight", Block::kAttention, "qkv", ""},
    LeafPart{"in_proj_bias", Block::kAttention, "qkv", ""},
    LeafPart{"sinks", Block::kAttention, "", ""},
    LeafPart{"q", Block::kNone, "q", ""},
    LeafPart{"k", Block::kNone, "k", ""},
    LeafPart{"v", Block::kNone, "v", ""},
    LeafPart{"o", Block::kNone, "o", ""},
    LeafPart{"out", Block::kNone, "o", "down"},
    LeafPart{"dense", Block::kNone, "o", ""},
    LeafPart{"proj", Block::kNone, "o", ""},
    LeafPart{"out_proj", Block::kNone, "o", "down"},
    LeafPart{"c_proj", Block::kNone, "o", "down"},
    LeafPart{"wo", Block::kNone, "o", "down"},
    LeafPart{"in_proj", Block::kNone, "qkv", "up"},
    LeafPart{"output", Block::kMlp, "", "down"},
    LeafPart{"intermediate", Block::kMlp, "", "up"},
    LeafPart{"gate_proj", Block::kMlp, "", "gate"},
    LeafPart{"up_proj", Block::kMlp, "", "up"},
    LeafPart{"down_proj", Block::kMlp, "", "down"},
    LeafPart{"gate_up_proj", Block::kMlp, "", "gate_up"},
    LeafPart{"gate", Block::kNone, "", "gate"},
    LeafPart{"up", Block::kNone, "", "up"},
    LeafPart{"down", Block::kNone, "", "down"},
    LeafPart{"w1", Block::kMlp, "", "gate"},
    LeafPart{"w2", Block::kMlp, "", "down"},
    LeafPart{"w3", Block::kMlp, "", "up"},
    LeafPart{"wi", Block::kMlp, "", "up"},
    LeafPart{"wi_0", Block::kMlp, "", "gate"},
    LeafPart{"wi_1", Block::kMlp, "", "up"},
    LeafPart{"Wi", Block::kMlp, "", "gate_up"},
    LeafPart{"Wo", Block::kNone, "o", "down"},
    LeafPart{"fc1", Block::kMlp, "", "up"},
    LeafPart{"fc2", Block::kMlp, "", "down"},
    LeafPart{"fc_in", Block::kMlp, "", "up"},
    LeafPart{"fc_out", Block::kMlp, "", "down"},
    LeafPart{"c_fc", Block::kMlp, "", "up"},
    LeafPart{"c_fc_0", Block::kMlp, "", "gate"},
    LeafPart{"c_fc_1", Block::kMlp, "", "up"},
    LeafPart{"lin1", Block::kMlp, "", "up"},
    LeafPart{"lin2", Block::kMlp, "", "down"},
    LeafPart{"linear_fc1", Block::kMlp, "", "up"},
    LeafPart{"linear_fc2", Block::kMlp, "", "down"},
    LeafPart{"dense_h_to_4h", Block::kMlp, "", "up"},
    LeafPart{"dense_4h_to_h", Block::kMlp, "", "down"},
    LeafPart{"ff_proj", Block::kMlp, "", "gate_up"},
    LeafPart{"ff_out", Block::kMlp, "", "down"},
    LeafPart{"input_linear", Block::kMlp, "", "gate_up"},
    LeafPart{"output_linear", Block::kMlp, "", "down"},
    LeafPart{"up_gate_proj", Block::kMlp, "", "gate_up"},
};

// Tensors that state space blocks alone have: what lies beside one belongs to such a block too.
inline constexpr std::array<std::string_view, 7> kSsmMarks = {"A_log",   "dt_proj",    "x_proj",      "conv1d",
                                                              "dt_bias", "time_decay", "time_mix_key"};

// Last parts that are tensors, not modules.
inline constexpr std::array<std::string_view, 2> kTensorParts = {"weight", "bias"};
// Norms by another name than one with "norm".
inline constexpr std::array<std::string_view, 10> kNormParts = {"ln",   "ln1",    "ln2",     "ln_1", "ln_2",
                                                                "ln_f", "ln_pre", "ln_post", "ln_q", "ln_attn"};
// Norms that stand before the layers.
inline constexpr std::array<std::string_view, 6> kEarlyNormWords = {"embed",         "pre_layernorm", "pre_layrnorm",
                                                                    "layernorm_pre", "ln_pre",        "norm_pre"};
// Parts of extra prediction layers.
inline constexpr std::array<std::string_view, 8> kExtraWords = {"mtp",     "mtp_layers", "mtp_block", "nextn",
                                                                "eh_proj", "enorm",      "hnorm",     "shared_head"};

}  // namespace crucible
