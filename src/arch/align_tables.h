// What names alone do not tell about the ways in which checkpoints are spelled. Facts of the field, as data.
#pragma once

#include <array>
#include <string_view>

namespace crucible::spelling {

// Components that training wrappers put into names (torch.compile, FSDP, activation checkpointing, PEFT's base layers).
inline constexpr std::array<std::string_view, 5> kWrappers = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
                                                              "base_layer", "_forward_module"};

// A component (or several) that stands for another; `within` must stand somewhere before it ("" = anywhere).
struct Alias {
  std::string_view legacy;
  std::string_view current;
  std::string_view within;
};
inline constexpr std::array kAliases = {
    Alias{"LayerNorm.gamma", "LayerNorm.weight", ""},
    Alias{"LayerNorm.beta", "LayerNorm.bias", ""},
    Alias{"layer_norm.gamma", "layer_norm.weight", ""},
    Alias{"layer_norm.beta", "layer_norm.bias", ""},
    Alias{"weight_g", "parametrizations.weight.original0", ""},
    Alias{"weight_v", "parametrizations.weight.original1", ""},
    Alias{"embed_out", "lm_head", ""},
    Alias{"backbone", "model", ""},
    Alias{"gate.moe_statics", "moe_statics", ""},
    Alias{"router.layer", "router", ""},
    Alias{"block_sparse_moe", "mlp", ""},
    Alias{"mlp.router", "mlp.gate", ""},
    Alias{"input_linear.weight", "experts.gate_up_proj", "mlp"},
    Alias{"output_linear.weight", "experts.down_proj", "mlp"},
    Alias{"w1", "gate_proj", "experts"},
    Alias{"w3", "up_proj", "experts"},
    Alias{"w2", "down_proj", "experts"},
};

// Tensors that are stored as one or apart. The parts follow each other along the first axis; with `each` once for every expert.
struct Fusion {
  std::string_view fused;
  std::array<std::string_view, 3> parts;  // unused ones are empty
  bool each = false;                      // parts have an expert index, the fused one an axis of experts before theirs
};
inline constexpr std::array kFusions = {
    Fusion{"experts.gate_up_proj", {"experts.#.gate_proj.weight", "experts.#.up_proj.weight", ""}, true},
    Fusion{"experts.down_proj", {"experts.#.down_proj.weight", "", ""}, true},
    Fusion{"experts.up_proj", {"experts.#.up_proj.weight", "", ""}, true},
    Fusion{"qkv_proj.weight", {"q_proj.weight", "k_proj.weight", "v_proj.weight"}},
    Fusion{"qkv_proj.bias", {"q_proj.bias", "k_proj.bias", "v_proj.bias"}},
    Fusion{"W_pack.weight", {"q_proj.weight", "k_proj.weight", "v_proj.weight"}},
    Fusion{"gate_up_proj.weight", {"gate_proj.weight", "up_proj.weight", ""}},
};

// Families whose stacked experts lie as [experts, in, out]: where in and out are equal, shapes cannot tell.
inline constexpr std::array<std::string_view, 6> kExpertsInOut = {"llama4",       "llama4_text",       "gpt_oss",
                                                                  "qwen3_vl_moe", "qwen3_vl_moe_text", "dbrx"};
// And as [experts, out, in].
inline constexpr std::array<std::string_view, 22> kExpertsOutIn = {
    "mixtral",  "minimax",   "minimax_m2",   "qwen2_moe",      "qwen3_moe",   "qwen3_next",   "deepseek_v2", "deepseek_v3",
    "glm4_moe", "glm4v_moe", "ernie4_5_moe", "hunyuan_v1_moe", "olmoe",       "flex_olmo",    "dots1",       "longcat_flash",
    "phimoe",   "jamba",     "lfm2_moe",     "solar_open",     "qwen3_5_moe", "glm4_moe_lite"};

// Ends of the names of buffers that every loader makes itself.
inline constexpr std::array<std::string_view, 7> kSpareBuffers = {"inv_freq",   "masked_bias", "position_ids",     "token_type_ids",
                                                                  "cos_cached", "sin_cached",  "original_inv_freq"};
// The same where they hold a causal mask: [1, 1, n, n].
inline constexpr std::array<std::string_view, 2> kMasks = {"attn.bias", "attention.bias"};

}  // namespace crucible::spelling
