#!/usr/bin/env python3
"""`raw` and mergekit-pytorch: files and folders of any kind, merged tensor by tensor; one file out, or a folder named as its source is."""
import json
import os
import sys

from harness import CRUCIBLE, Suite, contains, equal
from model_maker import decode, make_tensors, make_trio, read_bytes, read_safetensors, safetensors_bytes, tensor, write_file

suite = Suite(prepare=lambda root: make_trio(root))

SHAPES = {"conv_in.weight": [4, 3, 3, 3], "down_blocks.0.attn.to_q.weight": [8, 8], "down_blocks.1.attn.to_q.weight": [8, 8], "time_embed.bias": [8]}
LINEAR = "merge_method: linear\nmodels:\n- model: %s\n  parameters: {weight: 1}\n- model: %s\n  parameters: {weight: 3}\n"
UNET = json.dumps({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.30.0", "sample_size": 64}, indent=2) + "\n"


def files(box, one="one.safetensors", other="other.safetensors", **tensors):
    made = {"one": tensors.get("first") or make_tensors(SHAPES, "F32", 1), "other": tensors.get("second") or make_tensors(SHAPES, "F32", 2)}
    write_file(box.path(one), safetensors_bytes(made["one"]))
    write_file(box.path(other), safetensors_bytes(made["other"]))
    return made


def unet(folder, seed, shards=1, stem="diffusion_pytorch_model"):
    tensors = make_tensors(SHAPES, "F16", seed)
    names = sorted(tensors)
    if shards == 1:
        write_file(os.path.join(folder, stem + ".safetensors"), safetensors_bytes(tensors, {"format": "pt"}))
    else:
        where = {n: "%s-%05d-of-%05d.safetensors" % (stem, i % shards + 1, shards) for i, n in enumerate(names)}
        for file in set(where.values()):
            write_file(os.path.join(folder, file), safetensors_bytes({n: tensors[n] for n in names if where[n] == file}, {"format": "pt"}))
        size = sum(len(t[2]) for t in tensors.values())
        write_file(os.path.join(folder, stem + ".safetensors.index.json"), json.dumps({"metadata": {"total_size": size}, "weight_map": where}))
    write_file(os.path.join(folder, "config.json"), UNET)
    return tensors


def average(one, other):
    """(1 * one + 3 * other) / 4, which is exact for the numbers of make_tensors."""
    return {n: (one[n][0], one[n][1], [(a + 3 * b) / 4 for a, b in zip(decode(*one[n][::2]), decode(*other[n][::2]))]) for n in one}


def holds(path, expected):
    got = read_safetensors(path)[1]
    equal({n: (d, s, decode(d, b)) for n, (d, s, b) in got.items()}, expected, path)


# --- what comes out --------------------------------------------------------------------------------------------------------------

@suite.case
def files_become_a_file(box):
    made = files(box)
    box.write("raw.yml", LINEAR % ("one.safetensors", "./other.safetensors"))
    box.ok("raw", "raw.yml", "new/out.safetensors", "--threads", "2")
    contains(box.last.out, "written to new/out.safetensors")
    equal(sorted(os.listdir(box.path("new"))), ["out.safetensors", "out.safetensors.crucible.json"])
    holds(box.path("new", "out.safetensors"), average(made["one"], made["other"]))
    equal(box.left_over(), [])
    equal(box.run("raw", "raw.yml", "new/out.safetensors").code, 2, "an output that exists")
    box.ok("raw", "raw.yml", "new/out.safetensors", "--overwrite")


@suite.case
def files_become_a_folder(box):
    made = files(box)
    box.write("raw.yml", LINEAR % ("one.safetensors", "other.safetensors") + "dtype: bfloat16\nout_dtype: float32\n")
    box.ok("raw", "raw.yml", "out")
    holds(box.path("out", "model.safetensors"), average(made["one"], made["other"]))
    assert not os.path.exists(box.path("out", "config.json"))
    box.ok("verify", "out")
    box.ok("raw", "raw.yml", "shards", "--out-shard-size", "400")
    index = json.loads(read_bytes(box.path("shards", "model.safetensors.index.json")))
    equal(sorted(index["weight_map"]), sorted(SHAPES))


@suite.case
def the_bytes_are_those_of_merge(box):
    for name in ("base", "a", "b"):
        os.symlink(os.path.join(box.shared, name), box.path(name))
    recipe = "merge_method: della\nbase_model: ./base\nmodels:\n- model: ./a\n  parameters: {weight: 1, density: 0.5}\n- model: ./b\n  parameters: {weight: 0.5, density: 0.4}\n"
    box.merge(recipe, "plain")
    box.ok("raw", "recipe.yml", "out")
    equal(read_bytes(box.path("out", "model.safetensors")), read_bytes(box.path("plain", "model.safetensors")))
    box.ok("raw", "recipe.yml", "out.safetensors")
    equal(read_bytes(box.path("out.safetensors")), read_bytes(box.path("plain", "model.safetensors")))


@suite.case
def one_file_can_be_verified(box):
    files(box)
    box.write("raw.yml", LINEAR % ("one.safetensors", "other.safetensors"))
    box.ok("raw", "raw.yml", "sub/out.safetensors")
    contains(box.ok("verify", "sub/out.safetensors", "--all").out, "equal, byte for byte")
    os.makedirs(box.path("elsewhere"))
    contains(box.ok("verify", "../sub/out.safetensors", cwd=box.path("elsewhere")).out, "inputs")
    with open(box.path("sub", "out.safetensors"), "r+b") as f:
        f.seek(-1, 2)
        last = f.read(1)
        f.seek(-1, 2)
        f.write(bytes([last[0] ^ 1]))
    equal(box.run("verify", "sub/out.safetensors").code, 1)
    contains(box.last.err, "differs from the one that was written")
    os.remove(box.path("sub", "out.safetensors.crucible.json"))
    equal(box.run("verify", "sub/out.safetensors").code, 2)
    for evil in ("../x", "a/b", "/etc/passwd"):
        record = {"format": "crucible-record", "version": 2, "files": [{"name": evil}]}
        write_file(box.path("sub", "out.safetensors.crucible.json"), json.dumps(record))
        equal(box.run("verify", "sub/out.safetensors").code, 2, evil)


@suite.case
def paths_hold_any_character(box):
    names = ("epoch+1@best (2).safetensors", "a: b #c.safetensors")
    made = files(box, *names)
    box.write("raw.yml", LINEAR % tuple('"%s"' % n for n in names))
    box.ok("raw", "raw.yml", "out.safetensors")
    holds(box.path("out.safetensors"), average(made["one"], made["other"]))
    box.ok("verify", "out.safetensors")
    box.ok("raw", "raw.yml", "out")
    box.ok("verify", "out", "--all")


@suite.case
def parameters_of_any_level_and_zero_count(box):
    """What mergekit-pytorch takes for missing (D26)."""
    made = files(box)
    models = "models:\n- model: one.safetensors\n%s- model: other.safetensors\n%s"
    cases = [("parameters: {weight: 0}\n", "parameters: {weight: 1}\n", "", made["other"]), ("", "parameters: {weight: 0}\n", "parameters: {weight: 1}\n", made["one"])]
    for one, other, top, expected in cases:
        indent = lambda text: "  " + text if text else ""
        box.write("raw.yml", "merge_method: linear\n" + models % (indent(one), indent(other)) + top)
        box.ok("raw", "raw.yml", "out.safetensors", "--overwrite")
        holds(box.path("out.safetensors"), {n: (d, s, decode(d, b)) for n, (d, s, b) in expected.items()})


@suite.case
def a_tensor_that_a_model_lacks(box):
    one = make_tensors(SHAPES, "F32", 1)
    other = {n: t for n, t in make_tensors(SHAPES, "F32", 2).items() if n != "time_embed.bias"}
    other["extra"] = tensor("F32", [2], [0.5, 0.25])
    files(box, first=one, second=other)
    box.write("raw.yml", LINEAR % ("one.safetensors", "other.safetensors"))
    equal(box.run("raw", "raw.yml", "out.safetensors").code, 2)
    for part in ("time_embed.bias", "extra"):
        contains(box.last.err, part)
    assert not os.path.exists(box.path("out.safetensors"))
    both = {n: one[n] for n in one if n in other}
    box.ok("raw", "raw.yml", "common.safetensors", "-i")
    holds(box.path("common.safetensors"), average(both, other))
    box.ok("raw", "raw.yml", "all.safetensors", "--tensor-union")
    alone = {n: (d, s, decode(d, b)) for n, (d, s, b) in (("time_embed.bias", one["time_embed.bias"]), ("extra", other["extra"]))}
    holds(box.path("all.safetensors"), {**average(both, other), **alone})
    box.ok("verify", "all.safetensors", "--all")
    equal(box.run("raw", "raw.yml", "never.safetensors", "-i", "-u").code, 2)


# --- diffusers -------------------------------------------------------------------------------------------------------------------

@suite.case
def a_part_of_a_pipeline_keeps_its_file_names(box):
    one, other = unet(box.path("p1", "unet"), 1), unet(box.path("p2", "unet"), 2, shards=2)
    write_file(box.path("p2", "unet", "diffusion_pytorch_model.fp16.safetensors"), "not looked at")
    box.write("raw.yml", LINEAR % ("p1/unet", "p2/unet"))
    box.ok("raw", "raw.yml", "out")
    holds(box.path("out", "diffusion_pytorch_model.safetensors"), average(one, other))
    contains(read_bytes(box.path("out", "config.json")).decode(), '"_class_name": "UNet2DConditionModel"')
    box.ok("verify", "out")
    box.ok("raw", "raw.yml", "shards", "--out-shard-size", "300")
    index = json.loads(read_bytes(box.path("shards", "diffusion_pytorch_model.safetensors.index.json")))
    equal(set(index["weight_map"].values()), {n for n in os.listdir(box.path("shards")) if n.startswith("diffusion_pytorch_model-")})
    box.ok("verify", "shards")
    box.write("again.yml", LINEAR % ("shards", "out"))
    box.ok("raw", "again.yml", "again")
    equal(read_safetensors(box.path("again", "diffusion_pytorch_model.safetensors"))[1].keys(), one.keys())


@suite.case
def an_index_of_any_name_is_one(box):
    one, other = unet(box.path("one"), 1, shards=3, stem="weights"), unet(box.path("other"), 2, shards=2, stem="model")
    box.write("raw.yml", LINEAR % ("one", "other"))
    box.ok("raw", "raw.yml", "out.safetensors")
    contains(box.last.err, "weights.safetensors.index.json is taken for the index")
    holds(box.path("out.safetensors"), average(one, other))


# --- what it refuses -------------------------------------------------------------------------------------------------------------

@suite.case
def wrong_configurations(box):
    files(box)
    good = LINEAR % ("one.safetensors", "other.safetensors")
    for extra, part in (("slices:\n- sources: []\n", "`slices` has no meaning here"), ("tokenizer_source: base\n", "`tokenizer_source` has no meaning here"),
                        ("chat_template: x\n", "`chat_template` has no meaning here"), ("merge_methd: linear\n", "merge_methd"), ("dtype: int8\n", "int8"), ("name: x\n", "`name` has no meaning")):
        box.write("raw.yml", good + extra)
        equal(box.run("raw", "raw.yml", "out.safetensors").code, 2, extra)
        contains(box.last.err, part)
        contains(box.last.err, "raw.yml:")
    for text in ("", "3", "{", "models: []", good.replace("one.safetensors", "nowhere.safetensors"), good.replace("one.safetensors", "raw.yml")):
        box.write("raw.yml", text)
        equal(box.run("raw", "raw.yml", "out.safetensors").code, 2, repr(text))
    equal(box.run("raw", "missing.yml", "out").code, 2)
    assert not os.path.exists(box.path("out.safetensors"))


@suite.case
def an_input_is_never_written_over(box):
    files(box)
    before = read_bytes(box.path("one.safetensors"))
    box.write("raw.yml", LINEAR % ("one.safetensors", "other.safetensors"))
    os.link(box.path("one.safetensors"), box.path("same.safetensors"))
    for out in ("one.safetensors", "same.safetensors"):
        equal(box.run("raw", "raw.yml", out, "--overwrite").code, 2, out)
        contains(box.last.err, "is an input")
    equal(read_bytes(box.path("one.safetensors")), before)
    os.makedirs(box.path("dir.safetensors"))
    equal(box.run("raw", "raw.yml", "dir.safetensors", "--overwrite").code, 2)


@suite.case
def a_failed_run_leaves_nothing(box):
    files(box)
    box.write("raw.yml", "merge_method: passthrough\nmodels:\n- model: one.safetensors\n  parameters: {scale: 1e39}\n")
    write_file(box.path("out.safetensors"), "old")
    equal(box.run("raw", "raw.yml", "out.safetensors", "--overwrite").code, 3)
    equal(read_bytes(box.path("out.safetensors")), b"old")
    equal([n for n in os.listdir(box.root) if n.startswith(".")], [])


@suite.case
def with_mergekits_command_line(box):
    made = files(box)
    os.symlink(CRUCIBLE, box.path("mergekit-pytorch"))
    box.write("raw.yml", LINEAR % ("one.safetensors", "other.safetensors"))
    box.ok("raw.yml", "out", "--low-cpu-memory", "-i", "--random-seed", "3", program=box.path("mergekit-pytorch"))
    contains(box.last.err, "--low-cpu-memory has no effect")
    holds(box.path("out", "model.safetensors"), average(made["one"], made["other"]))


sys.exit(suite.run())
