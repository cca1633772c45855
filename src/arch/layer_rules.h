// Keys of config.json that speak of single layers: data, read by src/arch/layer_config.cpp only.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace crucible {

// Lists that are never one entry for each layer, however long they happen to be.
inline constexpr std::array<std::string_view, 35> kNoLayerLists = {"architectures",
                                                                   "eos_token_id",
                                                                   "bos_token_id",
                                                                   "pad_token_id",
                                                                   "sep_token_id",
                                                                   "bad_words_ids",
                                                                   "suppress_tokens",
                                                                   "begin_suppress_tokens",
                                                                   "mrope_section",
                                                                   "short_factor",
                                                                   "long_factor",
                                                                   "image_size",
                                                                   "patch_size",
                                                                   "time_step_limit",
                                                                   "dt_limit",
                                                                   "qkv_multipliers",
                                                                   "conv_dim",
                                                                   "conv_stride",
                                                                   "conv_kernel",
                                                                   "conv_kernel_sizes",
                                                                   "out_indices",
                                                                   "out_features",
                                                                   "stage_names",
                                                                   "depths",
                                                                   "vision_feature_layer",
                                                                   "image_grid_pinpoints",
                                                                   "image_mean",
                                                                   "image_std",
                                                                   "forced_decoder_ids",
                                                                   "classifier_proj_size",
                                                                   "labels",
                                                                   "keys_to_ignore_at_inference",
                                                                   "mamba_chunk_size",
                                                                   "feature_layers",
                                                                   "special_token_ids"};

// Lists that are always one entry for each layer: where no number says how many layers there are, they do.
inline constexpr std::array<std::string_view, 3> kLayerLists = {"layers_block_type", "layer_types", "block_configs"};

// Strings with one character for each layer.
inline constexpr std::array<std::string_view, 1> kLayerStrings = {"hybrid_override_pattern"};

// Lists of layer numbers. `base` is the number of the first layer.
struct IndexList {
  std::string_view key;
  std::int64_t base = 0;
};
inline constexpr std::array kIndexLists = {
    IndexList{"mlp_only_layers"},
    IndexList{"attn_layer_indices"},
    IndexList{"attn_layer_idx"},
    IndexList{"moe_layers"},
    IndexList{"moe_layer_indices"},
    IndexList{"moe_layers_enum"},
    IndexList{"full_attn_idxs"},
    IndexList{"cross_attention_layers"},
    IndexList{"hybrid_layer_ids"},
    IndexList{"global_attn_indexes"},
    IndexList{"global_attention_layers"},
    IndexList{"fullatt_block_indexes"},
    IndexList{"intermediate_layers_indices"},
    IndexList{"dense_layers"},
    IndexList{"dense_attention_layers"},
    IndexList{"swa_layers"},
    IndexList{"no_rope_layer_indices"},
    IndexList{"full_attn_layers", 1},
    IndexList{"kda_layers", 1},
};

// Numbers of the last layer to which something reaches: where that was the last of all, it is so again.
inline constexpr std::array<std::string_view, 1> kLastLayerKeys = {"moe_layer_end_index"};

// Tensors outside of the layers that hold a part for every layer.
inline constexpr std::array<std::string_view, 2> kTensorsOfAllLayers = {"embed_tokens_per_layer", "per_layer_model_projection"};

// What a rule decides of a layer.
enum class RuleOf {
  kExperts,    // its tensors show it
  kAttention,  // its tensors show it
  kBehaviour,  // nothing but config.json shows it
};

// A rule: the layers i of n for which `holds` is true. The first key must be a number in the config; the others have defaults.
struct LayerRule {
  std::string_view about;
  RuleOf of;
  std::array<std::string_view, 2> keys;
  std::int64_t second_default;     // of keys[1]
  std::int64_t least;              // of keys[0]
  std::string_view overridden_by;  // a list that a loader asks first
  std::string_view only_if;        // a key that must be true for the rule to have an effect
  bool (*holds)(std::int64_t first, std::int64_t second, std::int64_t i, std::int64_t n);
};

inline constexpr std::array kLayerRules = {
    LayerRule{"which layers are dense",
              RuleOf::kExperts,
              {"first_k_dense_replace", "moe_layer_freq"},
              1,
              0,
              "mlp_layer_types",
              "",
              [](std::int64_t k, std::int64_t f, std::int64_t i, std::int64_t) { return f > 0 && i >= k && i % f == 0; }},
    LayerRule{"which layers are dense",
              RuleOf::kExperts,
              {"num_dense_layers", ""},
              0,
              0,
              "mlp_layer_types",
              "",
              [](std::int64_t k, std::int64_t, std::int64_t i, std::int64_t) { return i >= k; }},
    LayerRule{"which layers have experts",
              RuleOf::kExperts,
              {"expert_layer_period", "expert_layer_offset"},
              0,
              1,
              "",
              "",
              [](std::int64_t p, std::int64_t o, std::int64_t i, std::int64_t) { return i % p == o; }},
    LayerRule{"which layers have experts",
              RuleOf::kExperts,
              {"interleave_moe_layer_step", ""},
              0,
              1,
              "moe_layers",
              "",
              [](std::int64_t s, std::int64_t, std::int64_t i, std::int64_t) { return (i + 1) % s == 0; }},
    LayerRule{"which layers have experts",
              RuleOf::kExperts,
              {"moe_layer_interval", "moe_layer_start_index"},
              0,
              1,
              "mlp_layer_types",
              "",
              [](std::int64_t s, std::int64_t b, std::int64_t i, std::int64_t) { return (i + 1) % s == 0 && i >= b; }},
    LayerRule{"which layers have attention",
              RuleOf::kAttention,
              {"attn_layer_period", "attn_layer_offset"},
              0,
              1,
              "layers_block_type",
              "",
              [](std::int64_t p, std::int64_t o, std::int64_t i, std::int64_t) { return i % p == o; }},
    LayerRule{"which layers have attention",
              RuleOf::kAttention,
              {"full_attention_interval", ""},
              0,
              1,
              "layer_types",
              "",
              [](std::int64_t s, std::int64_t, std::int64_t i, std::int64_t) { return (i + 1) % s == 0; }},
    LayerRule{"which layers attend to everything",
              RuleOf::kBehaviour,
              {"sliding_window_pattern", ""},
              0,
              1,
              "layer_types",
              "",
              [](std::int64_t s, std::int64_t, std::int64_t i, std::int64_t) { return (i + 1) % s == 0; }},
    LayerRule{"which layers attend to everything",
              RuleOf::kBehaviour,
              {"global_attn_every_n_layers", ""},
              0,
              1,
              "layer_types",
              "",
              [](std::int64_t s, std::int64_t, std::int64_t i, std::int64_t) { return i % s == 0; }},
    LayerRule{"which layers have a window",
              RuleOf::kBehaviour,
              {"max_window_layers", ""},
              0,
              0,
              "layer_types",
              "use_sliding_window",
              [](std::int64_t k, std::int64_t, std::int64_t i, std::int64_t) { return i >= k; }},
    LayerRule{"which layers have no rotary positions",
              RuleOf::kBehaviour,
              {"no_rope_layer_interval", ""},
              0,
              1,
              "no_rope_layers",
              "",
              [](std::int64_t s, std::int64_t, std::int64_t i, std::int64_t) { return (i + 1) % s == 0; }},
    LayerRule{"which layers share keys and values",
              RuleOf::kBehaviour,
              {"num_kv_shared_layers", ""},
              0,
              0,
              "",
              "",
              [](std::int64_t k, std::int64_t, std::int64_t i, std::int64_t n) { return i >= n - k; }},
};

}  // namespace crucible
