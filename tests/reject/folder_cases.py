"""Model folders that cannot be merged: (name, function that makes the folder ./x, what the message must match).

The recipe merges ./a and ./x, two-layer models of one shape unless the function changes that; it may return another path for ./x.
"""
import json
import os

from model_maker import config_for, encode, llama_shapes, make_llama, make_tensors, read_safetensors, safetensors_bytes, tensor, write_file, write_model

INDEX = "model.safetensors.index.json"


def tensors_of(**shape):
    return make_tensors(llama_shapes(**shape), "F16", 3)


def without_weights(*others):
    def make(x):
        write_model(x, tensors_of())
        os.remove(os.path.join(x, "model.safetensors"))
        for name in others:
            write_file(os.path.join(x, name), b"\x80\x02binary")
    return make


def config(**more):
    return lambda x: write_model(x, tensors_of(), config_for(**more))


def extra(name, t):
    def make(x):
        tensors = tensors_of()
        tensors[name] = t
        write_model(x, tensors)
    return make


def lacking(name):
    def make(x):
        tensors = tensors_of()
        del tensors[name]
        write_model(x, tensors)
    return make


def shards(change):
    """A model of two shards; `change(folder, index)` may rewrite both."""
    def make(x):
        make_llama(x, 3, shards=2)
        path = os.path.join(x, INDEX)
        with open(path) as f:
            index = json.load(f)
        text = change(x, index)
        write_file(path, json.dumps(index) if text is None else text)
    return make


def shard(n):
    return "model-%05d-of-00002.safetensors" % n


def move_embedding(to):
    """The embedding, which is in the first shard, is said to be in another file."""
    def change(x, index):
        index["weight_map"]["model.embed_tokens.weight"] = to
    return shards(change)


def unlist(x, index):
    del index["weight_map"]["model.embed_tokens.weight"]


def promise(x, index):
    index["weight_map"]["model.layers.7.mlp.up_proj.weight"] = shard(1)


def repeat_in_second(x, index):
    _, first = read_safetensors(os.path.join(x, shard(1)))
    _, second = read_safetensors(os.path.join(x, shard(2)))
    name = next(iter(first))
    second[name] = first[name]
    write_file(os.path.join(x, shard(2)), safetensors_bytes(second))


def replace_first_shard(how):
    def change(x, index):
        path = os.path.join(x, shard(1))
        os.remove(path)
        how(path)
    return shards(change)


def truncate(path):
    with open(path, "r+b") as f:
        f.truncate(os.path.getsize(path) - 100)


def cut_shard(x, index):
    truncate(os.path.join(x, shard(2)))


def link_loop(path):
    os.symlink(os.path.basename(path), path)


def lora(x):
    write_file(os.path.join(x, "adapter_config.json"), '{"peft_type": "LORA", "r": 2}\n')
    write_file(os.path.join(x, "adapter_model.safetensors"),
               safetensors_bytes({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": tensor("F32", [2, 8], [0.0] * 16)}))


def f8(x):
    tensors = tensors_of()
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = ("F8_E4M3", [12, 8], bytes(96))
    write_model(x, tensors)


def gptq(x):
    tensors = tensors_of()
    del tensors["model.layers.0.mlp.up_proj.weight"]
    tensors["model.layers.0.mlp.up_proj.qweight"] = tensor("I32", [1, 12], [0] * 12)
    tensors["model.layers.0.mlp.up_proj.qzeros"] = tensor("I32", [1, 2], [0] * 2)
    tensors["model.layers.0.mlp.up_proj.scales"] = tensor("F16", [1, 12], [1.0] * 12)
    write_model(x, tensors)


def wider(name, shape):
    def make(x):
        tensors = tensors_of()
        tensors[name] = make_tensors({name: shape}, "F16", 4)[name]
        write_model(x, tensors)
    return make


def large_vocabulary(x):
    make_llama(x, 3, vocab=20)
    write_file(os.path.join(x, "tokenizer.json"), '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}}')


def bytes_as_config(content):
    def make(x):
        write_model(x, tensors_of())
        write_file(os.path.join(x, "config.json"), content)
    return make


def empty_index(x):
    without_weights()(x)
    write_file(os.path.join(x, INDEX), '{"metadata": {}, "weight_map": {}}')


def no_tensors(x):
    write_model(x, {})


def file_not_folder(x):
    write_file(x, "this is no model\n")


ALL = [
    ("folder is empty", os.makedirs, r"no (weights|model|safetensors)"),
    ("a text file", file_not_folder, r"model \"./x\" not found|./x.*(no|not a) "),
    ("a weight file without tensors", no_tensors, r"error: ./x: has no tensors"),
    ("no weights", without_weights(), r"no weights|no .*safetensors"),
    ("only a .bin", without_weights("pytorch_model.bin"), r"pytorch_model.bin[^\n]*(\n.*)*not supported yet|only safetensors|PyTorch"),
    ("only a .gguf", without_weights("model-q4.gguf"), r"(?i)gguf"),
    ("LoRA adapter", lora, r"(?i)lora|adapter"),
    ("quantised by config", config(quantization_config={"quant_method": "gptq", "bits": 4}), r"quantised \(gptq"),
    ("quantised text model", config(text_config={"quantization_config": {"quant_method": "awq"}}), r"quantised \(awq"),
    ("f8 weights", f8, r"quantised \(F8_E4M3 weights; tensor \"model.layers.0.mlp.up_proj.weight\""),
    ("GPTQ tensors", gptq, r"quantised \(GPTQ or AWQ; tensor \"model.layers.0.mlp.up_proj.qweight\""),
    ("bitsandbytes tensors", extra("model.layers.0.mlp.up_proj.weight.absmax", ("F32", [3], encode("F32", [1, 1, 1]))), r"quantised \(bitsandbytes"),
    ("packed codes", extra("model.layers.0.x.weight", ("U8", [4, 4], bytes(16))), r"quantised \(U8 codes of an unknown packing"),
    ("tensor missing", lacking("model.layers.1.mlp.up_proj.weight"), r"./x lacks a tensor that other models have: model.layers.1.mlp.up_proj.weight"),
    ("tensor too many", extra("model.layers.1.mlp.more_proj.weight", tensor("F16", [2], [0, 0])), r"./a lacks a tensor.*model.layers.1.mlp.more_proj.weight"),
    ("head missing", lacking("lm_head.weight"), r"./x lacks a tensor.*lm_head.weight(.*\n)*.*tie_word_embeddings"),
    ("other shape", wider("model.layers.1.mlp.up_proj.weight", [8, 12]), r"tensor model.layers.1.mlp.up_proj.weight does not have one shape: .*\[12, 8\].*\[8, 12\]"),
    ("other rank", wider("model.norm.weight", [8, 1]), r"tensor model.norm.weight does not have one shape"),
    ("other kind of number", extra("model.norm.weight", tensor("I64", [8], [1] * 8)), r"tensor model.norm.weight .*I64"),
    ("other vocabulary", large_vocabulary, r"tensor model.embed_tokens.weight does not have one shape(.*\n)*.*vocabular"),
    ("shard missing", shards(lambda x, index: os.remove(os.path.join(x, shard(2)))), r"model-00002-of-00002.safetensors"),
    ("shard cut", shards(cut_shard), r"model-00002-of-00002.safetensors.*(short|cut off)"),
    ("tensor not in the index", shards(unlist), r"model.embed_tokens.weight"),
    ("tensor only in the index", shards(promise), r"model.layers.7.mlp.up_proj.weight"),
    ("tensor in the other shard", move_embedding(shard(2)), r"model.embed_tokens.weight"),
    ("tensor in two shards", shards(repeat_in_second), r"model.embed_tokens.weight"),
    ("index leaves its folder", move_embedding("../a/model.safetensors"), r"\"../a/model.safetensors\": leaves"),
    ("index with an absolute path", move_embedding("/etc/passwd"), r"\"/etc/passwd\": an absolute path"),
    ("index with a backslash", move_embedding("..\\a.safetensors"), r"a backslash"),
    ("index with a drive", move_embedding("C:a.safetensors"), r"a drive prefix"),
    ("index with a control byte", move_embedding("a\u001b[2J.safetensors"), r"\\x1b\[2J.safetensors\": control bytes"),
    ("index with an empty name", move_embedding(""), r"an empty name"),
    ("index with a .bin", move_embedding("pytorch_model.bin"), r"\"pytorch_model.bin\": not a .safetensors file"),
    ("index maps to a number", move_embedding(3), r"weight_map .* is not a file name"),
    ("index without a map", shards(lambda x, index: "{}"), r"index.json.*has no weight_map"),
    ("index that is no JSON", shards(lambda x, index: "weights"), r"index.json.*not valid JSON"),
    ("index that is a list", shards(lambda x, index: "[]"), r"index.json"),
    ("index with one tensor twice", shards(lambda x, index: '{"weight_map":{"t":"%s","t":"%s"}}' % (shard(1), shard(1))), r"has tensor \"t\" twice"),
    ("index of nothing", empty_index, r"index.json|no (weights|tensor)"),
    ("index nested deeply", shards(lambda x, index: '{"metadata":%s,"weight_map":{}}' % ("[" * 100000 + "]" * 100000)), r"nested deeper"),
    ("shard is a FIFO", replace_first_shard(os.mkfifo), r"model-00001-of-00002.safetensors.*(FIFO|pipe|regular file|not a file)"),
    ("shard is a folder", replace_first_shard(os.mkdir), r"model-00001-of-00002.safetensors.*(folder|directory|regular file)"),
    ("shard is a link to nothing", replace_first_shard(lambda path: os.symlink("nowhere", path)), r"model-00001-of-00002.safetensors"),
    ("shard is a link to itself", replace_first_shard(link_loop), r"model-00001-of-00002.safetensors"),
    ("shard is /dev/zero", replace_first_shard(lambda path: os.symlink("/dev/zero", path)), r"model-00001-of-00002.safetensors"),
    ("config.json is no JSON", bytes_as_config("Not Found\n"), r"config.json"),
    ("config.json is an LFS pointer", bytes_as_config("version https://git-lfs.github.com/spec/v1\n"), r"config.json"),
    ("config.json nested deeply", bytes_as_config('{"a":%s}' % ("[" * 100000 + "]" * 100000)), r"config.json.*nested deeper"),
]
