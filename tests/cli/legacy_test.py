#!/usr/bin/env python3
"""`legacy` and mergekit-legacy: options become the recipe that says the same."""
import os
import sys

from harness import CRUCIBLE, Suite, contains, equal
from model_maker import make_trio, read_bytes

suite = Suite(prepare=lambda root: make_trio(root))


def link(box):
    for name in ("base", "a", "b"):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def weights(box, folder):
    return read_bytes(box.path(folder, "model.safetensors"))


def same(box, recipe, *args):
    box.merge(recipe, "plain", "--overwrite")
    box.ok("legacy", "out", *args, "--overwrite")
    equal(weights(box, "out"), weights(box, "plain"), " ".join(args))


BOTH = ["--merge", "./a", "--merge", "./b", "--base-model", "./base"]


@suite.case
def options_become_the_recipe(box):
    link(box)
    head = "merge_method: %s\nbase_model: ./base\nmodels:\n- model: ./a\n  parameters: {%s}\n- model: ./b\n  parameters: {%s}\n"
    same(box, head % ("ties", "weight: 1, density: 0.5", "weight: 1, density: 0.5"), *BOTH, "--density", "0.5")
    same(box, head % ("ties", "weight: 1, density: 0.5", "weight: 2, density: 0.25") + "parameters: {normalize: false}\ndtype: bfloat16\n", *BOTH, "--density", "0.5",
         "--density", "0.25", "--weight", "1", "--weight", "2", "--no-normalize", "--bf16")
    same(box, head % ("dare_ties", "weight: 0.5, density: 0.5", "weight: 0.5, density: 0.5") + "parameters: {normalize: true}\n", *BOTH, "--method", "dare_ties",
         "--weight", "0.5", "--density", "0.5")
    same(box, "merge_method: linear\nmodels:\n- model: ./a\n  parameters: {weight: 1}\n- model: ./b\n  parameters: {weight: 3}\n- model: ./base\n  parameters: {weight: 2}\n",
         *BOTH, "--method", "linear", "--weight", "1", "--weight", "3", "--weight", "2")
    same(box, "merge_method: slerp\nbase_model: ./a\nmodels:\n- model: ./a\n- model: ./b\nparameters: {t: 0.25}\n", "--merge", "./a", "--merge", "./b", "--base-model",
         "./a", "--method", "slerp", "--weight", "0.25")


@suite.case
def with_mergekits_command_line(box):
    link(box)
    os.symlink(CRUCIBLE, box.path("mergekit-legacy"))
    program = dict(program=box.path("mergekit-legacy"))
    box.ok("legacy", "plain", *BOTH, "--density", "0.5", "--bf16")
    box.ok("out", *BOTH, "--density", "0.5", "--bf16", "--int8-mask", "--print-yaml", "--lazy-unpickle", "-v", **program)
    equal(weights(box, "out"), weights(box, "plain"))
    contains(box.last.out, "merge_method: ties\n")
    contains(box.last.err, "--int8-mask has no effect")
    equal(box.ok("legacy", "never", *BOTH, "--density", "0.5", "--print-recipe").out.splitlines()[0], "merge_method: ties")
    assert not os.path.exists(box.path("never"))


@suite.case
def wrong_use(box):
    link(box)
    for args, part in (([*BOTH, "--naive-count"], "--naive-count"), ([*BOTH, "--method", "tise"], "did you mean `ties`?"),
                       ([*BOTH, "--weight", "1", "--weight", "2", "--weight", "3", "--weight", "4"], "--weight is given 4 times for 3 models, the base model included"),
                       ([*BOTH, "--method", "linear", "--weight", "1", "--weight", "2"], "--weight is given 2 times for 3 models"),
                       ([*BOTH, "--density", "2"], "density"), (["--merge", "./a", "--method", "slerp"], "one --weight"), (BOTH[:4], "needs a `base_model`"),
                       ([], "--merge"), ([*BOTH, "--method", "linear", "--density", "0.5"], "density")):
        equal(box.run("legacy", "out", *args).code, 2, " ".join(args))
        contains(box.last.err, part)
    assert not os.path.exists(box.path("out"))


sys.exit(suite.run())
