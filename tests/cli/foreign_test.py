#!/usr/bin/env python3
"""crucible verify OUT --recipe: which parameters of a recipe show in an output that brings no record of its own."""
import json
import os
import sys

from harness import Suite, contains, equal
from model_maker import finetune, make_tensors, read_model, write_model

SHAPES = {"model.embed_tokens.weight": [200, 96], "model.layers.0.mlp.up_proj.weight": [96, 192], "model.layers.0.input_layernorm.weight": [96],
          "model.layers.1.mlp.up_proj.weight": [96, 192], "model.layers.1.input_layernorm.weight": [96]}


def prepare(root):
    for dtype in ("F32", "BF16"):
        base = make_tensors(SHAPES, dtype, 1, exact=False)
        for i, name in enumerate(["base", "a", "b"]):
            write_model(os.path.join(root, dtype, name), base if i == 0 else finetune(base, 10 + i, 0.02), others={})


suite = Suite(prepare=prepare)


def recipe(method, weights=(0.7, 0.4), **parameters):
    models = "".join("- model: ./%s\n  parameters: {weight: %s}\n" % (m, w) for m, w in zip("ab", weights))
    return "merge_method: %s\nbase_model: ./base\nmodels:\n%sparameters:\n%s" % (
        method, models, "".join("  %s: %s\n" % (k.rstrip("_"), v) for k, v in parameters.items()))


def judge(box, made, asked, dtype="F32"):
    """Merges by one recipe and judges by another: exit code and verdicts by (parameter, model)."""
    for name in ("base", "a", "b"):
        if not os.path.exists(box.path(name)):
            os.symlink(os.path.join(box.shared, dtype, name), box.path(name))
    out = box.merge(made, "out", "--quiet", "--overwrite", "--seed", "7")
    os.remove(out + "/crucible.json")
    box.write("asked.yml", asked)
    code = box.run("verify", "out", "--recipe", "asked.yml", "--json").code
    answer = json.loads(box.last.out)
    equal(code, 0 if answer["ok"] else 1, "exit code")
    return answer, {(p["parameter"], p.get("model", "")): p for p in answer["parameters"]}


def no(parameters):
    return sorted({name for (name, _), p in parameters.items() if p["verdict"] == "does not show"})


RANDOM = dict(density=0.6, lambda_=0.8)


def right_recipe_says_yes(method, dtype, **more):
    def check(box):
        asked = recipe(method, **RANDOM, **more)
        answer, parameters = judge(box, asked, asked, dtype)
        equal((answer["ok"], no(parameters), answer["wrong"]), (True, [], []))
        equal(parameters["density", "./a"]["verdict"], "shows")
        assert abs(parameters["density", "./a"]["found"] - 0.6) < 0.02, parameters
        if more:
            equal(parameters["epsilon", "./a"]["verdict"], "shows")
            assert abs(parameters["epsilon", "./a"]["found"] - more["epsilon"]) < 0.03, parameters
    return check


for method, more in (("dare_linear", {}), ("dare_ties", {}), ("della", dict(epsilon=0.2)), ("della_linear", dict(epsilon=0.2))):
    for dtype in ("F32", "BF16"):
        suite.add("yes to %s in %s" % (method, dtype), right_recipe_says_yes(method, dtype, **more))


def other_value_is_named(method, dtype, made, name, **asked):
    def check(box):
        _, parameters = judge(box, recipe(method, **{**asked, **made}), recipe(method, **asked), dtype)
        equal(no(parameters), [name], "what does not show")
    return check


for dtype in ("F32", "BF16"):
    suite.add("epsilon of della, ignored, " + dtype, other_value_is_named("della", dtype, dict(epsilon=0), "epsilon", epsilon=0.3, **RANDOM))
    suite.add("density of dare_ties, " + dtype, other_value_is_named("dare_ties", dtype, dict(density=0.8), "density", **RANDOM))
    suite.add("lambda of della, ignored, " + dtype, other_value_is_named("della", dtype, dict(lambda_=1), "lambda", epsilon=0.2, **RANDOM))
    suite.add("lambda of task_arithmetic, ignored, " + dtype, other_value_is_named("task_arithmetic", dtype, dict(lambda_=1), "lambda", lambda_=0.5))
    suite.add("density of ties, ignored, " + dtype, other_value_is_named("ties", dtype, dict(density=1), "density", density=0.4, lambda_=0.8))
suite.add("rescale of dare_linear, ignored", other_value_is_named("dare_linear", "F32", dict(rescale="false"), "rescale", rescale="true", **RANDOM))
suite.add("normalize of ties, ignored", other_value_is_named("ties", "F32", dict(normalize="false"), "normalize", normalize="true", density=0.5))


@suite.case
def epsilon_is_told_in_words(box):
    judge(box, recipe("della", epsilon=0, **RANDOM), recipe("della", epsilon=0.3, **RANDOM))
    equal(box.run("verify", "out", "--recipe", "asked.yml").code, 1)
    contains(box.last.out, "does not show epsilon of ./a: 0.3 asked, ")


@suite.case
def weight_of_one_model_is_named(box):
    _, parameters = judge(box, recipe("task_arithmetic", (0.7, 1), lambda_=0.5), recipe("task_arithmetic", (0.7, 0.4), lambda_=0.5))
    equal([k for k, p in parameters.items() if p["verdict"] == "does not show"], [("weight", "./b")])
    assert abs(parameters["weight", "./b"]["found"] - 1) < 0.01, parameters


@suite.case
def deterministic_methods_say_yes(box):
    for asked in (recipe("ties", density=0.5, lambda_=0.7), recipe("task_arithmetic", lambda_=0.7), recipe("breadcrumbs", density=0.6, gamma=0.05),
                  "merge_method: linear\nmodels:\n- {model: ./a, parameters: {weight: 0.3}}\n- {model: ./b, parameters: {weight: 0.6}}\n",
                  "merge_method: slerp\nbase_model: ./base\nmodels: [{model: ./a}]\nparameters: {t: 0.3}\n"):
        for dtype in ("F32",):
            answer, parameters = judge(box, asked, asked, dtype)
            equal((answer["ok"], no(parameters), answer["wrong"]), (True, [], []), asked)
            assert any(p["verdict"] == "shows" for p in parameters.values()), asked


@suite.case
def what_makes_no_difference_is_not_judged(box):
    _, parameters = judge(box, recipe("della", (1, 1), density=1, epsilon=0.1), recipe("della", (1, 1), density=1, epsilon=0.1))
    equal(no(parameters), [])
    equal(("epsilon", "./a") in parameters, False, "a ramp where nothing is dropped")


@suite.case
def another_merge_and_missing_tensors_are_wrong(box):
    answer, _ = judge(box, "merge_method: linear\nmodels:\n- {model: ./b, parameters: {weight: 0.6}}\n", recipe("della", epsilon=0.2, **RANDOM))
    equal(answer["ok"], False, "another merge")
    tensors = read_model(box.path("out"))
    missing = tensors.pop("model.layers.1.mlp.up_proj.weight")
    tensors["more"] = missing
    write_model(box.path("less"), tensors, others={})
    equal(box.run("verify", "less", "--recipe", "asked.yml", "--json").code, 1)
    answer = json.loads(box.last.out)
    contains(" ".join(answer["wrong"]), "model.layers.1.mlp.up_proj.weight")
    contains(" ".join(answer["remarks"]), "more")


@suite.case
def options_that_do_not_go_together(box):
    judge(box, recipe("ties", density=0.5), recipe("ties", density=0.5))
    for option in ("--all", "--hashes-only"):
        equal(box.run("verify", "out", "--recipe", "asked.yml", option).code, 2)
    equal(box.run("verify", "out", "--recipe", "none.yml").code, 2)


sys.exit(suite.run())
