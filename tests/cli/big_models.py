"""Model folders in the shape of big public models, from the arithmetic of their configs: real headers, index and config; the data are
holes in sparse files, so a folder of 1.4 TB takes a few megabytes. Standard library only.

usage: big_models.py MODEL FOLDER     prints the number of tensors and the bytes of data
"""
import json
import os
import struct
import sys

SHARD_BYTES = 5_000_000_000
WIDTH = {"BF16": 2, "F32": 4}


def linear(name, out, into, bias=False):
    return {name + ".weight": [out, into], **({name + ".bias": [out]} if bias else {})}


def norm(name, width, bias=False):
    return {name + ".weight": [width], **({name + ".bias": [width]} if bias else {})}


def gated(name, hidden, width, names=("gate_proj", "up_proj", "down_proj"), bias=False):
    gate, up, down = (f"{name}.{part}" for part in names)
    return {**linear(gate, width, hidden, bias), **linear(up, width, hidden, bias), **linear(down, hidden, width, bias)}


def attention(name, hidden, heads, kv_heads, head_dim=128, bias=False, head_norms=False):
    norms = {f"{name}.{part}_norm.weight": [head_dim] for part in "qk"} if head_norms else {}
    return {**linear(name + ".q_proj", heads * head_dim, hidden, bias), **linear(name + ".k_proj", kv_heads * head_dim, hidden, bias),
            **linear(name + ".v_proj", kv_heads * head_dim, hidden, bias), **linear(name + ".o_proj", hidden, heads * head_dim), **norms}


def ends(hidden, vocab, prefix="model.", head="lm_head"):
    tensors = {prefix + "embed_tokens.weight": [vocab, hidden], prefix + "norm.weight": [hidden]}
    return {**tensors, **({head + ".weight": [vocab, hidden]} if head else {})}


def two_norms(layer, hidden, bias=False):
    return {**norm(layer + ".input_layernorm", hidden, bias), **norm(layer + ".post_attention_layernorm", hidden, bias)}


def dense(layers, hidden, width, heads, kv_heads, bias=False):
    tensors = {}
    for i in range(layers):
        layer = f"model.layers.{i}"
        tensors |= {**two_norms(layer, hidden), **attention(layer + ".self_attn", hidden, heads, kv_heads, bias=bias),
                    **gated(layer + ".mlp", hidden, width)}
    return tensors


def llama3_70b():
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=8192, intermediate_size=28672, num_hidden_layers=80,
                  num_attention_heads=64, num_key_value_heads=8, vocab_size=128256, tie_word_embeddings=False, torch_dtype="bfloat16")
    return config, {**ends(8192, 128256), **dense(80, 8192, 28672, 64, 8)}


def mixtral_8x22b():
    config = dict(architectures=["MixtralForCausalLM"], model_type="mixtral", hidden_size=6144, intermediate_size=16384,
                  num_hidden_layers=56, num_attention_heads=48, num_key_value_heads=8, num_local_experts=8, num_experts_per_tok=2,
                  vocab_size=32000, tie_word_embeddings=False, torch_dtype="bfloat16")
    tensors = ends(6144, 32000)
    for i in range(56):
        layer = f"model.layers.{i}"
        tensors |= {**two_norms(layer, 6144), **attention(layer + ".self_attn", 6144, 48, 8),
                    **linear(layer + ".block_sparse_moe.gate", 8, 6144)}
        for e in range(8):
            tensors |= gated(f"{layer}.block_sparse_moe.experts.{e}", 6144, 16384, ("w1", "w3", "w2"))
    return config, tensors


def qwen3_235b():
    config = dict(architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", hidden_size=4096, intermediate_size=12288,
                  moe_intermediate_size=1536, num_hidden_layers=94, num_attention_heads=64, num_key_value_heads=4, head_dim=128,
                  num_experts=128, num_experts_per_tok=8, decoder_sparse_step=1, mlp_only_layers=[], vocab_size=151936,
                  tie_word_embeddings=False, torch_dtype="bfloat16")
    tensors = ends(4096, 151936)
    for i in range(94):
        layer = f"model.layers.{i}"
        tensors |= {**two_norms(layer, 4096), **attention(layer + ".self_attn", 4096, 64, 4, head_norms=True),
                    **linear(layer + ".mlp.gate", 128, 4096)}
        for e in range(128):
            tensors |= gated(f"{layer}.mlp.experts.{e}", 4096, 1536)
    return config, tensors


def deepseek_v3():
    """In bfloat16, with its layer that predicts one token further."""
    hidden, vocab = 7168, 129280
    config = dict(architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", hidden_size=hidden, intermediate_size=18432,
                  moe_intermediate_size=2048, num_hidden_layers=61, num_nextn_predict_layers=1, first_k_dense_replace=3,
                  num_attention_heads=128, num_key_value_heads=128, n_routed_experts=256, n_shared_experts=1, num_experts_per_tok=8,
                  q_lora_rank=1536, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, vocab_size=vocab,
                  tie_word_embeddings=False, torch_dtype="bfloat16")
    tensors = ends(hidden, vocab)
    for i in range(62):
        layer = f"model.layers.{i}"
        block = layer + ".self_attn"
        tensors |= {**two_norms(layer, hidden), **linear(block + ".q_a_proj", 1536, hidden), **norm(block + ".q_a_layernorm", 1536),
                    **linear(block + ".q_b_proj", 128 * 192, 1536), **linear(block + ".kv_a_proj_with_mqa", 512 + 64, hidden),
                    **norm(block + ".kv_a_layernorm", 512), **linear(block + ".kv_b_proj", 128 * 256, 512),
                    **linear(block + ".o_proj", hidden, 128 * 128)}
        if i < 3:
            tensors |= gated(layer + ".mlp", hidden, 18432)
            continue
        tensors |= {**linear(layer + ".mlp.gate", 256, hidden), layer + ".mlp.gate.e_score_correction_bias": ("F32", [256]),
                    **gated(layer + ".mlp.shared_experts", hidden, 2048)}
        for e in range(256):
            tensors |= gated(f"{layer}.mlp.experts.{e}", hidden, 2048)
    layer = "model.layers.61"
    tensors |= {**norm(layer + ".enorm", hidden), **norm(layer + ".hnorm", hidden), **linear(layer + ".eh_proj", hidden, 2 * hidden),
                **linear(layer + ".embed_tokens", vocab, hidden), **norm(layer + ".shared_head.norm", hidden),
                **linear(layer + ".shared_head.head", vocab, hidden)}
    return config, tensors


def qwen2_5_vl_72b():
    config = dict(architectures=["Qwen2_5_VLForConditionalGeneration"], model_type="qwen2_5_vl", hidden_size=8192, intermediate_size=29568,
                  num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8, vocab_size=152064, tie_word_embeddings=False,
                  torch_dtype="bfloat16",
                  vision_config=dict(depth=32, hidden_size=1280, intermediate_size=3456, num_heads=16, patch_size=14, out_hidden_size=8192))
    tensors = {**ends(8192, 152064), **dense(80, 8192, 29568, 64, 8, bias=True), "visual.patch_embed.proj.weight": [1280, 3, 2, 14, 14],
               **norm("visual.merger.ln_q", 1280), **linear("visual.merger.mlp.0", 5120, 5120, True),
               **linear("visual.merger.mlp.2", 8192, 5120, True)}
    for i in range(32):
        layer = f"visual.blocks.{i}"
        tensors |= {**norm(layer + ".norm1", 1280), **norm(layer + ".norm2", 1280), **linear(layer + ".attn.qkv", 3840, 1280, True),
                    **linear(layer + ".attn.proj", 1280, 1280, True), **gated(layer + ".mlp", 1280, 3456, bias=True)}
    return config, tensors


def siglip_layer(layer, hidden, width, out="out_proj", norms=("layer_norm1", "layer_norm2")):
    parts = {}
    for part in ("q_proj", "k_proj", "v_proj", out):
        parts |= linear(f"{layer}.self_attn.{part}", hidden, hidden, True)
    return {**parts, **linear(layer + ".mlp.fc1", width, hidden, True), **linear(layer + ".mlp.fc2", hidden, width, True),
            **norm(f"{layer}.{norms[0]}", hidden, True), **norm(f"{layer}.{norms[1]}", hidden, True)}


def gemma3_27b():
    """Tied: there is no head."""
    config = dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", torch_dtype="bfloat16", mm_tokens_per_image=256,
                  text_config=dict(model_type="gemma3_text", hidden_size=5376, intermediate_size=21504, num_hidden_layers=62,
                                   num_attention_heads=32, num_key_value_heads=16, head_dim=128, sliding_window=1024, vocab_size=262208),
                  vision_config=dict(model_type="siglip_vision_model", hidden_size=1152, intermediate_size=4304, num_hidden_layers=27,
                                     num_attention_heads=16, image_size=896, patch_size=14))
    tensors = ends(5376, 262208, "language_model.model.", head="")
    for i in range(62):
        layer = f"language_model.model.layers.{i}"
        tensors |= {**two_norms(layer, 5376), **norm(layer + ".pre_feedforward_layernorm", 5376),
                    **norm(layer + ".post_feedforward_layernorm", 5376),
                    **attention(layer + ".self_attn", 5376, 32, 16, head_norms=True), **gated(layer + ".mlp", 5376, 21504)}
    tower = "vision_tower.vision_model."
    tensors |= {tower + "embeddings.patch_embedding.weight": [1152, 3, 14, 14], tower + "embeddings.patch_embedding.bias": [1152],
                tower + "embeddings.position_embedding.weight": [4096, 1152], **norm(tower + "post_layernorm", 1152, True),
                "multi_modal_projector.mm_input_projection_weight": [1152, 5376], "multi_modal_projector.mm_soft_emb_norm.weight": [1152]}
    for i in range(27):
        tensors |= siglip_layer(f"{tower}encoder.layers.{i}", 1152, 4304)
    return config, tensors


def llama4_maverick():
    """Experts in every second layer, 128 of them in one tensor."""
    hidden = 5120
    config = dict(architectures=["Llama4ForConditionalGeneration"], model_type="llama4", torch_dtype="bfloat16",
                  text_config=dict(model_type="llama4_text", hidden_size=hidden, intermediate_size=8192, intermediate_size_mlp=16384,
                                   num_hidden_layers=48, num_attention_heads=40, num_key_value_heads=8, head_dim=128,
                                   num_local_experts=128, interleave_moe_layer_step=2, vocab_size=202048),
                  vision_config=dict(model_type="llama4_vision_model", hidden_size=1408, intermediate_size=5632, num_hidden_layers=34,
                                     num_attention_heads=16, image_size=336, patch_size=14))
    tensors = ends(hidden, 202048, "language_model.model.", "language_model.lm_head")
    for i in range(48):
        layer = f"language_model.model.layers.{i}"
        tensors |= {**two_norms(layer, hidden), **attention(layer + ".self_attn", hidden, 40, 8)}
        if i % 2 == 0:
            tensors |= gated(layer + ".feed_forward", hidden, 16384)
            continue
        tensors |= {layer + ".feed_forward.experts.gate_up_proj": [128, hidden, 16384],
                    layer + ".feed_forward.experts.down_proj": [128, 8192, hidden], **linear(layer + ".feed_forward.router", 128, hidden),
                    **gated(layer + ".feed_forward.shared_expert", hidden, 8192)}
    tensors |= {"vision_model.class_embedding": [1408], "vision_model.positional_embedding_vlm": [577, 1408],
                **linear("vision_model.patch_embedding.linear", 1408, 588), **norm("vision_model.layernorm_pre", 1408, True),
                **norm("vision_model.layernorm_post", 1408, True), **linear("vision_model.vision_adapter.mlp.fc1", 4096, 5632),
                **linear("vision_model.vision_adapter.mlp.fc2", 4096, 4096), **linear("multi_modal_projector.linear_1", hidden, 4096)}
    for i in range(34):
        tensors |= siglip_layer(f"vision_model.model.layers.{i}", 1408, 5632, "o_proj", ("input_layernorm", "post_attention_layernorm"))
    return config, tensors


# name -> (maker, parameters of the public model, layers of its text stack, that stack). DeepSeek V3 is counted without the 41,540,496
# scales of its 8-bit form.
MODELS = {
    "llama3_70b": (llama3_70b, 70_553_706_496, 80, "model.layers"),
    "mixtral_8x22b": (mixtral_8x22b, 140_620_634_112, 56, "model.layers"),
    "qwen3_235b": (qwen3_235b, 235_093_634_560, 94, "model.layers"),
    "deepseek_v3": (deepseek_v3, 684_489_845_504, 61, "model.layers"),
    "qwen2_5_vl_72b": (qwen2_5_vl_72b, 73_410_777_344, 80, "model.layers"),
    "gemma3_27b": (gemma3_27b, 27_432_406_640, 62, "language_model.model.layers"),
    "llama4_maverick": (llama4_maverick, 401_583_781_376, 48, "language_model.model.layers"),
}


def tensors_of(name):
    """-> (config, {tensor: (dtype, shape)})."""
    config, shapes = MODELS[name][0]()
    return config, {tensor: shape if isinstance(shape, tuple) else ("BF16", shape) for tensor, shape in shapes.items()}


def elements(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def write_shard(path, entries):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for tensor, (dtype, shape, size) in entries.items():
        header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + at)


def write_big_model(name, folder, shard_bytes=SHARD_BYTES):
    """Writes the folder. -> (number of tensors, bytes of data)."""
    config, tensors = tensors_of(name)
    os.makedirs(folder, exist_ok=True)
    shards, filled = [{}], 0
    for tensor, (dtype, shape) in tensors.items():
        size = elements(shape) * WIDTH[dtype]
        if filled and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][tensor] = (dtype, shape, size)
        filled += size
    files = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for file, entries in zip(files, shards):
        write_shard(os.path.join(folder, file), entries)
    total = sum(size for entries in shards for _, _, size in entries.values())
    index = {"metadata": {"total_size": total}, "weight_map": {tensor: file for file, entries in zip(files, shards) for tensor in entries}}
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump(index, f, indent=2)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
    return len(tensors), total


if __name__ == "__main__":
    print(*write_big_model(*sys.argv[1:3]))
