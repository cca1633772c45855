#!/usr/bin/env python3
"""The output folder: shards, what --overwrite replaces and keeps, verify, and what is left after refusals, signals and kills."""
import json
import os
import signal
import subprocess
import sys
import time

from harness import SLOWDOWN, Suite, contains, equal
from model_maker import SIZES, companions, make_large, make_llama, make_trio, read_bytes, read_model, read_safetensors, write_file, write_model

LARGE_ROWS = 2000  # four matrices of 16 MB in each model


def prepare(root):
    make_trio(root)
    for i, name in enumerate(["big_base", "big_a"]):
        make_large(os.path.join(root, name), LARGE_ROWS, i)


suite = Suite(prepare=prepare)

RECIPE = """\
merge_method: ties
base_model: ./base
models:
- model: ./a
  parameters: {weight: 1}
- model: ./b
  parameters: {weight: 0.5}
parameters: {density: 0.5}
dtype: float16
"""
SLOW = "merge_method: della\nbase_model: ./big_base\nmodels:\n- model: ./big_a\n  parameters: {weight: 1}\nparameters: {density: 0.5, epsilon: 0.1}\n"


def link(box):
    for name in os.listdir(box.shared):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def files_of(folder):
    """Every file and link below a folder with its content."""
    out = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            out[os.path.relpath(path, folder)] = os.readlink(path) if os.path.islink(path) else read_bytes(path)
    return out


def weight_files(folder):
    return sorted(n for n in os.listdir(folder) if ".safetensors" in n)


# --- shards ----------------------------------------------------------------------------------------------------------------------

@suite.case
def one_file_has_no_index(box):
    link(box)
    equal(weight_files(box.merge(RECIPE)), ["model.safetensors"])
    equal(weight_files(box.merge(RECIPE, "limitless", "--out-shard-size", "0")), ["model.safetensors"])


@suite.case
def shards_are_cut_by_size_and_numbered(box):
    link(box)
    whole = read_model(box.merge(RECIPE, "whole"))
    limit = 700
    out = box.merge(RECIPE, "shards", "--out-shard-size", str(limit))
    equal(read_model(out), whole, "the same tensors")  # checks numbers, index and total_size too
    shards = [n for n in weight_files(out) if n.endswith(".safetensors")]
    sizes = {n: sum(len(t[2]) for t in read_safetensors(os.path.join(out, n))[1].values()) for n in shards}
    assert len(shards) > 3 and all(size <= limit for size in sizes.values()), sizes
    with open(out + "/model.safetensors.index.json") as f:
        text = f.read()
    equal(list(json.loads(text)["weight_map"]), sorted(whole), "names in the index are sorted")
    assert text.endswith("}\n")


@suite.case
def a_tensor_above_the_limit_has_its_own_shard(box):
    link(box)
    out = box.merge(RECIPE, "tiny", "--out-shard-size", "1")
    equal(len(weight_files(out)) - 1, len(read_model(out)), "one shard for each tensor, and the index")


@suite.case
def sizes_are_understood(box):
    link(box)
    for text in ("1kB", "1KiB", "0.001M", "1000", "5B", "2GiB"):
        box.merge(RECIPE, "out-" + text, "--out-shard-size", text)


@suite.case
def tensors_lie_as_the_reference_writer_puts_them(box):
    tensors = make_llama(box.path("x"), 3, "BF16", 1)
    wide = {"zz.position_ids": ("I64", [2], bytes(16)), "aa.bias": ("F32", [3], bytes(12))}
    write_model(box.path("x"), {**tensors, **wide})
    out = box.merge("merge_method: passthrough\nmodels:\n- model: ./x\n")
    order = list(read_safetensors(out + "/model.safetensors")[1].items())
    equal([n for n, _ in order], [n for n, _ in sorted(order, key=lambda item: (-SIZES[item[1][0]], item[0]))], "wide types first, then by name")


# --- what is in the way ----------------------------------------------------------------------------------------------------------

@suite.case
def missing_parents_are_made_and_an_empty_folder_is_taken(box):
    link(box)
    box.merge(RECIPE, "new/deep/out")
    os.makedirs(box.path("empty"))
    box.merge(RECIPE, "empty/")
    equal(read_model(box.path("empty")), read_model(box.path("new/deep/out")))
    equal(box.left_over(), [], "temporary folders")


@suite.case
def without_overwrite_the_old_output_is_untouched(box):
    link(box)
    out = box.merge(RECIPE)
    before = files_of(out)
    box.write("recipe.yml", RECIPE.replace("0.5", "0.25"))
    equal(box.run("merge", "recipe.yml", "out").code, 2)
    contains(box.last.err, "out: exists and is not empty")
    contains(box.last.err, "--overwrite")
    equal(files_of(out), before)


@suite.case
def overwrite_replaces_the_model_and_keeps_the_rest(box):
    link(box)
    out = box.merge(RECIPE, "out", "--out-shard-size", "700")
    keep = {".git/HEAD": "ref: refs/heads/main\n", ".git/objects/ab/cd": "x", "notes.txt": "mine\n", "runs/1/loss.csv": "1,2\n", ".gitattributes": "*.safetensors lfs\n"}
    for name, text in keep.items():
        write_file(os.path.join(out, name), text)
    os.symlink("notes.txt", os.path.join(out, "link"))
    stale = {"pytorch_model.bin": "old", "tokenizer.model": "old", "added_tokens.json": "{}", "model-q4.gguf": "old"}
    for name, text in stale.items():
        write_file(os.path.join(out, name), text)
    os.chmod(out, 0o750)
    recipe = RECIPE.replace("0.5", "0.25")
    fresh = box.merge(recipe, "fresh")
    box.merge(recipe, "out", "--overwrite")
    equal(read_model(out), read_model(fresh), "the new model, without stale shards")
    got = files_of(out)
    for name, text in keep.items():
        equal(got.get(name), text.encode(), name)
    equal(got.get("link"), "notes.txt", "the link")
    equal(sorted(set(got) - set(keep) - {"link"}), sorted(files_of(fresh)), "all other files are the new model's")
    equal(os.stat(out).st_mode & 0o777, 0o750, "mode of the folder")
    equal(box.left_over(), [], "temporary folders")


@suite.case
def overwrite_works_from_inside_and_through_a_link(box):
    link(box)
    out = box.merge(RECIPE, "out")
    write_file(os.path.join(out, "notes.txt"), "mine\n")
    box.ok("merge", box.path("recipe.yml"), ".", "--overwrite", cwd=out)
    equal(sorted(os.listdir(out)), sorted(os.listdir(box.merge(RECIPE, "fresh")) + ["notes.txt"]))
    os.symlink("out", box.path("alias"))
    box.merge(RECIPE.replace("0.5", "0.25"), "alias", "--overwrite")
    assert os.path.islink(box.path("alias")), "the link itself stays"
    equal(read_bytes(out + "/notes.txt"), b"mine\n")
    equal(box.left_over(), [], "temporary folders")


@suite.case
def a_failing_merge_with_overwrite_keeps_the_old_model(box):
    link(box)
    out = box.merge(RECIPE)
    before = files_of(out)
    box.write("recipe.yml", "merge_method: passthrough\nmodels:\n- model: ./a\n  parameters: {scale: 1e6}\ndtype: float16\n")
    equal(box.run("merge", "recipe.yml", "out", "--overwrite").code, 3, "exit code")
    contains(box.last.err, "cannot hold")
    equal(files_of(out), before)
    equal(box.left_over(), [], "temporary folders")


# --- verify ----------------------------------------------------------------------------------------------------------------------

@suite.case
def verify_says_yes(box):
    link(box)
    out = box.merge(RECIPE, "out", "--out-shard-size", "700", "--seed", "5")
    contains(box.ok("verify", "out").out, "verified")
    contains(box.ok("verify", ".", cwd=out).out, "equal, byte for byte")
    equal(box.run("verify", "out", "--quiet").text, "")


@suite.case
def verify_finds_one_flipped_bit(box):
    link(box)
    out = box.merge(RECIPE)
    path = out + "/model.safetensors"
    raw = bytearray(read_bytes(path))
    _, tensors = read_safetensors(path)
    last = list(tensors)[-1]
    raw[-1] ^= 1
    write_file(path, bytes(raw))
    equal(box.run("verify", "out").code, 1, "exit code")
    contains(box.last.err, "tensor %s differs" % last)


@suite.case
def verify_finds_missing_and_changed_files(box):
    link(box)
    out = box.merge(RECIPE, "out", "--out-shard-size", "700")
    name = [n for n in weight_files(out) if n.endswith(".safetensors")][1]
    raw = read_bytes(os.path.join(out, name))
    os.remove(os.path.join(out, name))
    equal(box.run("verify", "out").code, 1)
    contains(box.last.err, name + " is missing")
    write_file(os.path.join(out, name), raw + b"\0")
    equal(box.run("verify", "out").code, 1)
    contains(box.last.err, name + " has")
    write_file(out + "/crucible.json", "{}")
    equal(box.run("verify", "out").code, 2, "exit code for a damaged record")
    contains(box.last.err, "crucible.json")


@suite.case
def verify_finds_changed_inputs_and_moved_ones(box):
    for m, seed in (("base", 1), ("a", 2), ("b", 3)):
        make_llama(box.path(m), seed)
    box.merge(RECIPE)
    make_llama(box.path("a"), 9)
    equal(box.run("verify", "out").code, 1, "exit code")
    contains(box.last.err, "differs from the recomputed one")
    make_llama(box.path("a"), 2)
    os.rename(box.path("a"), box.path("moved"))
    equal(box.run("verify", "out").code, 2, "exit code")
    box.ok("verify", "out", "--model", "./a=moved")


# --- signals ---------------------------------------------------------------------------------------------------------------------

def start_slow_merge(box, *options):
    """A merge that takes seconds, stopped at a moment when it writes."""
    box.write("recipe.yml", SLOW)
    process = box.spawn("merge", "recipe.yml", "out", "--threads", "1", "--quiet", *options, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20 * SLOWDOWN
    while time.monotonic() < end and process.poll() is None:
        temporary = [n for n in os.listdir(box.root) if ".crucible-" in n]
        if temporary and "model.safetensors" in os.listdir(box.path(temporary[0])):
            return process
        time.sleep(0.005)
    raise AssertionError("the merge ended (%s) before it could be stopped" % process.poll())


for s in (signal.SIGINT, signal.SIGTERM):
    def stopped(box, s=s):
        link(box)
        process = start_slow_merge(box)
        process.send_signal(s)
        equal(process.wait(20 * SLOWDOWN), 130, "exit code")
        assert not os.path.exists(box.path("out")), "an output folder is left"
        equal(box.left_over(), [], "temporary folders")
    suite.add("stopped by signal %d leaves nothing" % s, stopped)


@suite.case
def stopped_twice_leaves_no_output(box):
    link(box)
    process = start_slow_merge(box)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    equal(process.wait(20 * SLOWDOWN), 130, "exit code")
    assert not os.path.exists(box.path("out"))
    equal(box.left_over(), [], "temporary folders")


@suite.case
def killed_leaves_the_old_output_intact(box):
    link(box)
    write_model(box.path("out"), read_model(box.path("a")), others=companions())
    before = files_of(box.path("out"))
    process = start_slow_merge(box, "--overwrite")
    process.kill()
    process.wait()
    equal(files_of(box.path("out")), before, "the old output")
    box.merge(RECIPE, "out", "--overwrite")  # what the killed one left does not stand in the way
    contains(box.ok("verify", "out").out, "verified")


@suite.case
def interrupted_overwrite_keeps_the_old_output(box):
    link(box)
    write_model(box.path("out"), read_model(box.path("a")), others=companions())
    before = files_of(box.path("out"))
    process = start_slow_merge(box, "--overwrite")
    process.send_signal(signal.SIGINT)
    equal(process.wait(20 * SLOWDOWN), 130, "exit code")
    equal(files_of(box.path("out")), before, "the old output")
    equal(box.left_over(), [], "temporary folders")


sys.exit(suite.run())
