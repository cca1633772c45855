#!/usr/bin/env python3
"""Models made of parts with weights of their own: pipelines (model_index.json) and sentence-transformers folders (modules.json)."""
import json
import os
import shutil
import sys

from harness import CRUCIBLE, SOURCE_DIR, Suite, contains, equal
from model_maker import (companions, config_for, decode, encode, llama_shapes, make_tensors, read_bytes, read_model, read_safetensors, safetensors_bytes,
                         write_file, write_model)
from schema import Validator

suite = Suite()

LINEAR = "merge_method: linear\nmodels:\n- model: ./%s\n  parameters: {weight: 1}\n- model: ./%s\n  parameters: {weight: 3}\n"
SELF = "merge_method: passthrough\nmodels:\n- model: ./%s\n"
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"
STEMS = {"unet": DIFFUSERS, "vae": DIFFUSERS, "text_encoder": TRANSFORMERS}
SHAPES = {
    "unet": {"conv_in.weight": [4, 3, 3, 3], "blocks.0.attn.to_q.weight": [8, 8], "blocks.1.attn.to_q.weight": [8, 8], "blocks.2.attn.to_q.weight": [8, 8], "time.bias": [8]},
    "vae": {"conv_in.weight": [2, 3], "blocks.0.norm.weight": [8], "blocks.1.norm.weight": [8]},
    "text_encoder": {"text_model.embeddings.token_embedding.weight": [16, 8], "text_model.encoder.layers.0.self_attn.q_proj.weight": [8, 8],
                     "text_model.encoder.layers.1.self_attn.q_proj.weight": [8, 8]},
}
CONFIGS = {
    "unet": '{\n  "_class_name": "UNet2DConditionModel",\n  "sample_size": 64\n}\n',
    "vae": '{\n  "_class_name": "AutoencoderKL",\n  "latent_channels": 4\n}\n',
    "text_encoder": '{\n  "model_type": "clip_text_model",\n  "num_hidden_layers": 2,\n  "torch_dtype": "float32",\n  "vocab_size": 16\n}\n',
}
INDEX = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0", "scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": [None, None],
         "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
         "vae": ["diffusers", "AutoencoderKL"], "requires_safety_checker": True, "sizes": [1, 2], "nested": {"../x": ["a", "b"]}}
OTHERS = {"model_index.json": json.dumps(INDEX, indent=2) + "\n", "scheduler/scheduler_config.json": '{"beta_end": 0.012}\n',
          "tokenizer/tokenizer_config.json": "{}\n", "tokenizer/vocab.json": '{"a": 0}\n', "tokenizer/merges.txt": "#version\n"}


def write_weights(folder, stem, tensors, shards=1):
    names = sorted(tensors)
    if shards == 1:
        write_file(os.path.join(folder, stem + ".safetensors"), safetensors_bytes(tensors, {"format": "pt"}))
        return
    where = {n: "%s-%05d-of-%05d.safetensors" % (stem, i % shards + 1, shards) for i, n in enumerate(names)}
    for file in set(where.values()):
        write_file(os.path.join(folder, file), safetensors_bytes({n: tensors[n] for n in names if where[n] == file}, {"format": "pt"}))
    size = sum(len(t[2]) for t in tensors.values())
    write_file(os.path.join(folder, stem + ".safetensors.index.json"), json.dumps({"metadata": {"total_size": size}, "weight_map": where}))


def pipeline(folder, seed, parts=tuple(SHAPES), shards=1, exact=True):
    """Writes a pipeline; {part: tensors}."""
    made = {}
    for i, part in enumerate(parts):
        made[part] = make_tensors(SHAPES[part], "F32", 10 * seed + i, exact)
        write_weights(os.path.join(folder, part), STEMS[part], made[part], shards if part == "unet" else 1)
        write_file(os.path.join(folder, part, "config.json"), CONFIGS[part])
    for name, text in OTHERS.items():
        write_file(os.path.join(folder, name), text)
    return made


def read_part(folder, stem):
    """As loaders do: the one file, else the index and its shards, which must agree."""
    single = os.path.join(folder, stem + ".safetensors")
    index_file = single + ".index.json"
    files = sorted(n for n in os.listdir(folder) if n.endswith(".safetensors"))
    if os.path.exists(single):
        equal(files, [stem + ".safetensors"])
        assert not os.path.exists(index_file), index_file
        metadata, tensors = read_safetensors(single)
        equal(metadata, {"format": "pt"})
        return tensors
    index = json.loads(read_bytes(index_file))
    equal(files, ["%s-%05d-of-%05d.safetensors" % (stem, i + 1, len(files)) for i in range(len(files))])
    tensors = {}
    for file in files:
        part = read_safetensors(os.path.join(folder, file))[1]
        equal({n for n, f in index["weight_map"].items() if f == file}, set(part), file)
        tensors.update(part)
    equal(set(index["weight_map"]), set(tensors))
    equal(index["metadata"]["total_size"], sum(len(t[2]) for t in tensors.values()))
    return tensors


def read_pipeline(folder):
    return {part: read_part(os.path.join(folder, part), stem) for part, stem in STEMS.items() if os.path.isdir(os.path.join(folder, part))}


def average(one, other):
    """(1 * one + 3 * other) / 4 in f64, rounded once."""
    return {n: (d, s, encode(d, [(a + 3 * b) / 4 for a, b in zip(decode(d, raw), decode(d, other[n][2]))])) for n, (d, s, raw) in one.items()}


def averages(one, other):
    return {part: average(one[part], other[part]) for part in one}


def files_of(folder):
    return sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, files in os.walk(folder) for f in files)


def record_of(out):
    return json.loads(read_bytes(os.path.join(out, "crucible.json")))


MADE = ["README.md", "crucible.json", "crucible_report.html", "mergekit_config.yml"]


def damage(path):
    with open(path, "r+b") as f:
        f.seek(-1, 2)
        last = f.read(1)
        f.seek(-1, 2)
        f.write(bytes([last[0] ^ 1]))


# --- pipelines -------------------------------------------------------------------------------------------------------------------

@suite.case
def a_self_merge_is_the_pipeline(box):
    made = pipeline(box.path("p"), 1)
    for command in ("raw", "merge"):
        out = box.path(command)
        box.write("recipe.yml", SELF % "p")
        box.ok(command, "recipe.yml", command, "--threads", "2")
        equal(files_of(out), sorted(files_of(box.path("p")) + MADE), command)
        equal(read_pipeline(out), made, command)
        for name in list(OTHERS) + [part + "/config.json" for part in CONFIGS]:
            equal(read_bytes(os.path.join(out, name)), read_bytes(box.path("p", name)), name)
        contains(read_bytes(os.path.join(out, "README.md")).decode(), "library_name: diffusers")
        box.ok("verify", command, "--all")
        equal({t["name"] for t in record_of(out)["tensors"]}, {p + "/" + n for p in SHAPES for n in SHAPES[p]})
        equal([f["name"] for f in record_of(out)["files"]], ["text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"])
        equal(record_of(out)["left_out"], [])
    equal(box.left_over(), [])


@suite.case
def two_pipelines_are_averaged(box):
    one, other = pipeline(box.path("p1"), 1, exact=False), pipeline(box.path("p2"), 2, shards=2, exact=False)
    box.write("recipe.yml", LINEAR % ("p1", "p2"))
    box.ok("raw", "recipe.yml", "out", "--memory", "64MiB")
    equal(read_pipeline(box.path("out")), averages(one, other))
    box.ok("merge", "recipe.yml", "merged")
    equal(read_bytes(box.path("merged/unet/diffusion_pytorch_model.safetensors")), read_bytes(box.path("out/unet/diffusion_pytorch_model.safetensors")))
    os.symlink(CRUCIBLE, box.path("mergekit-pytorch"))
    box.ok("recipe.yml", "theirs", program=box.path("mergekit-pytorch"))
    equal(read_pipeline(box.path("theirs")), averages(one, other))
    # An output is an input again.
    box.write("again.yml", LINEAR % ("out", "p2"))
    box.ok("raw", "again.yml", "again")
    equal(read_pipeline(box.path("again")), averages(averages(one, other), other))
    box.ok("verify", "again")


@suite.case
def a_part_is_what_it_is_alone(box):
    pipeline(box.path("p1"), 1, exact=False)
    pipeline(box.path("p2"), 2, exact=False)
    for options in ([], ["--out-shard-size", "300"]):
        box.write("recipe.yml", LINEAR % ("p1", "p2"))
        box.ok("raw", "recipe.yml", "out", "--overwrite", *options)
        for part in STEMS:
            box.write("alone.yml", LINEAR % ("p1/" + part, "p2/" + part))
            box.ok("raw", "alone.yml", "alone", "--overwrite", *options)
            for name in files_of(box.path("alone")):
                if name not in MADE:
                    equal(read_bytes(box.path("out", part, name)), read_bytes(box.path("alone", name)), part + "/" + name)
            shutil.rmtree(box.path("alone"))


@suite.case
def filters_and_positions_are_of_one_part(box):
    one, other = pipeline(box.path("p1"), 1), pipeline(box.path("p2"), 2)
    box.write("recipe.yml", "merge_method: linear\nmodels:\n- model: p1\n  parameters: {weight: [{filter: unet/, value: 1}, {value: 0}]}\n"
              "- model: p2\n  parameters: {weight: [{filter: unet/, value: 0}, {value: 1}]}\n")
    box.ok("raw", "recipe.yml", "out")
    equal(read_pipeline(box.path("out")), {"unet": one["unet"], "vae": other["vae"], "text_encoder": other["text_encoder"]})
    # Three layers here, two there: a gradient runs over each stack alone.
    box.write("recipe.yml", "merge_method: linear\nmodels:\n- model: p1\n  parameters: {weight: [0, 1]}\n- model: p2\n  parameters: {weight: [1, 0]}\n")
    box.ok("raw", "recipe.yml", "layers")
    t = {x["name"]: x["t"] for x in record_of(box.path("layers"))["tensors"] if "t" in x}
    expected = {"unet/blocks.0.attn.to_q.weight": 0, "unet/blocks.1.attn.to_q.weight": 0.5, "unet/blocks.2.attn.to_q.weight": 1, "vae/blocks.0.norm.weight": 0,
                "vae/blocks.1.norm.weight": 1, "text_encoder/text_model.encoder.layers.0.self_attn.q_proj.weight": 0,
                "text_encoder/text_model.encoder.layers.1.self_attn.q_proj.weight": 1}
    equal({n: t.get(n, v) for n, v in expected.items()}, expected)
    got = read_pipeline(box.path("layers"))
    equal(got["unet"]["blocks.2.attn.to_q.weight"], one["unet"]["blocks.2.attn.to_q.weight"])
    equal(got["vae"]["blocks.1.norm.weight"], one["vae"]["blocks.1.norm.weight"])
    equal(got["vae"]["blocks.0.norm.weight"], other["vae"]["blocks.0.norm.weight"])
    box.ok("verify", "layers", "--all")


@suite.case
def parts_are_sharded_each_for_itself(box):
    one, other = pipeline(box.path("p1"), 1, shards=2), pipeline(box.path("p2"), 2)
    box.write("recipe.yml", LINEAR % ("p1", "p2"))
    box.ok("raw", "recipe.yml", "out", "--out-shard-size", "520")
    equal(read_pipeline(box.path("out")), averages(one, other))
    there = files_of(box.path("out"))
    for name in ("unet/diffusion_pytorch_model.safetensors.index.json", "text_encoder/model.safetensors.index.json", "vae/diffusion_pytorch_model.safetensors"):
        assert name in there, there
    assert "model.safetensors.index.json" not in there, there
    box.ok("verify", "out", "--all")
    # Written again whole: no shard and no index of before stays, what is the user's does.
    write_file(box.path("out/unet/notes.txt"), "mine")
    write_file(box.path("out/unet/mine/model.safetensors"), "mine")
    for cwd, args in ((None, ("recipe.yml", "out")), (box.path("out"), ("../recipe.yml", "."))):
        box.ok("raw", "recipe.yml", "out", "--overwrite", "--out-shard-size", "520")
        box.ok("raw", *args, "--overwrite", cwd=cwd)
        equal(read_pipeline(box.path("out")), averages(one, other))
        equal(files_of(box.path("out")), sorted(files_of(box.path("p2")) + MADE + ["unet/notes.txt", "unet/mine/model.safetensors"]))
        box.ok("verify", "out")
    equal(box.left_over(), [])


@suite.case
def another_type_is_said_by_the_configs_that_name_one(box):
    pipeline(box.path("p1"), 1)
    box.write("recipe.yml", SELF % "p1" + "dtype: bfloat16\n")
    box.ok("raw", "recipe.yml", "out")
    equal(read_bytes(box.path("out/text_encoder/config.json")).decode(), CONFIGS["text_encoder"].replace("float32", "bfloat16"))
    for part in ("unet", "vae"):
        equal(read_bytes(box.path("out", part, "config.json")).decode(), CONFIGS[part])
        equal({t[0] for t in read_pipeline(box.path("out"))[part].values()}, {"BF16"})
    contains(box.last.out, 'text_encoder/config.json: torch_dtype is "bfloat16", was "float32"')
    record = record_of(box.path("out"))
    equal(Validator(json.loads(read_bytes(os.path.join(SOURCE_DIR, "docs", "crucible-record.schema.json")))).problems(record), [])
    changes = record["config_changes"]
    equal([(c["file"], c["key"], c["old"], c["new"]) for c in changes], [("text_encoder/config.json", "torch_dtype", '"float32"', '"bfloat16"')])
    contains(read_bytes(box.path("out/crucible_report.html")).decode(), "text_encoder/config.json: torch_dtype")
    box.ok("verify", "out", "--all")


@suite.case
def a_part_that_some_model_lacks(box):
    one, other = pipeline(box.path("all"), 1), pipeline(box.path("less"), 2, parts=("unet", "text_encoder"))
    for models in (("all", "less"), ("less", "all")):
        box.write("recipe.yml", LINEAR % models)
        for command in ("raw", "merge"):
            equal(box.run(command, "recipe.yml", "never").code, 2, command)
            contains(box.last.err, "./less has no vae/, which ./all has")
            contains(box.last.err, "recipe.yml:")
        assert box.last.err.count("error") == 1, box.last.err
    box.write("recipe.yml", LINEAR % ("all", "less"))
    expected = averages({p: one[p] for p in other}, other)
    box.ok("merge", "recipe.yml", "out", "--allow-missing")
    equal(read_pipeline(box.path("out")), {**expected, "vae": one["vae"]})
    box.ok("verify", "out", "--all")
    box.ok("raw", "recipe.yml", "union", "-u")
    equal(read_pipeline(box.path("union")), {**expected, "vae": one["vae"]})
    box.ok("raw", "recipe.yml", "common", "-i")
    equal([n for n in files_of(box.path("common")) if n.startswith("vae/")], ["vae/config.json"])
    box.ok("verify", "common")
    box.write("recipe.yml", LINEAR % ("less", "all"))
    expected = averages(other, {p: one[p] for p in other})
    box.ok("merge", "recipe.yml", "fewer", "--allow-missing")
    equal(read_pipeline(box.path("fewer")), expected)
    equal(box.run("raw", "recipe.yml", "never", "-u").code, 2)
    contains(box.last.err, "the output would have vae/ of ./all, and ./less, which gives its other files, lists no such part")
    box.ok("raw", "recipe.yml", "from", "-u", "--copy-from", "./all")
    equal(read_pipeline(box.path("from")), {**expected, "vae": one["vae"]})
    assert not os.path.exists(box.path("never"))


@suite.case
def a_damaged_part_is_named(box):
    pipeline(box.path("p1"), 1)
    pipeline(box.path("p2"), 2)
    box.write("recipe.yml", LINEAR % ("p1", "p2"))
    for name, damaged, told in (
            ("unet/diffusion_pytorch_model.safetensors", damage, "tensor unet/time.bias differs from the one that was written"),
            ("vae/diffusion_pytorch_model.safetensors", os.remove, "vae/diffusion_pytorch_model.safetensors is missing"),
            ("vae/diffusion_pytorch_model.safetensors", lambda p: os.truncate(p, 200), "vae/diffusion_pytorch_model.safetensors has 200 bytes"),
            ("text_encoder/config.json", damage, "text_encoder/config.json differs"),
            ("scheduler/scheduler_config.json", os.remove, "scheduler/scheduler_config.json is missing"),
            ("unet", lambda p: write_file(p + "/diffusion_pytorch_model-00001-of-00002.safetensors", "x"), "unet/diffusion_pytorch_model-00001-of-00002.safetensors is a weight file that this merge did not write"),
            ("unet", shutil.rmtree, "unet/diffusion_pytorch_model.safetensors is missing")):
        box.ok("raw", "recipe.yml", "out", "--overwrite")
        damaged(box.path("out", name))
        for options in ([], ["--hashes-only"]):
            equal(box.run("verify", "out", *options).code, 1, name)
            contains(box.last.text, told)
        shutil.rmtree(box.path("out"))
    box.ok("raw", "recipe.yml", "out")
    damage(box.path("p1/vae/diffusion_pytorch_model.safetensors"))
    equal(box.run("verify", "out").code, 1)
    contains(box.last.text, "tensor vae/blocks.1.norm.weight differs from the recomputed one")


@suite.case
def other_commands_open_pipelines(box):
    made, other = pipeline(box.path("p1"), 1), pipeline(box.path("p2"), 2)
    text = box.ok("inspect", "p1").out
    for part in ("part unet/", "part vae/", "part text_encoder/", "layers unet/blocks: 3", "layers vae/blocks: 2", "(text_encoder/config.json: num_hidden_layers)"):
        contains(text, part)
    found = json.loads(box.ok("inspect", "p1", "--json").out)
    equal([(p["folder"], p["tensors"]) for p in found["parts"]], [("", 0)] + [(p, len(SHAPES[p])) for p in sorted(SHAPES)])
    roles = {t["name"]: t["role"] for t in found["tensors"]}
    equal(roles["text_encoder/text_model.embeddings.token_embedding.weight"], "embedding")
    write_file(box.path("p2/vae/config.json"), CONFIGS["vae"].replace("4", "5"))
    write_weights(box.path("p2/unet"), DIFFUSERS, made["unet"])
    equal(box.run("diff", "p1", "p2", "--all").code, 1)
    contains(box.last.out, "vae/config.json latent_channels: 4 in A, 5 in B")
    contains(box.last.out, "vae/conv_in.weight")
    assert "unet/conv_in.weight" not in box.last.out
    contains(box.last.out, "5 identical")
    box.write("recipe.yml", LINEAR % ("p1", "p2"))
    box.ok("check", "recipe.yml")
    contains(box.last.err + box.last.out, "latent_channels (vae/config.json)  4: ./p1 | 5: ./p2 | output: 4")
    plan = json.loads(box.ok("plan", "recipe.yml", "--json").out)
    equal({t["file"] for t in plan["tensors"] if t["name"].startswith("unet/")}, {"unet/diffusion_pytorch_model.safetensors"})
    box.ok("analyze", "p1")


@suite.case
def a_pipeline_between_merges(box):
    one, other = pipeline(box.path("p1"), 1), pipeline(box.path("p2"), 2)
    box.write("several.yml", "name: mid\n" + LINEAR % ("p1", "p2") + "---\n" + LINEAR.replace("./", "", 1) % ("mid", "p2"))
    box.ok("multi", "several.yml", "--out-path", "out")
    equal(read_pipeline(box.path("out")), averages(averages(one, other), other))
    # What is there is not merged again, unless a file of a part is not what it was.
    again = ("multi", "several.yml", "--out-path", "again", "--intermediate-dir", "between", "--overwrite")
    box.ok(*again)
    before = os.stat(box.path("between/mid/unet/diffusion_pytorch_model.safetensors")).st_ino
    box.ok(*again)
    equal(os.stat(box.path("between/mid/unet/diffusion_pytorch_model.safetensors")).st_ino, before)
    os.truncate(box.path("between/mid/unet/diffusion_pytorch_model.safetensors"), 300)
    box.ok(*again)
    equal(read_pipeline(box.path("between/mid")), averages(one, other))


@suite.case
def what_lies_beside_the_parts(box):
    made = pipeline(box.path("p"), 1)
    write_file(box.path("p/sd_xl_base.safetensors"), safetensors_bytes(made["vae"]))
    write_file(box.path("p/unet/diffusion_pytorch_model.fp16.safetensors"), "not looked at")
    write_file(box.path("p/unet/diffusion_pytorch_model.bin"), "not looked at")
    os.rename(box.path("p/vae/diffusion_pytorch_model.safetensors"), box.path("p/vae/diffusion_pytorch_model.fp16.safetensors"))
    box.write("recipe.yml", SELF % "p")
    box.ok("raw", "recipe.yml", "out")
    contains(box.last.err, "sd_xl_base.safetensors lies beside the parts of the model")
    contains(box.last.err, "diffusion_pytorch_model.fp16.safetensors is taken for the weights")
    equal(read_pipeline(box.path("out")), made)
    left = {l["name"]: l["reason"] for l in record_of(box.path("out"))["left_out"]}
    equal(left, {n: "weights" for n in ("sd_xl_base.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin")})


@suite.case
def parts_in_other_formats_are_refused(box):
    pipeline(box.path("p"), 1)
    os.rename(box.path("p/unet/diffusion_pytorch_model.safetensors"), box.path("p/unet/diffusion_pytorch_model.bin"))
    box.write("recipe.yml", SELF % "p")
    for command in ("raw", "merge"):
        equal(box.run(command, "recipe.yml", "out").code, 2)
        contains(box.last.err, "/unet: holds PyTorch weights (diffusion_pytorch_model.bin)")
    os.remove(box.path("p/unet/diffusion_pytorch_model.bin"))
    box.ok("raw", "recipe.yml", "out")
    contains(box.last.err, "/unet: model_index.json lists this part, and it has a config.json but no weights")
    shutil.rmtree(box.path("p/unet"))
    box.ok("raw", "recipe.yml", "less")
    contains(box.last.err, "/unet: model_index.json lists this part, and there is no such folder")


@suite.case
def one_file_is_no_pipeline(box):
    pipeline(box.path("p"), 1)
    box.write("recipe.yml", SELF % "p")
    equal(box.run("raw", "recipe.yml", "out.safetensors").code, 2)
    contains(box.last.err, "the models are folders of several parts")
    assert not os.path.exists(box.path("out.safetensors"))


@suite.case
def layers_of_parts_are_not_cut(box):
    pipeline(box.path("p"), 1, parts=("text_encoder",))
    box.write("recipe.yml", "merge_method: passthrough\nslices:\n- sources: [{model: ./p, layer_range: [0, 1]}]\n")
    equal(box.run("merge", "recipe.yml", "out").code, 2)
    contains(box.last.err, "slices of parts are not cut")


@suite.case
def hostile_documents_are_refused(box):
    outside = box.path("outside")
    write_weights(outside, DIFFUSERS, make_tensors(SHAPES["unet"], "F32", 9))
    box.write("recipe.yml", SELF % "p")

    def refused(told, **documents):
        shutil.rmtree(box.path("p"), ignore_errors=True)
        pipeline(box.path("p"), 1)
        for name, text in documents.items():
            write_file(box.path("p", name + ".json"), text)
        for command in ("raw", "merge"):
            equal(box.run(command, "recipe.yml", "out").code, 2, told)
            contains(box.last.err, told)
            assert not os.path.exists(box.path("out"))

    for path, why in (("../outside", "leaves or repeats its folder"), (outside, "an absolute path"), ("unet/../../outside", "leaves or repeats its folder"), ("a//b", "an empty part"),
                      (".", "leaves or repeats its folder"), ("a\\b", "a backslash"), ("C:x", "a drive prefix"), ("a\nb", "control bytes")):
        refused(why, model_index=json.dumps({path: ["diffusers", "X"]}))
        contains(box.last.err, "p/model_index.json")
        refused(why, modules=json.dumps([{"path": path}]))
        contains(box.last.err, "p/modules.json")
    refused("an empty name", model_index='{"": ["diffusers", "X"]}')
    refused("lies in the folder of its part", modules='[{"path": "unet/inner"}]')
    for text, told in (("{", "not valid JSON"), ("[]", "is a list"), ("3", "is not a JSON object"), ("{\"a\": " * 100 + "1" + "}" * 100, "nested")):
        refused(told, model_index=text)
    refused("is an object, not a list of modules", modules="{}")
    shutil.rmtree(box.path("p"))
    pipeline(box.path("p"), 1)
    shutil.rmtree(box.path("p/unet"))
    os.symlink("../outside", box.path("p/unet"))
    equal(box.run("raw", "recipe.yml", "out").code, 2)
    contains(box.last.err, "p/unet: this part of the model is a link")


# --- sentence-transformers -------------------------------------------------------------------------------------------------------

MODULES = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
           {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
           {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
           {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}]
DENSE = '{"in_features": 8, "out_features": 4, "bias": true, "activation_function": "torch.nn.modules.activation.Tanh"}'


def sentence(folder, seed, exact=True):
    """A transformer with a pooling and a dense layer behind it; ({name: tensor} of the root, the same of 2_Dense)."""
    root = make_tensors(llama_shapes(2), "F32", seed, exact)
    dense = make_tensors({"linear.weight": [4, 8], "linear.bias": [4]}, "F32", seed + 50, exact)
    write_model(folder, root, config_for("F32", 2), others={**companions(), "modules.json": json.dumps(MODULES), "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
                                                            "2_Dense/config.json": DENSE, "config_sentence_transformers.json": "{}"})
    write_weights(os.path.join(folder, "2_Dense"), "model", dense)
    return root, dense


@suite.case
def a_dense_layer_is_merged_with_its_transformer(box):
    one, other = sentence(box.path("s1"), 1, exact=False), sentence(box.path("s2"), 2, exact=False)
    out = box.merge(SELF % "s1", "same")
    equal(files_of(out), sorted(files_of(box.path("s1")) + MADE))
    equal(read_model(out), one[0])
    equal(read_part(os.path.join(out, "2_Dense"), "model"), one[1])
    out = box.merge(LINEAR % ("s1", "s2"))
    equal(read_model(out), average(one[0], other[0]))
    equal(read_part(os.path.join(out, "2_Dense"), "model"), average(one[1], other[1]))
    for name in ("modules.json", "1_Pooling/config.json", "2_Dense/config.json", "tokenizer.json", "config.json"):
        equal(read_bytes(os.path.join(out, name)), read_bytes(box.path("s1", name)), name)
    contains(read_bytes(os.path.join(out, "README.md")).decode(), "library_name: sentence-transformers")
    equal({t["name"] for t in record_of(out)["tensors"]}, set(one[0]) | {"2_Dense/linear.weight", "2_Dense/linear.bias"})
    assert "neither merged nor copied" not in box.last.err
    box.ok("verify", "out", "--all")
    damage(out + "/2_Dense/model.safetensors")
    equal(box.run("verify", "out", "--hashes-only").code, 1)
    contains(box.last.text, "tensor 2_Dense/linear.")


@suite.case
def a_dense_layer_keeps_its_arguments(box):
    """Its config.json is the arguments of its class: a key more, and the folder does not load."""
    sentence(box.path("s"), 1)
    out = box.merge(SELF % "s" + "dtype: bfloat16\n")
    equal(read_bytes(out + "/2_Dense/config.json").decode(), DENSE)
    equal(json.loads(read_bytes(out + "/config.json"))["torch_dtype"], "bfloat16")
    equal({t[0] for t in read_part(out + "/2_Dense", "model").values()}, {"BF16"})


@suite.case
def slices_keep_the_dense_layer(box):
    root, dense = sentence(box.path("s"), 1)
    out = box.merge("merge_method: passthrough\nslices:\n- sources: [{model: ./s, layer_range: [0, 2]}]\n- sources: [{model: ./s, layer_range: [1, 2]}]\n")
    equal(json.loads(read_bytes(out + "/config.json"))["num_hidden_layers"], 3)
    equal(read_part(out + "/2_Dense", "model"), dense)


@suite.case
def spellings_are_matched_within_a_part(box):
    one = sentence(box.path("s1"), 1)
    other = sentence(box.path("s2"), 2)
    write_weights(box.path("s2/2_Dense"), "model", {"module." + n: t for n, t in other[1].items()})
    out = box.merge(LINEAR % ("s1", "s2"))
    contains(box.last.err, "./s2 (2_Dense/) spells 2 tensors otherwise")
    equal(read_part(out + "/2_Dense", "model"), average(one[1], other[1]))
    # Without the folder its tensors are not those of the transformer that are called alike.
    write_model(box.path("s2"), {**other[0], "linear.weight": other[1]["linear.weight"], "linear.bias": other[1]["linear.bias"]}, config_for("F32", 2))
    shutil.rmtree(box.path("s2/2_Dense"))
    equal(box.run("merge", "recipe.yml", "never").code, 2)
    contains(box.last.err, "./s2 has no 2_Dense/, which ./s1 has")


@suite.case
def a_transformer_in_a_folder_of_its_own(box):
    tensors = make_tensors(llama_shapes(2), "F32", 1)
    write_model(box.path("s/0_Transformer"), tensors, config_for("F32", 2))
    write_file(box.path("s/modules.json"), '[{"path": "0_Transformer"}, {"path": "1_Pooling"}]')
    write_file(box.path("s/1_Pooling/config.json"), "{}")
    out = box.merge(SELF % "s" + "dtype: bfloat16\n")
    equal(set(read_part(out + "/0_Transformer", "model")), set(tensors))
    equal(json.loads(read_bytes(out + "/0_Transformer/config.json"))["torch_dtype"], "bfloat16")
    equal(files_of(out), sorted(files_of(box.path("s")) + MADE))


@suite.case
def a_tensor_with_a_parts_name_is_refused(box):
    root, dense = sentence(box.path("s"), 1)
    write_model(box.path("s"), {**root, "2_Dense/linear.weight": dense["linear.weight"]}, config_for("F32", 2))
    box.write("recipe.yml", SELF % "s")
    equal(box.run("merge", "recipe.yml", "out").code, 2)
    contains(box.last.err, 'its tensor "2_Dense/linear.weight" has the name of a tensor of its part "2_Dense"')


sys.exit(suite.run())
