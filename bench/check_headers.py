#!/usr/bin/env python3
"""Times `crucible check` on eight models with the headers of a 70B Llama (723 tensors in 15 shards each; files are sparse).
usage: bench/check_headers.py [PROGRAM]"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

program = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/crucible")
H, I, V, KV, LAYERS, SHARDS = 8192, 28672, 128256, 1024, 80, 15
shapes = {"model.embed_tokens.weight": [V, H], "model.norm.weight": [H], "lm_head.weight": [V, H]}
for n in range(LAYERS):
    p = f"model.layers.{n}."
    shapes |= {p + "self_attn.q_proj.weight": [H, H], p + "self_attn.k_proj.weight": [KV, H], p + "self_attn.v_proj.weight": [KV, H],
               p + "self_attn.o_proj.weight": [H, H], p + "mlp.gate_proj.weight": [I, H], p + "mlp.up_proj.weight": [I, H],
               p + "mlp.down_proj.weight": [H, I], p + "input_layernorm.weight": [H], p + "post_attention_layernorm.weight": [H]}
names = list(shapes)
with tempfile.TemporaryDirectory() as box:
    for m in range(8):
        folder = os.path.join(box, f"m{m}")
        os.mkdir(folder)
        weight_map = {}
        for s in range(SHARDS):
            part, at, header = names[s::SHARDS], 0, {}
            file = f"model-{s + 1:05}-of-{SHARDS:05}.safetensors"
            for name in part:
                size = 2
                for d in shapes[name]:
                    size *= d
                header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [at, at + size]}
                weight_map[name] = file
                at += size
            text = json.dumps(header).encode()
            text += b" " * (-len(text) % 8)
            with open(os.path.join(folder, file), "wb") as f:
                f.write(struct.pack("<Q", len(text)) + text)
                f.truncate(8 + len(text) + at)
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {}, "weight_map": weight_map}, f)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": LAYERS}, f)
    for method, base in (("linear", ""), ("della", "base_model: ./m0\n")):
        with open(os.path.join(box, "recipe.yml"), "w") as f:
            f.write(f"merge_method: {method}\n{base}parameters: {{weight: 0.5}}\nmodels:\n" + "".join(f"- model: ./m{i}\n" for i in range(bool(base), 8)))
        times = []
        for _ in range(5):
            start = time.monotonic()
            done = subprocess.run([program, "check", "recipe.yml"], cwd=box, capture_output=True, text=True)
            times.append(time.monotonic() - start)
            if done.returncode != 0:
                sys.exit(done.stderr)
        print(f"{method}: {min(times):.3f} s at best, {max(times):.3f} s at worst of five")
