#!/usr/bin/env python3
"""The output's bytes depend on recipe, inputs and seed only: not on threads, memory, shard size or CPU level."""
import array
import itertools
import json
import os
import random
import re
import sys

from harness import METHODS_WITH_BASE, RANDOM_METHODS, Suite, equal
from model_maker import finetune, make_tensors, read_bytes, read_model, write_model

# One matrix of more than a tile, rows of an odd length, vectors, and a cube.
SHAPES = {"model.embed_tokens.weight": [700, 129], "model.layers.0.mlp.up_proj.weight": [33, 65], "model.layers.0.input_layernorm.weight": [129],
          "model.layers.1.mlp.up_proj.weight": [33, 65], "model.layers.1.input_layernorm.weight": [129], "model.layers.1.conv.weight": [5, 3, 7],
          "lm_head.weight": [40, 129]}


def prepare(root):
    base = make_tensors(SHAPES, "BF16", 1, exact=False)
    for i, name in enumerate(["base", "a", "b", "c"]):
        write_model(os.path.join(root, name), base if i == 0 else finetune(base, i), others={})


suite = Suite(prepare=prepare)


def recipe_for(method):
    if method == "linear":
        return "merge_method: linear\nmodels:\n- model: ./a\n- model: ./b\n- model: ./c\nparameters: {weight: [0.3, 0.7]}\n"
    if method == "slerp":
        return "merge_method: slerp\nbase_model: ./a\nmodels: [{model: ./b}]\nparameters: {t: [0.2, 0.6]}\n"
    density = "" if method == "task_arithmetic" else "  density: [0.4, 0.6]\n"
    return "merge_method: %s\nbase_model: ./base\nmodels:\n- model: ./a\n- model: ./b\n- model: ./c\nparameters:\n  weight: 0.7\n%s" % (method, density)


def link(box):
    for name in os.listdir(box.shared):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def weights_of(box, recipe, out, *options):
    box.write("recipe.yml", recipe)
    box.ok("merge", "recipe.yml", out, "--quiet", *options)
    return read_bytes(box.path(out, "model.safetensors"))


def smallest_memory(box):
    """What the program itself says it needs at least."""
    result = box.run("merge", "recipe.yml", "never", "--memory", "1", "--quiet")
    return re.search(r"use --memory (\d+)", result.err).group(1)


def same_bytes_case(method):
    def check(box):
        link(box)
        recipe = recipe_for(method)
        expected = weights_of(box, recipe, "threads-1", "--threads", "1")
        variants = {"threads-2": ["--threads", "2"], "threads-5": ["--threads", "5"], "memory-small": ["--threads", "3", "--memory", smallest_memory(box)],
                    "memory-large": ["--threads", "3", "--memory", "1GiB"]}
        for out, options in variants.items():
            assert weights_of(box, recipe, out, *options) == expected, "other bytes with " + " ".join(options)
        for size in ("1", "50kB"):
            box.ok("merge", "recipe.yml", "shards-" + size, "--quiet", "--out-shard-size", size)
            equal(read_model(box.path("shards-" + size)), read_model(box.path("threads-1")), "tensors in shards of " + size)
        box.ok("merge", "recipe.yml", "again", "--quiet")
        equal(read_bytes(box.path("again", "model.safetensors")), expected, "a second run")
    return check


for method in METHODS_WITH_BASE + ["linear", "slerp"]:
    suite.add("same bytes by " + method, same_bytes_case(method))


@suite.case
def same_bytes_on_every_cpu_level(box):
    link(box)
    box.write("recipe.yml", recipe_for("linear"))
    levels = re.search(r"not one of (.*)", box.run("merge", "recipe.yml", "out", "--cpu-level", "?").err).group(1)
    levels = re.split(r", | and ", levels.strip())
    for method in ("linear", "slerp", "ties", "della", "dare_ties", "breadcrumbs"):
        expected = weights_of(box, recipe_for(method), method)
        for level in levels:
            got = weights_of(box, recipe_for(method), "%s-%s" % (method, level), "--cpu-level", level)
            assert got == expected, "other bytes by %s on %s" % (method, level)


# More tiles than the cuts of a selection are looked for in one by one: with memory the cut lies in a window, without it is counted.
WIDE = {"model.layers.0.mlp.up_proj.weight": [1100, 1000]}


def wide_model(folder, dtype, seed):
    """Blocks of fine-tuned weights whose lengths have no common factor, so that no two places are alike."""
    base, moves = random.Random(1), random.Random(seed)
    weights = [base.gauss(0, 0.02) for _ in range(40009)]
    steps = [moves.gauss(0, 0.001) if seed else 0.0 for _ in range(30011)]
    n = WIDE["model.layers.0.mlp.up_proj.weight"][0] * WIDE["model.layers.0.mlp.up_proj.weight"][1]
    values = array.array("f", map(float.__add__, itertools.islice(itertools.cycle(weights), n), itertools.islice(itertools.cycle(steps), n)))
    data = values.tobytes()
    if dtype == "BF16":
        data = array.array("H", data)[1::2].tobytes()
    write_model(folder, {name: (dtype, shape, data) for name, shape in WIDE.items()}, others={})


def wide_case(dtype):
    def check(box):
        for seed, name in enumerate(["base", "a", "b", "c"]):
            wide_model(box.path(name), dtype, seed)
        recipes = {m: recipe_for(m).replace("[0.4, 0.6]", "0.3") for m in ("ties", "breadcrumbs", "breadcrumbs_ties")}
        recipes["sce"] = recipe_for("task_arithmetic").replace("task_arithmetic", "sce").replace("weight: 0.7", "select_topk: 0.2")
        recipes["arcee_fusion"] = "merge_method: arcee_fusion\nbase_model: ./base\nmodels: [{model: ./a}]\n"
        for method, recipe in recipes.items():
            expected = weights_of(box, recipe, method, "--threads", "2")
            least = smallest_memory(box)
            assert weights_of(box, recipe, method + "-small", "--threads", "2", "--memory", least) == expected, method
    return check


for dtype in ("F32", "BF16"):
    suite.add("same bytes of a wide %s tensor whatever the memory" % dtype, wide_case(dtype))


@suite.case
def seed_changes_what_is_random_and_is_recorded(box):
    link(box)
    for method in METHODS_WITH_BASE:
        recipe = recipe_for(method)
        default, same, other = (weights_of(box, recipe, "%s-%d" % (method, i), *options) for i, options in enumerate([[], ["--seed", "42"], ["--seed", "43"]]))
        equal(default == same, True, method + " with the default seed")
        equal(default != other, method in RANDOM_METHODS, method + " changes with the seed")
        with open(box.path("%s-2" % method, "crucible.json")) as f:
            equal(json.load(f)["seed"], 43, "the recorded seed")
    box.ok("verify", "della-2")


@suite.case
def order_of_models_does_not_matter(box):
    link(box)
    for method in METHODS_WITH_BASE:
        recipe = recipe_for(method)
        turned = recipe.replace("- model: ./a\n- model: ./b\n- model: ./c\n", "- model: ./c\n- model: ./a\n- model: ./b\n")
        equal(weights_of(box, recipe, method) == weights_of(box, turned, method + "-turned"), True, method)


@suite.case
def shards_of_the_inputs_do_not_matter(box):
    link(box)
    expected = weights_of(box, recipe_for("della"), "whole")
    for name in ("a", "base"):
        os.remove(box.path(name))
        write_model(box.path(name), read_model(os.path.join(box.shared, name)), shards=3, others={})
    equal(weights_of(box, recipe_for("della"), "split") == expected, True, "the same bytes")


sys.exit(suite.run())
