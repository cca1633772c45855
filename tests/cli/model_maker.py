"""Writes and reads tiny model folders with the standard library only: the tests' own view of safetensors, shared by all scripts here.

A tensor is (dtype, shape, bytes); a model is a dict name -> tensor. Nothing of the program under test is used.
"""
import json
import math
import os
import random
import struct

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
         "I64": 8, "U64": 8, "F64": 8}
TORCH_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


# --- numbers ---------------------------------------------------------------------------------------------------------------------

def to_f32(x):
    """The nearest f32, as a Python float."""
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def encode(dtype, values):
    """Numbers -> bytes, each rounded to nearest even through f32 (as merge arithmetic does). Integers as they are."""
    if dtype == "F16":
        return b"".join(struct.pack("<e", to_f32(v)) for v in values)
    if dtype == "BF16":
        out = bytearray()
        for v in values:
            bits = struct.unpack("<I", struct.pack("<f", v))[0]
            out += struct.pack("<H", ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) & 0xFFFF)
        return bytes(out)
    codes = {"F32": "f", "F64": "d", "I64": "q", "U64": "Q", "I32": "i", "U32": "I", "I16": "h", "U16": "H", "I8": "b", "U8": "B", "BOOL": "B",
             "F8_E4M3": "B", "F8_E5M2": "B"}
    return struct.pack("<%d%s" % (len(values), codes[dtype]), *values)


def decode(dtype, data):
    """Bytes -> numbers."""
    if dtype == "BF16":
        return [struct.unpack("<f", b"\0\0" + data[i:i + 2])[0] for i in range(0, len(data), 2)]
    codes = {"F16": "e", "F32": "f", "F64": "d", "I64": "q", "U64": "Q", "I32": "i", "U32": "I", "I16": "h", "U16": "H", "I8": "b", "U8": "B",
             "BOOL": "B"}
    return list(struct.unpack("<%d%s" % (len(data) // SIZES[dtype], codes[dtype]), data))


def count(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def tensor(dtype, shape, values):
    assert len(values) == count(shape), (shape, len(values))
    return (dtype, list(shape), encode(dtype, values))


def values_of(t):
    return decode(t[0], t[2])


# --- safetensors -----------------------------------------------------------------------------------------------------------------

def header_of(tensors, metadata=None):
    header = {} if metadata is None else {"__metadata__": metadata}
    at = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    return header


def raw_safetensors(header_text, data):
    """A file of any header text, right or wrong."""
    text = header_text if isinstance(header_text, bytes) else header_text.encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors_bytes(tensors, metadata=None):
    text = json.dumps(header_of(tensors, metadata), separators=(",", ":"))
    text += " " * (-len(text) % 8)
    return raw_safetensors(text, b"".join(t[2] for t in tensors.values()))


def write_file(path, content):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb" if isinstance(content, bytes) else "w") as f:
        f.write(content)


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def read_safetensors(path):
    """-> (metadata, tensors). Checks everything that a reader relies on; raises AssertionError."""
    raw = read_bytes(path)
    n = struct.unpack("<Q", raw[:8])[0]
    assert n <= len(raw) - 8, "header length"
    assert n % 8 == 0, "the data start is aligned"
    seen = []

    def no_repeats(pairs):
        seen.append(len(pairs) == len({k for k, _ in pairs}))
        return dict(pairs)

    header = json.loads(raw[8:8 + n].decode("utf-8"), object_pairs_hook=no_repeats)
    assert all(seen), "duplicate keys in the header"
    assert raw[8:9] == b"{", "the header starts with a brace"
    metadata = header.pop("__metadata__", None)
    data = raw[8 + n:]
    out, at = {}, 0
    for name, e in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = e["data_offsets"]
        assert begin == at, "%s begins at %d, not %d" % (name, begin, at)
        assert end - begin == count(e["shape"]) * SIZES[e["dtype"]], name
        out[name] = (e["dtype"], e["shape"], data[begin:end])
        at = end
    assert at == len(data), "bytes after the last tensor"
    return metadata, out


def read_model(folder):
    """All tensors of a model folder, read as a loader does: model.safetensors, else the index and its shards."""
    single = os.path.join(folder, "model.safetensors")
    index_path = single + ".index.json"
    if os.path.exists(single):
        assert not os.path.exists(index_path), "an index beside a single file"
        metadata, tensors = read_safetensors(single)
        assert metadata == {"format": "pt"}, metadata
        return tensors
    with open(index_path) as f:
        index = json.load(f)
    tensors = {}
    names = sorted(set(index["weight_map"].values()))
    for i, name in enumerate(names):
        assert name == "model-%05d-of-%05d.safetensors" % (i + 1, len(names)), name
        metadata, part = read_safetensors(os.path.join(folder, name))
        assert metadata == {"format": "pt"}, metadata
        for t in part:
            assert index["weight_map"][t] == name, "%s is not where the index says" % t
        assert not set(part) & set(tensors)
        tensors.update(part)
    assert set(tensors) == set(index["weight_map"])
    assert index["metadata"]["total_size"] == sum(len(t[2]) for t in tensors.values())
    stray = [f for f in os.listdir(folder) if f.endswith(".safetensors") and f not in names]
    assert not stray, stray
    return tensors


# --- models ----------------------------------------------------------------------------------------------------------------------

def llama_shapes(layers=2, hidden=8, ffn=12, vocab=16, tied=False):
    shapes = {"model.embed_tokens.weight": [vocab, hidden]}
    for i in range(layers):
        p = "model.layers.%d." % i
        shapes[p + "input_layernorm.weight"] = [hidden]
        shapes[p + "mlp.down_proj.weight"] = [hidden, ffn]
        shapes[p + "mlp.gate_proj.weight"] = [ffn, hidden]
        shapes[p + "mlp.up_proj.weight"] = [ffn, hidden]
        shapes[p + "post_attention_layernorm.weight"] = [hidden]
        for q in "kqvo":
            shapes[p + "self_attn.%s_proj.weight" % q] = [hidden, hidden]
    shapes["model.norm.weight"] = [hidden]
    if not tied:
        shapes["lm_head.weight"] = [vocab, hidden]
    return shapes


def phi_shapes(layers=2, hidden=8, ffn=16, vocab=16):
    shapes = {"model.embed_tokens.weight": [vocab, hidden]}
    for i in range(layers):
        p = "model.layers.%d." % i
        for part, (rows, cols) in {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (hidden, hidden), "self_attn.v_proj": (hidden, hidden),
                                   "self_attn.dense": (hidden, hidden), "mlp.fc1": (ffn, hidden), "mlp.fc2": (hidden, ffn)}.items():
            shapes[p + part + ".weight"] = [rows, cols]
            shapes[p + part + ".bias"] = [rows]
        shapes[p + "input_layernorm.weight"] = [hidden]
        shapes[p + "input_layernorm.bias"] = [hidden]
    for name, shape in {"model.final_layernorm.weight": [hidden], "model.final_layernorm.bias": [hidden], "lm_head.weight": [vocab, hidden],
                        "lm_head.bias": [vocab]}.items():
        shapes[name] = shape
    return shapes


def random_values(rng, n, exact=True):
    """Small numbers. Exact ones are multiples of 1/128 in [-1, 1): every type holds them, and short sums of them round nowhere."""
    return [rng.randrange(-128, 128) / 128 for _ in range(n)] if exact else [rng.gauss(0, 0.5) for _ in range(n)]


def make_tensors(shapes, dtype="F16", seed=1, exact=True):
    rng = random.Random(seed)
    return {name: tensor(dtype, shape, random_values(rng, count(shape), exact)) for name, shape in shapes.items()}


def finetune(tensors, seed, step=0.05):
    """The same model after a little training: every value moved, most of them a little."""
    rng = random.Random(seed)
    return {name: tensor(dtype, shape, [v + rng.gauss(0, step) for v in decode(dtype, data)]) for name, (dtype, shape, data) in tensors.items()}


def config_for(stored="F16", layers=2, hidden=8, vocab=16, architecture="LlamaForCausalLM", model_type="llama", **more):
    config = {"architectures": [architecture], "hidden_size": hidden, "model_type": model_type, "num_hidden_layers": layers,
              "torch_dtype": TORCH_NAMES.get(stored, "float32"), "vocab_size": vocab}
    config.update(more)
    return json.dumps(config, indent=2) + "\n"


TOKENIZER = json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}) + "\n"


def companions(mark=""):
    return {"tokenizer.json": TOKENIZER, "tokenizer_config.json": '{"model_max_length": 64, "mark": "%s"}\n' % mark,
            "special_tokens_map.json": "{}\n", "generation_config.json": '{"eos_token_id": 1}\n'}


def write_model(folder, tensors, config=None, shards=1, others=None, metadata=None):
    """A folder with weights (one file, or shards with an index), config.json and tokenizer files. Returns the folder."""
    os.makedirs(folder, exist_ok=True)
    metadata = {"format": "pt"} if metadata is None else metadata
    if shards == 1:
        write_file(os.path.join(folder, "model.safetensors"), safetensors_bytes(tensors, metadata))
    else:
        names = list(tensors)
        weight_map = {}
        for s in range(shards):
            file_name = "model-%05d-of-%05d.safetensors" % (s + 1, shards)
            part = {n: tensors[n] for n in names[s * len(names) // shards:(s + 1) * len(names) // shards]}
            weight_map.update({n: file_name for n in part})
            write_file(os.path.join(folder, file_name), safetensors_bytes(part, metadata))
        index = {"metadata": {"total_size": sum(len(t[2]) for t in tensors.values())}, "weight_map": weight_map}
        write_file(os.path.join(folder, "model.safetensors.index.json"), json.dumps(index, indent=2) + "\n")
    first = next(iter(tensors.values()), ("F16", [], b""))
    write_file(os.path.join(folder, "config.json"), config_for(first[0]) if config is None else config)
    for name, text in (companions() if others is None else others).items():
        write_file(os.path.join(folder, name), text)
    return folder


def make_llama(folder, seed=1, dtype="F16", layers=2, shards=1, exact=True, mark="", **shape):
    tensors = make_tensors(llama_shapes(layers, **shape), dtype, seed, exact)
    write_model(folder, tensors, config_for(dtype, layers, vocab=shape.get("vocab", 16)), shards, companions(mark))
    return tensors


def make_trio(root, dtype="F16", layers=2, exact=True, shards=1):
    """root/base, root/a and root/b: a base and two fine-tunes. Returns their tensors."""
    shapes = llama_shapes(layers)
    base = make_tensors(shapes, dtype, 1, exact)
    out = {"base": base}
    for i, name in enumerate(["a", "b"]):
        out[name] = make_tensors(shapes, dtype, 10 + i, True) if exact else finetune(base, 10 + i)
    for name, tensors in out.items():
        write_model(os.path.join(root, name), tensors, config_for(dtype, layers), shards, companions(name))
    return out


def make_large(folder, rows, seed, columns=4096, tensors=4):
    """A model of bf16 matrices whose bytes repeat: large on disk, quick to write."""
    rng = random.Random(seed)
    row = encode("BF16", [rng.gauss(0, 0.02) for _ in range(columns)])
    names = ["model.layers.%d.mlp.up_proj.weight" % i for i in range(tensors)]
    size = rows * columns * 2
    header = {n: {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [i * size, (i + 1) * size]} for i, n in enumerate(names)}
    text = json.dumps(header)
    text += " " * (-len(text) % 8)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text.encode())
        for _ in names:
            f.write(row * rows)
    write_file(os.path.join(folder, "config.json"), config_for("BF16", tensors))
    return folder


def to_hub_cache(folder, cache, model_id, revision="main", commit="0123456789abcdef0123456789abcdef01234567"):
    """Moves a model folder into a Hugging Face cache: blobs, snapshot of relative links, ref. Returns the snapshot's folder."""
    repo = os.path.join(cache, "models--" + model_id.replace("/", "--"))
    snapshot = os.path.join(repo, "snapshots", commit)
    os.makedirs(os.path.join(repo, "blobs"), exist_ok=True)
    os.makedirs(snapshot, exist_ok=True)
    for name in sorted(os.listdir(folder)):
        blob = "%s-%s" % (commit[:8], name.replace(".", "_"))
        os.rename(os.path.join(folder, name), os.path.join(repo, "blobs", blob))
        os.symlink(os.path.join("..", "..", "blobs", blob), os.path.join(snapshot, name))
    os.rmdir(folder)
    write_file(os.path.join(repo, "refs", revision), commit)
    return snapshot
