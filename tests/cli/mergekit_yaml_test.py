#!/usr/bin/env python3
"""mergekit's own command line: by a link that carries its name, with all its options, on recipes full of what mergekit ignores."""
import json
import os
import shutil
import sys

from harness import CRUCIBLE, Suite, contains, equal
from model_maker import make_trio, read_bytes, read_model, safetensors_bytes, to_hub_cache, write_file

suite = Suite(prepare=lambda root: make_trio(root))

RECIPE = """\
merge_method: ties
base_model: ./base
models:
- model: ./a
  parameters: {weight: 1, density: 0.5}
- model: ./b
  parameters: {weight: 0.5, density: 0.5}
parameters: {normalize: true, int8_mask: true}
dtype: float16
"""
WITHOUT_EFFECT = ["--cuda", "--no-cuda", "--device=cpu", "--gpu-rich", "--multi-gpu", "--read-to-gpu", "--low-cpu-memory", "--no-low-cpu-memory", "--clone-tensors",
                  "--lazy-unpickle", "--no-lazy-unpickle", "--async-write", "--write-threads=2", "--trust-remote-code", "--no-trust-remote-code", "--allow-crimes",
                  "--no-allow-crimes", "--lora-merge-dtype=float32", "--lora-merge-cache=lora"]


def link(box):
    for name in ("base", "a", "b"):
        os.symlink(os.path.join(box.shared, name), box.path(name))
    os.symlink(CRUCIBLE, box.path("mergekit-yaml"))
    return box.path("mergekit-yaml")


def with_program(box, *args, **more):
    return box.ok(*args, program=box.path("mergekit-yaml"), **more)


@suite.case
def the_link_is_the_command(box):
    link(box)
    expected = read_model(box.merge(RECIPE, "plain", "--allow-unused"))
    with_program(box, "recipe.yml", "linked")
    box.ok("mergekit-yaml", "recipe.yml", "named")
    equal(read_model(box.path("linked")), expected)
    equal(read_model(box.path("named")), expected)
    contains(with_program(box, "--help").out, "--out-shard-size")
    equal(box.run(program=box.path("mergekit-yaml")).code, 2, "exit code without arguments")


@suite.case
def the_output_is_replaced_as_mergekit_does(box):
    link(box)
    box.write("recipe.yml", RECIPE)
    write_file(box.path("out", "model-00001-of-00002.safetensors"), "old")
    write_file(box.path("out", "notes.txt"), "mine")
    with_program(box, "recipe.yml", "out")
    read_model(box.path("out"))
    equal(read_bytes(box.path("out", "notes.txt")), b"mine")


@suite.case
def what_mergekit_ignores_is_a_notice(box):
    link(box)
    recipe = RECIPE.replace("density: 0.5}", "density: 0.5, epsilon: 0.1}", 1).replace("normalize: true", "t: 0.5")
    box.write("recipe.yml", recipe)
    equal(box.run("merge", "recipe.yml", "strict").code, 2, "exit code of crucible merge")
    with_program(box, "recipe.yml", "out")
    for part in ("notice: `epsilon` is not used by the method `ties`", "notice: `t` is not used"):
        contains(box.last.err, part)
    with open(box.path("out", "crucible.json")) as f:
        record = json.load(f)
    equal({u["name"] for u in record["unused_parameters"]}, {"epsilon", "t", "int8_mask"}, "listed in the record")
    box.ok("merge", "recipe.yml", "allowed", "--allow-unused")
    equal(read_model(box.path("allowed")), read_model(box.path("out")))
    equal(box.run("mergekit-yaml", "recipe.yml", "never", "--strict").code, 2, "exit code with --strict")


@suite.case
def options_without_meaning_say_so(box):
    link(box)
    box.write("recipe.yml", RECIPE)
    with_program(box, "recipe.yml", "plain")
    assert "has no effect:" not in box.last.err.replace("so it has no effect:", ""), "a line about an option that was not given"
    for option in WITHOUT_EFFECT:
        result = with_program(box, "recipe.yml", "out", *option.split("="))
        lines = [line for line in result.err.splitlines() if line.startswith("--") and "has no effect: " in line]
        equal(len(lines), 1, "lines about " + option)
    equal(read_model(box.path("out")), read_model(box.path("plain")))


@suite.case
def options_with_meaning(box):
    link(box)
    recipe = RECIPE.replace("ties", "dare_ties")
    box.write("recipe.yml", recipe)
    with_program(box, "recipe.yml", "one", "--random-seed", "5", "--out-shard-size", "1000", "-j", "2", "-v", "--safe-serialization")
    assert os.path.exists(box.path("one", "model.safetensors.index.json"))
    equal(read_model(box.path("one")), read_model(box.merge(recipe, "two", "--seed", "5", "--allow-unused")))
    with_program(box, "recipe.yml", "bare", "--no-copy-tokenizer", "--no-write-model-card", "--num-threads", "1", "--quiet")
    equal(box.last.text, "", "output with --quiet")
    equal(sorted(os.listdir(box.path("bare"))), ["config.json", "crucible.json", "crucible_report.html", "model.safetensors"])
    with_program(box, "recipe.yml", "full", "--copy-tokenizer", "--write-model-card", "--out-shard-size", "5B")
    contains(" ".join(os.listdir(box.path("full"))), "tokenizer.json")


@suite.case
def tensors_that_some_models_lack(box):
    link(box)
    os.remove(box.path("b"))
    shutil.copytree(os.path.join(box.shared, "b"), box.path("b"))
    tensors = read_model(box.path("b"))
    lacked = "model.norm.weight"
    write_file(box.path("b", "model.safetensors"), safetensors_bytes({n: t for n, t in tensors.items() if n != lacked}))
    box.write("recipe.yml", RECIPE)
    refused = box.run("recipe.yml", "out", program=box.path("mergekit-yaml"))
    equal(refused.code, 2)
    contains(refused.text, "--allow-missing")
    result = with_program(box, "recipe.yml", "out", "--allow-missing")
    contains(result.text, "merged from the models that have them; some lack them: " + lacked)
    equal(sorted(read_model(box.path("out"))), sorted(tensors))


@suite.case
def transformers_cache_is_looked_in(box):
    link(box)
    tensors = make_trio(box.path("made"))
    to_hub_cache(box.path("made", "a"), box.path("cache"), "org/a")
    box.write("recipe.yml", "merge_method: passthrough\nmodels:\n- model: org/a\n")
    with_program(box, "recipe.yml", "out", "--transformers-cache", "cache")
    equal(read_model(box.path("out")), tensors["a"])


@suite.case
def wrong_use(box):
    link(box)
    box.write("recipe.yml", RECIPE)
    for args in (["recipe.yml"], ["recipe.yml", "out", "--seed", "1"], ["recipe.yml", "out", "--out-shard-size", "x"], ["recipe.yml", "out", "--no-safe-serialization"]):
        equal(box.run(*args, program=box.path("mergekit-yaml")).code, 2, " ".join(args))
        assert not os.path.exists(box.path("out"))


sys.exit(suite.run())
