#!/usr/bin/env python3
"""Roles of tensors: `crucible inspect` shows them and why, filters of a recipe ask for them, the plan and the audit agree on them."""
import json
import os
import sys

from harness import Suite, contains, equal
from model_maker import config_for, llama_shapes, make_tensors, read_model, write_model

suite = Suite()


def make_pair(box, shapes=None, config=None):
    shapes = shapes or llama_shapes(2)
    for i, name in enumerate(("a", "b")):
        write_model(box.path(name), make_tensors(shapes, "F16", i + 1), config or config_for("F16", 2))


def recipe(weight):
    return "merge_method: linear\nmodels:\n- {model: ./a, parameters: {weight: %s}}\n- {model: ./b, parameters: {weight: 1}}\nparameters: {normalize: false}\n" % weight


def weights(box, text):
    box.write("recipe.yml", text)
    plan = json.loads(box.ok("plan", "recipe.yml", "--json").out)
    return {t["name"]: s["parameters"]["weight"]["value"] for t in plan["tensors"] for s in t["sources"] if s["model"] == "./a"}


@suite.case
def filters_by_role(box):
    shapes = llama_shapes(2)
    shapes["model.layers.0.self_attn.q_proj.bias"] = [8]
    make_pair(box, shapes)
    cases = {"role:attention": lambda n: "self_attn" in n, "role:attention.q": lambda n: "q_proj" in n, "role:mlp": lambda n: "mlp" in n,
             "role:norm": lambda n: "norm" in n, "role:embedding": lambda n: "embed" in n, "role:head": lambda n: "lm_head" in n,
             "role:bias": lambda n: n.endswith("bias"), "role:mlp.down": lambda n: "down_proj" in n}
    for role, wanted in cases.items():
        got = weights(box, recipe('[{filter: "%s", value: 3}, {value: 2}]' % role))
        equal({n for n, w in got.items() if w == 3}, {n for n in got if wanted(n)}, role)


@suite.case
def unknown_roles_and_roles_that_match_nothing(box):
    make_pair(box)
    box.write("recipe.yml", recipe('[{filter: "role:atention", value: 3}, {value: 2}]'))
    result = box.run("check", "recipe.yml")
    equal(result.code, 2)
    contains(result.err, "recipe.yml:3:47: error: there is no role `atention`; roles are embedding, attention, ")
    contains(result.err, "did you mean `role:attention`?")
    box.write("recipe.yml", recipe('[{filter: "role:vision", value: 3}, {value: 2}]'))
    contains(box.ok("check", "recipe.yml").err, "applies to no tensor: filter `role:vision` matches none")


@suite.case
def merge_audit_record_and_verify(box):
    make_pair(box)
    out = box.merge(recipe('[{filter: "role:attention", value: [0, 1]}, {filter: "role:norm", value: 0.25}, {value: 0.5}]'))
    contains(box.last.out, "all kept")
    with open(os.path.join(out, "crucible.json")) as f:
        record = json.load(f)
    equal({t["role"] for t in record["tensors"]}, {"embedding", "attention", "mlp", "norm", "head"})
    box.ok("verify", "out", "--all")
    explained = box.ok("plan", "recipe.yml", "--explain", "*1.self_attn.q_proj*").out
    contains(explained, "role attention.q: name part `q_proj`")
    contains(explained, "filter role:attention, gradient at t = 1.0000")


@suite.case
def made_up_names(box):
    shapes = {"alpha.w": [16, 8], "omega.w": [16, 8]}
    for i in range(3):
        shapes.update({"stage.%d.one.w" % i: [12, 8], "stage.%d.two.w" % i: [8, 12], "stage.%d.three" % i: [8]})
    make_pair(box, shapes, config_for("F16", 3, intermediate_size=12))
    got = weights(box, recipe('[{filter: "role:embedding", value: 3}, {filter: "role:mlp", value: 4}, {filter: "role:norm", value: 5}, {value: 2}]'))
    equal({n: w for n, w in got.items() if not n.startswith("stage")}, {"alpha.w": 3, "omega.w": 2})
    equal([got["stage.1." + n] for n in ("one.w", "two.w", "three")], [4, 4, 5])


@suite.case
def vision_towers(box):
    shapes = llama_shapes(2)
    for i in range(2):
        shapes["visual.blocks.%d.attn.qkv.weight" % i] = [24, 8]
    for i in (0, 2):
        shapes["visual.merger.mlp.%d.weight" % i] = [8, 8]
    make_pair(box, shapes, config_for("F16", 2, vision_config={"depth": 2}))
    got = weights(box, recipe('[{filter: "role:vision", value: [3, 5]}, {filter: "role:projector", value: [7, 9]}, {value: 2}]'))
    equal({n: w for n, w in got.items() if w != 2}, {"visual.blocks.0.attn.qkv.weight": 3, "visual.blocks.1.attn.qkv.weight": 5,
                                                     "visual.merger.mlp.0.weight": 7, "visual.merger.mlp.2.weight": 7})
    text = box.ok("inspect", "a").out
    contains(text, "layers model.layers: 2 (config.json: num_hidden_layers); layer_range cuts these")
    contains(text, "layers visual.blocks: 2, vision (config.json: vision_config.depth)")
    assert "layers visual.merger" not in text, text


@suite.case
def inspect_shows_roles_and_why(box):
    shapes = llama_shapes(3)
    shapes["model.layers.0.self_attn.q_proj.bias"] = [8]
    make_pair(box, shapes)
    text = box.ok("inspect", "a").out
    contains(text, "roles, and what tells them")
    contains(text, "name part `q_proj`")
    contains(text, "layers model.layers: 2 (config.json: num_hidden_layers); 1 extra behind them")
    contains(text, "embedding model.embed_tokens.weight, 16 rows; head lm_head.weight")
    contains(text, "of them mtp")
    listed = box.ok("inspect", "a", "--tensors").out
    contains(listed, "\n    attention.q, bias: name part `q_proj`\n")
    found = json.loads(box.ok("inspect", "a", "--json").out)
    equal(found["layer_stacks"], [{"name": "model.layers", "layers": 2, "config_key": "num_hidden_layers", "also_keys": [], "tower": "",
                                   "extra": 1, "main": True}])
    of = {t["name"]: t for t in found["tensors"]}
    equal((of["model.layers.2.mlp.up_proj.weight"]["role"], of["model.layers.2.mlp.up_proj.weight"]["mtp"]), ("mlp.up", True))
    equal(sum(r["tensors"] for r in found["roles"]), len(of))


sys.exit(suite.run())
