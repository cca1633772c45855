#!/usr/bin/env python3
"""The audit from outside: explanations, counterfactuals, --no-audit, and what the record says of it."""
import json
import os
import sys

from harness import Suite, equal
from model_maker import make_llama, make_trio

suite = Suite(prepare=lambda root: make_trio(root, exact=False))
RECIPE = """merge_method: della
base_model: ./base
models:
- model: ./a
  parameters:
    weight: [{filter: mlp, value: 0.25}, {value: [0.5, 1.0]}]
- model: ./b
  parameters: {weight: 0.5, epsilon: 0.05}
parameters:
  density: 0.6
  epsilon: 0.2
"""


def prepare(box, recipe=RECIPE):
    for name in os.listdir(box.shared):
        os.symlink(os.path.join(box.shared, name), box.path(name))
    box.write("recipe.yml", recipe)


def record(box, out):
    with open(box.path(out, "crucible.json")) as f:
        return json.load(f)


@suite.case
def one_parameter_from_the_recipe_to_the_formula(box):
    prepare(box)
    text = box.ok("plan", "recipe.yml", "-q", "--explain-parameter", "weight").out
    for words in ("weight of della", "./a", "recipe.yml:6", "filter mlp", "gradient at t = 0.0000", "./b", "recipe.yml:8", "w_i{"):
        assert words in text, (words, text)
    epsilon = box.ok("plan", "recipe.yml", "-q", "--explain-parameter", "epsilon").out
    assert "epsilon = 0.05  (model" in epsilon and "epsilon = 0.2  (global" in epsilon and "p   = clamp(c - epsilon{[0.2, 0.05]}" in epsilon, epsilon
    wrong = box.run("plan", "recipe.yml", "--explain-parameter", "epsilom")
    equal(wrong.code, 2)
    assert "did you mean `epsilon`" in wrong.err, wrong.err


@suite.case
def a_tensor_with_its_formula_filled_in(box):
    prepare(box)
    text = box.ok("plan", "recipe.yml", "-q", "--explain", "*layers.0.*q_proj*").out
    assert "density{0.6}" in text and "lambda{1}" in text, text


@suite.case
def counterfactuals_count_the_bytes(box):
    prepare(box)
    out = box.ok("merge", "recipe.yml", "out", "--counterfactual", "epsilon", "--counterfactual", "weight=0.3").out
    assert "epsilon = 0 instead: " in out and " differ, in " in out, out
    rows = record(box, "out")["counterfactuals"]
    equal([r["parameter"] for r in rows], ["epsilon", "weight"])
    assert all(0 < r["differ"] <= r["elements"] for r in rows), rows
    # With one model and normalize its weight is divided out again.
    box.write("one.yml", "merge_method: linear\nmodels: [{model: ./a, parameters: {weight: 3}}, {model: ./a, parameters: {weight: 5}}]\n")
    out = box.ok("plan", "one.yml", "-q", "--counterfactual", "weight").out
    assert "`weight` has no effect on the bytes" in out, out
    for question, why in (("nope", "no parameter"), ("rank_scope", "no value at which it does nothing"), ("density=7", "in [0, 1]")):
        wrong = box.run("plan", "recipe.yml", "--counterfactual", question)
        equal(wrong.code, 2, question)
        assert why in wrong.err, wrong.err
    wrong = box.run("merge", "recipe.yml", "other", "--counterfactual", "nope")
    equal(wrong.code, 2)
    assert not os.path.exists(box.path("other"))


@suite.case
def every_merge_is_audited_unless_told_not_to(box):
    prepare(box)
    out = box.ok("merge", "recipe.yml", "out").out
    assert "all kept" in out and "epsilon (" in out, out
    found = record(box, "out")
    equal(found["audit"]["on"], True)
    assert found["audit"]["checks"] > 100 and all(e["ok"] for e in found["expectations"])
    asked = {e["parameter"] for e in found["expectations"]}
    assert {"density", "epsilon", "weight", "lambda", "normalize", "rescale"} <= asked, asked
    out = box.ok("merge", "recipe.yml", "quick", "--no-audit").out
    assert "Not audited" in out, out
    quick = record(box, "quick")
    equal(quick["audit"]["on"], False)
    equal(quick["expectations"], [])
    with open(box.path("out", "model.safetensors"), "rb") as a, open(box.path("quick", "model.safetensors"), "rb") as b:
        assert a.read() == b.read()
    box.ok("verify", "quick")
    box.ok("verify", "out")


@suite.case
def a_gradient_over_one_layer_is_told(box):
    for name in ("x", "y"):
        make_llama(box.path(name), seed=len(name), layers=1)
    recipe = "merge_method: linear\nmodels:\n- model: ./x\n  parameters: {weight: [0.2, 0.9]}\n- model: ./y\n  parameters: {weight: %s}\n"
    box.write("recipe.yml", recipe % "0.5")
    err = box.ok("check", "recipe.yml").text
    assert "recipe.yml:4:24: notice: the gradient of `weight` is taken at one place only" in err, err
    box.write("recipe.yml", recipe % "[{filter: norm.weight, value: [1, 2]}, {value: 0.5}]")
    equal(box.run("check", "recipe.yml", "--strict").code, 2)
    prepare(box)
    assert "one place" not in box.ok("check", "recipe.yml").text


sys.exit(suite.run())
