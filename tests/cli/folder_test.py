#!/usr/bin/env python3
"""The folder that comes out: which files come along, what the inputs disagree about, and that all fits together."""
import json
import os
import shutil
import sys

from harness import Suite, contains, equal
from model_maker import (companions, config_for, llama_shapes, make_llama, make_tensors, make_trio, read_bytes, read_model, tensor, write_file,
                         write_model)

suite = Suite()
TASKS = "merge_method: task_arithmetic\nbase_model: ./base\nmodels:\n- model: ./a\n- model: ./b\nparameters: {weight: 0.5}\n"
SELF = "merge_method: passthrough\nmodels:\n- model: ./%s\n"


def record_of(out):
    with open(os.path.join(out, "crucible.json")) as f:
        return json.load(f)


def files_of(folder):
    return sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, files in os.walk(folder) for f in files)


def absent(text, part):
    assert part not in text, "found: %r" % part


SENTENCE = {
    "modules.json": '[{"path": ""}, {"path": "1_Pooling"}, {"path": "custom_head"}]',
    "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
    "custom_head/settings.json": "{}",
    "2_Dense/config.json": "{}",
    "2_Dense/model.safetensors": "weights",
    "additional_chat_templates/rag.jinja": "{{ documents }}",
    "assets/voices/one.txt": "la",
    "chat_template.jinja": "{{ messages }}",
    "modeling_mine.py": "class Mine: pass\n",
    "preprocessor_config.json": "{}",
    "vocab.json": "{}",
    "LICENSE.md": "terms",
}
LEFT_OUT = {
    "pytorch_model.bin": "weights", "model-q4.gguf": "weights", "pytorch_model.bin.index.json": "an index of weights", "optimizer.pt": "training state",
    "trainer_state.json": "training state", "events.out.tfevents.1": "training state", ".gitattributes": "hidden",
    "README.md": "it is about the input", "eval_results.json": "it is about the input", "x.lock": "a lock or an unfinished file",
    "adapter_config.json": "it makes loaders look for an adapter",
}


@suite.case
def what_comes_along(box):
    make_trio(box.root)
    for name, text in {**SENTENCE, **LEFT_OUT}.items():
        write_file(box.path("base", name), text)
    write_file(box.path("base/original/consolidated.00.pth"), "x")
    write_file(box.path("outside/secret.json"), "{}")
    os.symlink("LICENSE.md", box.path("base/NOTICE"))
    os.symlink("nowhere", box.path("base/tokenizer.model"))
    os.symlink("../outside", box.path("base/3_Linked"))
    out = box.merge(TASKS)
    copied = {n: t for n, t in {**companions("base"), **SENTENCE}.items() if n != "2_Dense/model.safetensors"}
    copied["NOTICE"] = "terms"
    made = ["README.md", "config.json", "crucible.json", "crucible_report.html", "mergekit_config.yml", "model.safetensors"]
    equal(files_of(out), sorted(list(copied) + made))
    for name, text in copied.items():
        equal(read_bytes(os.path.join(out, name)), text.encode(), name)
        assert not os.path.islink(os.path.join(out, name)), name
    record = record_of(out)
    left = {l["name"]: l["reason"] for l in record["left_out"]}
    for name, reason in LEFT_OUT.items():
        equal(left[name], reason, name)
    assert "model.safetensors" not in left, "it was merged"
    equal(left["original/"], "a folder that loaders of the model do not read")
    equal(left["2_Dense/model.safetensors"], "weights in a folder that no document of the model lists")
    equal(left["tokenizer.model"], "a link to a file that does not exist")
    assert "3_Linked/" in left
    equal(record["companions_from"], "./base")
    equal({c["name"] for c in record["companions"] if c["origin"] == "copied"}, set(copied))
    equal({c["name"] for c in record["companions"] if c["origin"] == "rebuilt"}, {"README.md", "config.json", "mergekit_config.yml"})
    contains(box.last.err, "code of ./base is copied into the output: modeling_mine.py")
    contains(box.last.err, "2_Dense/model.safetensors: weights in a folder that neither modules.json nor model_index.json lists")
    contains(box.last.err, "tokenizer.model is a link to a file that does not exist")
    contains(box.last.out, "copied from ./base: ")
    contains(box.last.out, "left out (weights): ")
    contains(box.last.out, "made: ")
    html = read_bytes(out + "/crucible_report.html").decode()
    for part in ("Files beside the weights", "additional_chat_templates/rag.jinja", "a lock or an unfinished file"):
        contains(html, part)
    box.ok("verify", "out")
    write_file(out + "/1_Pooling/config.json", "changed")
    equal(box.run("verify", "out").code, 1)
    contains(box.last.text, "1_Pooling/config.json differs from the one that was written")


@suite.case
def a_model_of_the_recipe_gives_the_files(box):
    make_trio(box.root)
    write_file(box.path("b/chat_template.jinja"), "of b")
    write_file(box.path("b/config.json"), config_for("F16", 2, eos_token_id=7))
    out = box.merge(TASKS, "out", "--copy-from", "./b")
    equal(read_bytes(out + "/tokenizer_config.json"), companions("b")["tokenizer_config.json"].encode())
    equal(read_bytes(out + "/chat_template.jinja"), b"of b")
    equal(json.loads(read_bytes(out + "/config.json"))["eos_token_id"], 7)
    equal(record_of(out)["companions_from"], "./b")
    contains(read_bytes(out + "/README.md").decode(), "Tokenizer, templates and other files are those of `./b`")
    box.ok("verify", "out")
    equal(box.run("merge", "recipe.yml", "other", "--copy-from", "./c").code, 2)
    contains(box.last.err, "--copy-from ./c: the recipe names no such model")
    contains(box.last.err, "./base, ./a and ./b")


@suite.case
def a_pointer_is_told(box):
    make_trio(box.root)
    write_file(box.path("base/tokenizer.model"), "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 499723\n")
    box.merge(TASKS)
    contains(box.last.err, "tokenizer.model is a Git LFS pointer, not the file itself")


@suite.case
def overwriting_with_folders(box):
    make_trio(box.root)
    write_file(box.path("base/additional_chat_templates/new.jinja"), "new")
    write_file(box.path("base/assets/a.txt"), "new")
    write_file(box.path("out/additional_chat_templates/old.jinja"), "old")
    write_file(box.path("out/assets/a.txt"), "old")
    write_file(box.path("out/assets/mine/notes.txt"), "mine")
    write_file(box.path("out/notes.txt"), "mine")
    out = box.merge(TASKS, "out", "--overwrite")
    there = files_of(out)
    for name in ("additional_chat_templates/new.jinja", "assets/a.txt", "assets/mine/notes.txt", "notes.txt"):
        assert name in there, name
    assert "additional_chat_templates/old.jinja" not in there, "a template of the old model"
    equal(read_bytes(out + "/assets/a.txt"), b"new")
    equal(read_bytes(out + "/assets/mine/notes.txt"), b"mine")
    # Into the working directory, which cannot be renamed.
    write_file(out + "/additional_chat_templates/old.jinja", "old")
    write_file(out + "/assets/a.txt", "old")
    box.ok("merge", "../recipe.yml", ".", "--overwrite", cwd=out)
    there = files_of(out)
    assert "additional_chat_templates/old.jinja" not in there and "assets/mine/notes.txt" in there, there
    equal(read_bytes(out + "/assets/a.txt"), b"new")
    equal(box.left_over(), [])
    box.ok("verify", "out", "--hashes-only")
    shutil.rmtree(out + "/assets")
    write_file(out + "/assets", "a file of mine")
    equal(box.run("merge", "recipe.yml", "out", "--overwrite").code, 2)
    contains(box.last.err, "is a file; the model has a folder of that name")
    equal(read_bytes(out + "/assets"), b"a file of mine")


# What the inputs disagree about.

def merge_with(box, base, a, files_base=None, files_a=None, name="out"):
    tensors = make_tensors(llama_shapes(2))
    for folder, config, files in (("base", base, files_base), ("a", a, files_a)):
        shutil.rmtree(box.path(folder), ignore_errors=True)
        write_model(box.path(folder), tensors, config if isinstance(config, str) else config_for("F16", 2, **config), others=files or {})
    out = box.merge("merge_method: task_arithmetic\nbase_model: ./base\nmodels: [{model: ./a, parameters: {weight: 0.5}}]\n", name, "--overwrite")
    return {(d["kind"], r["key"]): ({v["input"]: v["value"] for v in r["values"]}, r["chosen"], r["file"])
            for d in record_of(out)["differences"] for r in d["rows"]}


@suite.case
def differences_are_shown_and_recorded(box):
    found = merge_with(box, {"eos_token_id": 2, "rope_theta": 10000.0, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "num_attention_heads": 2},
                       {"eos_token_id": [2, 5], "rope_theta": 500000.0, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
                        "num_attention_heads": 4, "hidden_act": "gelu", "rope_scaling": {"type": "yarn", "factor": 4.0}, "tie_word_embeddings": False},
                       {"tokenizer_config.json": '{"chat_template": "one", "eos_token": "</s>"}', "generation_config.json": '{"eos_token_id": 2}'},
                       {"tokenizer_config.json": '{"eos_token": {"content": "<|im_end|>"}}', "chat_template.jinja": "two\n",
                        "generation_config.json": '{"eos_token_id": [5], "temperature": 0.6}'})
    equal(found[("special tokens", "eos_token_id")][0], {0: "2", 1: "5"}, "of generation_config.json, the last one")
    equal(found[("rope settings", "rope_theta")], ({0: "10000", 1: "500000"}, "10000", "config.json"))
    equal(found[("rope settings", "rope.rope_type")][0], {0: "default", 1: "yarn"})
    equal(found[("rope settings", "rope.factor")][0], {0: "none", 1: "4"})
    equal(found[("context length", "max_position_embeddings")][1], "2048")
    equal(found[("the arithmetic of layers", "norm_eps")][0], {0: "1e-05", 1: "1e-06"})
    equal(found[("the arithmetic of layers", "num_attention_heads")][0], {0: "2", 1: "4"})
    equal(found[("special tokens", "eos_token")][0], {0: "</s>", 1: "<|im_end|>"})
    equal(found[("generation settings", "temperature")][0], {0: "1", 1: "0.6"})
    assert ("the chat template", "chat_template") in found
    assert ("the arithmetic of layers", "hidden_act") not in found, "what absence means is not known"
    err = box.last.err
    contains(err, "notice: the models differ in rope settings; the output takes after ./base")
    contains(err, "rope_theta (config.json)")
    contains(err, "10000: ./base | 500000: ./a | output: 10000")
    for kind in {k for k, _ in found}:
        equal(err.count("the models differ in %s;" % kind), 1, kind)
    html = read_bytes(box.path("out/crucible_report.html")).decode()
    contains(html, "Where the models disagree")
    contains(html, "500000")
    equal(html.count("10000: ./base |"), 0, "the table of the notice")
    box.ok("verify", "out")
    equal(box.run("merge", "recipe.yml", "strict", "--strict").code, 2)


@suite.case
def equal_things_in_other_words_are_no_difference(box):
    old = {"eos_token_id": 2, "rope_theta": 10000.0, "rope_scaling": None, "torch_dtype": "float16", "sliding_window": None, "hidden_act": "silu",
           "rms_norm_eps": 1e-5, "_name_or_path": "x/y", "transformers_version": "4.30", "use_cache": True, "attention_dropout": 0.0}
    new = {"eos_token_id": [2], "rope_parameters": {"rope_type": "default", "rope_theta": 10000}, "dtype": "float16", "sliding_window": 4096,
           "use_sliding_window": False, "hidden_act": "silu", "rms_norm_eps": 0.00001, "pad_token_id": None, "transformers_version": "5.0",
           "mlp_bias": False}
    config = json.loads(config_for("F16", 2, **new))
    del config["torch_dtype"]
    found = merge_with(box, old, json.dumps(config),
                       {"tokenizer_config.json": '{"chat_template": "one"}', "generation_config.json": '{"eos_token_id": 2, "temperature": 1.0}'},
                       {"tokenizer_config.json": "{}", "chat_template.jinja": "one\n", "generation_config.json": '{"eos_token_id": [2]}'})
    equal(found, {})
    absent(box.last.err, "differ")
    nested = dict(json.loads(config_for("F16", 2)), text_config={"rope_theta": 10000.0, "eos_token_id": 3})
    equal(merge_with(box, {"eos_token_id": 3}, json.dumps(nested)), {}, "a nested text model")
    found = merge_with(box, {"eos_token_id": 4}, json.dumps(nested))
    equal(list(found), [("special tokens", "eos_token_id")])


@suite.case
def vocabularies_are_compared(box):
    def tokenizer(vocab):
        return {"tokenizer.json": json.dumps({"model": {"type": "BPE", "vocab": vocab, "merges": []}})}
    found = merge_with(box, {}, {}, tokenizer({"a": 0, "b": 1}), tokenizer({"b": 0, "a": 1}))
    equal(list(found), [("the vocabulary", "tokens")])
    found = merge_with(box, {}, {}, tokenizer({"a": 0, "b": 1}), {"tokenizer.json": json.dumps({"model": {"vocab": {"b": 1, "a": 0}, "merges": [], "type": "BPE"}}, indent=1)})
    equal(found, {}, "another order")


@suite.case
def what_changed_in_config_is_told(box):
    make_trio(box.root)
    recipe = ("merge_method: passthrough\ndtype: bfloat16\nslices:\n- sources: [{model: ./a, layer_range: [0, 2]}]\n"
              "- sources: [{model: ./a, layer_range: [1, 2]}]\n")
    out = box.merge(recipe)
    changes = {c["key"]: (c["old"], c["new"]) for c in record_of(out)["config_changes"]}
    equal(changes, {"num_hidden_layers": ("2", "3"), "torch_dtype": ('"float16"', '"bfloat16"')})
    contains(box.last.out, "config.json: num_hidden_layers is 3, was 2 (")
    contains(read_bytes(out + "/crucible_report.html").decode(), "What changed in <code>config.json</code>")


# What was written fits together; what an input has already is no fault.

def self_merge(box, config, tensors, others=None, **kind):
    shutil.rmtree(box.path("odd"), ignore_errors=True)
    write_model(box.path("odd"), tensors, config, others=others or {}, **kind)
    out = box.merge(SELF % "odd", "out", "--overwrite")
    equal(read_model(out), tensors, "a self-merge")
    check = record_of(out)["post_check"]
    equal(check["faults"], [])
    contains(box.last.out, "Read back: %d checks, nothing wrong" % check["checks"])
    return check["notices"]


@suite.case
def odd_checkpoints_pass(box):
    plain = make_tensors(llama_shapes(2))
    equal(self_merge(box, config_for("F16", 2), plain), [])
    contains(self_merge(box, config_for("F16", 2, vocab=12), plain)[0], "model.embed_tokens.weight has 16 rows, vocab_size of config.json says 12, as in an input")
    big = {"tokenizer.json": json.dumps({"model": {"type": "BPE", "vocab": {"t%d" % i: i for i in range(40)}, "merges": []}})}
    contains(self_merge(box, config_for("F16", 2), plain, big)[0], "tokenizer.json has ids up to 39")
    no_head = {n: t for n, t in plain.items() if n != "lm_head.weight"}
    contains(self_merge(box, config_for("F16", 2, tie_word_embeddings=False), no_head)[0], "only model.embed_tokens.weight is stored")
    equal(self_merge(box, config_for("F16", 2, tie_word_embeddings=True), plain), [])
    equal(self_merge(box, config_for("F16", 1), plain), [], "a layer more than config.json says")
    gap = {n.replace("layers.1.", "layers.7."): t for n, t in plain.items()}
    equal(self_merge(box, config_for("F16", 2), gap), [], "layers with a gap")
    nan = dict(plain, buffer=tensor("F32", [3], [float("nan"), float("inf"), 1.0]), half=("F16", [2], b"\x00\x7e\x00\x3c"), ids=("I64", [1], b"\xff" * 8))
    contains(self_merge(box, config_for("F16", 2), nan)[0], "3 elements of copied tensors are not finite, as in the input")
    equal(self_merge(box, '{"a": NaN}\n', plain), ["config.json is no standard JSON, as that of the input"])
    equal(self_merge(box, "", {"x": tensor("F32", [], [1.0])}), [])


@suite.case
def what_would_not_fit_is_told_before_the_run(box):
    make_llama(box.path("a"), 1)
    make_llama(box.path("wide"), 2, vocab=20)
    write_file(box.path("wide/tokenizer.json"), json.dumps({"model": {"type": "BPE", "vocab": {"a": 0, "b": 19}, "merges": []}}))
    box.write("recipe.yml", "merge_method: passthrough\nslices:\n- sources: [{model: ./a, layer_range: [0, 1]}]\n- sources: [{model: ./wide, layer_range: [1, 2]}]\n")
    box.ok("merge", "recipe.yml", "out")
    equal(box.run("check", "recipe.yml", "--copy-from", "./wide").code, 2)
    contains(box.last.err, "the output would not fit together: model.embed_tokens.weight has 16 rows, vocab_size of config.json says 20")
    contains(box.last.err, "the output would not fit together: tokenizer.json has ids up to 19, model.embed_tokens.weight only 16 rows")
    equal(box.run("merge", "recipe.yml", "other", "--copy-from", "./wide").code, 2)


@suite.case
def moved_folders_verify(box):
    os.makedirs(box.path("work"))
    make_trio(box.path("work/models"))
    recipe = "merge_method: dare_ties\nbase_model: %s\nmodels:\n- {model: %s, parameters: {weight: 1, density: 0.5}}\n" % (box.path("work/models/base"), box.path("work/models/a"))
    box.merge(recipe, "work/out")
    os.rename(box.path("work"), box.path("elsewhere"))
    box.ok("verify", "elsewhere/out", "--all")
    os.rename(box.path("elsewhere/models/a"), box.path("a"))
    equal(box.run("verify", "elsewhere/out").code, 2)
    box.ok("verify", "elsewhere/out", "--model", box.path("work/models/a") + "=a")


sys.exit(suite.run())
