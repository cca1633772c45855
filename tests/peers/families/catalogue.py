"""The model families of the table: how each is built tiny. Needs no package, so that a plain test can read the names."""
from dataclasses import dataclass, field

# Sizes by config key; a config class gets those that it has, and the same for the configs within it.
SMALL = dict(
    vocab_size=96, hidden_size=32, d_model=32, intermediate_size=48, ffn_dim=48, d_ff=48, num_hidden_layers=3, num_layers=3,
    num_decoder_layers=3, encoder_layers=2, decoder_layers=2, num_attention_heads=4, num_heads=4, encoder_attention_heads=4,
    decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_key_value_heads=2, head_dim=8, d_kv=8,
    max_position_embeddings=64, type_vocab_size=2, embedding_size=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    decoder_start_token_id=1, is_decoder=False,
    # mixtures of experts
    num_local_experts=4, num_experts=4, n_routed_experts=4, moe_num_experts=4, num_experts_per_tok=2, moe_k=2, moe_topk=2, moe_top_k=2,
    moe_intermediate_size=24, shared_expert_intermediate_size=24, shared_intermediate_size=24, moe_num_shared_experts=1,
    n_shared_experts=1, first_k_dense_replace=1, n_group=1, topk_group=1,
    # latent attention
    q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
    # state space
    state_size=8, time_step_rank=4, conv_kernel=4, mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, mamba_n_groups=1, mamba_d_conv=4,
    mamba_expand=2, mamba_chunk_size=8, chunk_size=8,
    # vision and audio
    image_size=16, patch_size=4, num_channels=3, projection_dim=16, depth=2, out_hidden_size=32, num_mel_bins=8, max_source_positions=16,
    max_target_positions=32, layerdrop=0.0, mask_time_prob=0.0,
    image_token_id=90, image_token_index=90, video_token_id=91, video_token_index=91, vision_start_token_id=92, vision_end_token_id=93,
    audio_token_id=94, audio_token_index=94)


@dataclass
class Family:
    """One row: `model` is the class that saves, loads and runs it, `inputs` the name of a maker in inputs.py."""
    name: str
    model: str
    config: dict = field(default_factory=dict)
    inputs: str = "text"
    kind: str = "dense"
    no_stack: str = ""  # why its layers cannot be stacked
    image_tokens: int = 16


def causal(name, model, no_stack="", **config):
    return Family(name, model, config, no_stack=no_stack)


def moe(name, model, **config):
    return Family(name, model, config, kind="experts")


def hybrid(name, model, no_stack="", **config):
    return Family(name, model, config, kind="state space", no_stack=no_stack)


def encoder(name, model, inputs="text", no_stack="", **config):
    return Family(name, model, config, inputs, "encoder", no_stack)


def seq2seq(name, model, inputs="text_to_text", **config):
    return Family(name, model, config, inputs, "encoder-decoder")


def vision(name, model, inputs="image", **config):
    return Family(name, model, config, inputs, "vision", "no text model")


def vlm(name, model, inputs="image_and_text", image_tokens=16, **config):
    return Family(name, model, config, inputs, "vision-language", image_tokens=image_tokens)


def audio(name, model, inputs="sound", no_stack="no text model", **config):
    return Family(name, model, config, inputs, "audio", no_stack)


# Rotary sections of time, height and width; the first layers of speech models.
MROPE = dict(rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[1, 1, 2]))
CONVOLUTIONS = dict(conv_dim=[16, 16], conv_stride=[5, 2], conv_kernel=[10, 3], num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)

FAMILIES = [
    causal("llama", "LlamaForCausalLM"),
    causal("mistral", "MistralForCausalLM"),
    causal("ministral", "MinistralForCausalLM"),
    causal("qwen2", "Qwen2ForCausalLM", tie_word_embeddings=True),
    causal("qwen3", "Qwen3ForCausalLM"),
    causal("gemma", "GemmaForCausalLM"),
    causal("gemma2", "Gemma2ForCausalLM"),
    causal("gemma3_text", "Gemma3ForCausalLM"),
    causal("gemma3n_text", "Gemma3nForCausalLM", no_stack="one tensor holds parts for all layers",
           layer_types=["sliding_attention", "full_attention", "full_attention"], num_kv_shared_layers=1, intermediate_size=[48, 48, 48],
           activation_sparsity_pattern=[0.9, 0.0, 0.0], altup_num_inputs=2, laurel_rank=8, hidden_size_per_layer_input=8,
           vocab_size_per_layer_input=96),
    causal("vaultgemma", "VaultGemmaForCausalLM"),
    causal("phi", "PhiForCausalLM"),
    causal("phi3", "Phi3ForCausalLM"),
    causal("gpt2", "GPT2LMHeadModel"),
    causal("gpt_bigcode", "GPTBigCodeForCausalLM"),
    causal("gpt_neo", "GPTNeoForCausalLM", attention_types=[[["global", "local", "global"], 1]]),
    causal("gpt_neox", "GPTNeoXForCausalLM"),
    causal("gptj", "GPTJForCausalLM", rotary_dim=4),
    causal("codegen", "CodeGenForCausalLM", rotary_dim=4),
    causal("opt", "OPTForCausalLM", word_embed_proj_dim=32),
    causal("bloom", "BloomForCausalLM"),
    causal("falcon", "FalconForCausalLM"),
    causal("mpt", "MptForCausalLM"),
    causal("xglm", "XGLMForCausalLM", attention_heads=4),
    causal("biogpt", "BioGptForCausalLM"),
    causal("stablelm", "StableLmForCausalLM"),
    causal("starcoder2", "Starcoder2ForCausalLM"),
    causal("persimmon", "PersimmonForCausalLM"),
    causal("cohere", "CohereForCausalLM"),
    causal("cohere2", "Cohere2ForCausalLM"),
    causal("olmo", "OlmoForCausalLM"),
    causal("olmo2", "Olmo2ForCausalLM"),
    causal("olmo3", "Olmo3ForCausalLM"),
    causal("granite", "GraniteForCausalLM"),
    causal("glm", "GlmForCausalLM"),
    causal("glm4", "Glm4ForCausalLM"),
    causal("nemotron", "NemotronForCausalLM"),
    causal("exaone4", "Exaone4ForCausalLM"),
    causal("ernie4_5", "Ernie4_5ForCausalLM"),
    causal("hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM"),
    causal("smollm3", "SmolLM3ForCausalLM"),
    causal("helium", "HeliumForCausalLM"),
    causal("apertus", "ApertusForCausalLM"),
    causal("arcee", "ArceeForCausalLM"),
    causal("seed_oss", "SeedOssForCausalLM"),
    causal("diffllama", "DiffLlamaForCausalLM"),
    causal("bitnet", "BitNetForCausalLM"),
    causal("modernbert_decoder", "ModernBertDecoderForCausalLM"),
    moe("mixtral", "MixtralForCausalLM"),
    moe("qwen2_moe", "Qwen2MoeForCausalLM"),
    moe("qwen3_moe", "Qwen3MoeForCausalLM"),
    moe("phimoe", "PhimoeForCausalLM"),
    moe("olmoe", "OlmoeForCausalLM"),
    moe("flex_olmo", "FlexOlmoForCausalLM"),
    moe("granitemoe", "GraniteMoeForCausalLM"),
    moe("granitemoeshared", "GraniteMoeSharedForCausalLM"),
    moe("deepseek_v2", "DeepseekV2ForCausalLM", num_key_value_heads=4),
    moe("deepseek_v3", "DeepseekV3ForCausalLM", num_key_value_heads=4),
    moe("glm4_moe", "Glm4MoeForCausalLM"),
    moe("gpt_oss", "GptOssForCausalLM"),
    moe("llama4_text", "Llama4ForCausalLM", intermediate_size_mlp=48),
    moe("ernie4_5_moe", "Ernie4_5_MoeForCausalLM"),
    moe("hunyuan_v1_moe", "HunYuanMoEV1ForCausalLM"),
    moe("dots1", "Dots1ForCausalLM"),
    moe("longcat_flash", "LongcatFlashForCausalLM", num_key_value_heads=4, ffn_hidden_size=48, expert_ffn_hidden_size=24,
        zero_expert_num=2),
    moe("minimax", "MiniMaxForCausalLM"),
    moe("minimax_m2", "MiniMaxM2ForCausalLM"),
    moe("dbrx", "DbrxForCausalLM", d_model=32, n_heads=4, n_layers=3,
        attn_config=dict(kv_n_heads=2, rope_theta=1e4, clip_qkv=8.0),
        ffn_config=dict(ffn_hidden_size=48, moe_num_experts=4, moe_top_k=2, hidden_size=32)),
    moe("jetmoe", "JetMoeForCausalLM"),
    hybrid("mamba", "MambaForCausalLM"),
    hybrid("mamba2", "Mamba2ForCausalLM", num_heads=8, n_groups=1),
    hybrid("falcon_mamba", "FalconMambaForCausalLM"),
    hybrid("falcon_h1", "FalconH1ForCausalLM", mamba_d_ssm=64),
    hybrid("jamba", "JambaForCausalLM", attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
           mamba_dt_rank=4, use_mamba_kernels=False),
    hybrid("bamba", "BambaForCausalLM", attn_layer_indices=[1]),
    hybrid("granitemoehybrid", "GraniteMoeHybridForCausalLM", layer_types=["mamba", "attention", "mamba"]),
    hybrid("zamba2", "Zamba2ForCausalLM", no_stack="one layer holds parts for all layers", num_hidden_layers=5, hybrid_layer_ids=[1, 3],
           n_mamba_heads=8, mamba_headdim=8, attention_hidden_size=64, attention_head_dim=16, num_query_groups=4, adapter_rank=4,
           layers_block_type=["linear_attention", "hybrid", "linear_attention", "hybrid", "linear_attention"]),
    hybrid("nemotron_h", "NemotronHForCausalLM", mamba_num_heads=8, mamba_head_dim=8, ssm_state_size=8, n_groups=1,
           moe_shared_expert_intermediate_size=24),
    hybrid("recurrent_gemma", "RecurrentGemmaForCausalLM", lru_width=32, attention_window_size=16),
    hybrid("rwkv", "RwkvForCausalLM", attention_hidden_size=32, context_length=64),
    hybrid("lfm2", "Lfm2ForCausalLM", layer_types=["conv", "full_attention", "conv"]),
    hybrid("lfm2_moe", "Lfm2MoeForCausalLM", layer_types=["conv", "full_attention", "conv"], num_dense_layers=1),
    hybrid("qwen3_next", "Qwen3NextForCausalLM", num_hidden_layers=4, linear_num_key_heads=2, linear_num_value_heads=4,
           linear_key_head_dim=8, linear_value_head_dim=8),
    hybrid("qwen3_5_text", "Qwen3_5ForCausalLM", num_hidden_layers=4, linear_num_key_heads=2, linear_num_value_heads=4,
           linear_key_head_dim=8, linear_value_head_dim=8),
    encoder("bert", "BertForMaskedLM"),
    encoder("bert_classifier", "BertForSequenceClassification", num_labels=3),
    encoder("roberta", "RobertaForMaskedLM"),
    encoder("xlm_roberta", "XLMRobertaForSequenceClassification", num_labels=3),
    encoder("distilbert", "DistilBertForMaskedLM", dim=32, n_layers=3, n_heads=4, hidden_dim=48),
    encoder("electra", "ElectraForPreTraining"),
    encoder("electra_generator", "ElectraForMaskedLM"),
    encoder("deberta_v2", "DebertaV2ForMaskedLM", relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"]),
    encoder("albert", "AlbertForMaskedLM", no_stack="all layers are one"),
    encoder("modernbert", "ModernBertForMaskedLM"),
    encoder("mpnet", "MPNetForMaskedLM"),
    encoder("camembert", "CamembertForTokenClassification"),
    encoder("esm", "EsmForMaskedLM", no_stack="a head as wide as all layers", mask_token_id=3, position_embedding_type="rotary"),
    encoder("nomic_bert", "NomicBertModel"),
    encoder("eurobert", "EuroBertForMaskedLM"),
    seq2seq("t5", "T5ForConditionalGeneration"),
    seq2seq("mt5", "MT5ForConditionalGeneration"),
    seq2seq("umt5", "UMT5ForConditionalGeneration"),
    seq2seq("bart", "BartForConditionalGeneration"),
    seq2seq("mbart", "MBartForConditionalGeneration"),
    seq2seq("pegasus", "PegasusForConditionalGeneration"),
    seq2seq("m2m_100", "M2M100ForConditionalGeneration"),
    seq2seq("marian", "MarianMTModel", decoder_vocab_size=96),
    seq2seq("switch_transformers", "SwitchTransformersForConditionalGeneration", num_sparse_encoder_layers=1, num_sparse_decoder_layers=3),
    vision("vit", "ViTForImageClassification"),
    vision("dinov2", "Dinov2ForImageClassification"),
    vision("swin", "SwinForImageClassification", embed_dim=8, depths=[1, 2], num_heads=[1, 2], window_size=2, patch_size=2),
    vision("convnext", "ConvNextForImageClassification", depths=[1, 1, 2, 1], hidden_sizes=[8, 8, 16, 16], image_size=32, patch_size=2),
    vision("resnet", "ResNetForImageClassification", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]),
    vision("clip", "CLIPModel", "image_text_pair"),
    vision("siglip", "SiglipModel", "image_text_pair"),
    vision("blip", "BlipForConditionalGeneration", "image_text_pair", text_config=dict(encoder_hidden_size=32, is_decoder=True)),
    vlm("llava", "LlavaForConditionalGeneration"),
    vlm("llava_next", "LlavaNextForConditionalGeneration", "tiles_and_text", 36, image_grid_pinpoints=[[16, 16]]),
    vlm("qwen2_vl", "Qwen2VLForConditionalGeneration", "patches_and_text", 4, text_config=dict(**MROPE), vision_config=dict(embed_dim=32)),
    vlm("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", "patches_and_text", 4, text_config=dict(**MROPE),
        vision_config=dict(window_size=16, fullatt_block_indexes=[1])),
    vlm("qwen3_vl", "Qwen3VLForConditionalGeneration", "patches_and_text", 4, text_config=dict(**MROPE),
        vision_config=dict(num_position_embeddings=16, deepstack_visual_indexes=[0, 1])),
    vlm("qwen3_vl_moe", "Qwen3VLMoeForConditionalGeneration", "patches_and_text", 4, text_config=dict(**MROPE),
        vision_config=dict(num_position_embeddings=16, deepstack_visual_indexes=[0, 1])),
    vlm("gemma3", "Gemma3ForConditionalGeneration", image_tokens=4, mm_tokens_per_image=4),
    vlm("llama4", "Llama4ForConditionalGeneration", image_tokens=4, text_config=dict(intermediate_size_mlp=48),
        vision_config=dict(intermediate_size=128, vision_output_dim=32, projector_input_dim=32, projector_output_dim=32)),
    vlm("idefics3", "Idefics3ForConditionalGeneration", "images_and_text", 4),
    vlm("smolvlm", "SmolVLMForConditionalGeneration", "images_and_text", 4),
    vlm("mistral3", "Mistral3ForConditionalGeneration", "sized_image_and_text", 4),
    vlm("paligemma", "PaliGemmaForConditionalGeneration", projection_dim=32, vision_config=dict(projection_dim=32)),
    vlm("internvl", "InternVLForConditionalGeneration", image_tokens=4, vision_config=dict(image_size=[16, 16], patch_size=[4, 4])),
    vlm("glm4v", "Glm4vForConditionalGeneration", "patches_and_text", 4, text_config=dict(**MROPE)),
    vlm("mllama", "MllamaForConditionalGeneration", "text"),
    vlm("florence2", "Florence2ForConditionalGeneration", "image_and_text_to_text", 5, text_config=dict(model_type="bart"),
        vision_config=dict(depths=[1, 1], patch_size=[3, 3], patch_stride=[4, 2], patch_padding=[1, 1], patch_prenorm=[False, True],
                           embed_dim=[8, 16], num_heads=[2, 2], num_groups=[2, 2], window_size=2, projection_dim=32)),
    audio("whisper", "WhisperForConditionalGeneration", "spectrogram_to_text", ""),
    audio("wav2vec2", "Wav2Vec2ForCTC", **CONVOLUTIONS),
    audio("hubert", "HubertForCTC", **CONVOLUTIONS),
    audio("wav2vec2_conformer", "Wav2Vec2ConformerForCTC", **CONVOLUTIONS),
    audio("clap", "ClapModel", "sound_text_pair", audio_config=dict(
        num_mel_bins=16, spec_size=16, window_size=2, depths=[1, 1], num_attention_heads=[2, 2], patch_embeds_hidden_size=8, hidden_size=16,
        num_hidden_layers=2)),
    audio("speech_to_text", "Speech2TextForConditionalGeneration", "frames_to_text", "", conv_channels=16, input_feat_per_channel=8),
    audio("qwen2_audio", "Qwen2AudioForConditionalGeneration", "text", ""),
    audio("voxtral", "VoxtralForConditionalGeneration", "text", ""),
]

# Families that transformers saves in the spelling of their release or, asked for it, in its own; and what becomes of a merge of the two.
OTHER_SPELLINGS = dict.fromkeys((
    "mixtral", "qwen2_moe", "qwen3_moe", "phimoe", "olmoe", "flex_olmo", "granitemoe", "granitemoeshared", "deepseek_v2", "deepseek_v3",
    "glm4_moe", "ernie4_5_moe", "hunyuan_v1_moe", "dots1", "longcat_flash", "minimax", "minimax_m2", "jamba", "granitemoehybrid",
    "lfm2_moe", "qwen3_next", "llava", "llava_next", "qwen2_vl", "qwen2_5_vl", "gemma3", "mistral3", "paligemma", "internvl", "mllama", "qwen2_audio",
    "voxtral", "gpt_neox", "nemotron_h", "esm"), "right") | dict.fromkeys(("vit", "dinov2", "swin", "nomic_bert"), "refused")
