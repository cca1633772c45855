#!/usr/bin/env python3
"""Writes three Llama-like bf16 checkpoints (base, a, b) of about a given size, for benchmarks. Standard library only."""
import argparse, array, json, os, random, struct


def shapes(size_bytes):
    """Hidden 1536 and vocabulary 32000, 8000 where that would be most of a small model; as many layers as fit."""
    hidden, inner, vocab = 1536, 4096, 32000 if size_bytes >= 5e8 else 8000
    per_layer = {
        "input_layernorm.weight": [hidden], "post_attention_layernorm.weight": [hidden],
        "self_attn.q_proj.weight": [hidden, hidden], "self_attn.k_proj.weight": [hidden, hidden],
        "self_attn.v_proj.weight": [hidden, hidden], "self_attn.o_proj.weight": [hidden, hidden],
        "mlp.gate_proj.weight": [inner, hidden], "mlp.up_proj.weight": [inner, hidden], "mlp.down_proj.weight": [hidden, inner],
    }
    outside = {"model.embed_tokens.weight": [vocab, hidden], "lm_head.weight": [vocab, hidden], "model.norm.weight": [hidden]}
    elems = lambda s: s[0] * (s[1] if len(s) > 1 else 1)
    layer_bytes = 2 * sum(map(elems, per_layer.values()))
    layers = max(1, round((size_bytes - 2 * sum(map(elems, outside.values()))) / layer_bytes))
    tensors = dict(outside)
    for i in range(layers):
        for name, shape in per_layer.items():
            tensors[f"model.layers.{i}.{name}"] = shape
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner,
              "num_hidden_layers": layers, "num_attention_heads": 12, "num_key_value_heads": 12, "vocab_size": vocab,
              "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    return tensors, config


def block(seed, step):
    """4 MiB of bf16 weights of deviation 0.02, moved by normal steps of the given deviation, as a fine-tune does."""
    rng = random.Random(1)
    move = random.Random(seed)
    values = array.array("f", (rng.gauss(0, 0.02) + (move.gauss(0, step) if step else 0) for _ in range(1 << 21)))
    bits = array.array("I", values.tobytes())
    return array.array("H", ((b + 0x8000) >> 16 for b in bits)).tobytes()


def write(folder, tensors, config, data):
    os.makedirs(folder, exist_ok=True)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        size = 2
        for d in tensors[name]:
            size *= d
        header[name] = {"dtype": "BF16", "shape": tensors[name], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        while at > 0:
            f.write(data[:min(at, len(data))])
            at -= min(at, len(data))
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--gigabytes", type=float, default=1.0)
    args = parser.parse_args()
    tensors, config = shapes(args.gigabytes * 1e9)
    for seed, name in enumerate(["base", "a", "b"]):
        target = os.path.join(args.folder, name)
        if not os.path.exists(os.path.join(target, "config.json")):
            write(target, tensors, config, block(seed, 1e-3 if seed > 0 else 0))


main()
