#!/usr/bin/env python3
"""Merges and stacks of models in the shape of big public ones, planned from headers alone: what is counted, and which layer comes from
where."""
import json
import os
import sys

from big_models import MODELS, elements, tensors_of, write_big_model
from harness import Suite, contains, equal

suite = Suite(prepare=lambda root: [write_big_model(name, os.path.join(root, name)) for name in MODELS])


def planned(box, recipe, *options):
    return json.loads(box.ok("plan", box.write("recipe.yml", recipe), "--json", *options).out)


def same_tensors(got, want):
    wrong = sorted(name for name in set(got) | set(want) if got.get(name) != want.get(name))
    assert not wrong, "%d tensors, first %s: got %r, expected %r" % (len(wrong), wrong[0], got.get(wrong[0]), want.get(wrong[0]))


def sizes_of(name):
    _, tensors = tensors_of(name)
    return {tensor: (shape, elements(shape) * (4 if dtype == "F32" else 2)) for tensor, (dtype, shape) in tensors.items()}


def linear(box, name):
    entry = "- {model: %s, parameters: {weight: %d}}\n"
    model = os.path.join(box.shared, name)
    return "merge_method: linear\nmodels:\n" + entry % (model, 1) + entry % (model + "/", 3)


def add(name, function):
    suite.add(f"{function.__name__} {name}", lambda box: function(box, name))


def merges(box, name):
    """Every tensor is there once, with its shape; the sizes add up to the public model's."""
    equal(sum(elements(shape) for shape, _ in sizes_of(name).values()), MODELS[name][1], "parameters")
    plan = planned(box, linear(box, name))
    want = sizes_of(name)
    equal(plan["output_bytes"], sum(size for _, size in want.values()), "bytes of the output")
    same_tensors({t["name"]: t["shape"] for t in plan["tensors"]}, {tensor: shape for tensor, (shape, _) in want.items()})
    equal({t["kind"] for t in plan["tensors"]}, {"merge"})
    shards = len(plan["files"])
    equal(all(f["bytes"] < 22_000_000_000 for f in plan["files"]) and shards > plan["output_bytes"] // 22_000_000_000, True, "shards")


def stacks(box, name):
    """Layers [0, 4) and [2, n): the rest of the model stays, the text's layers are renumbered, the config says how many."""
    model, count, stack = os.path.join(box.shared, name), *MODELS[name][2:]
    second = 3 if name == "deepseek_v3" else 2  # its first three layers are dense, and only leading ones can be
    slices = "".join(f"    - sources:\n      - {{model: {model}, layer_range: [{a}, {b}]}}\n" for a, b in ((0, 4), (second, count)))
    plan = planned(box, f"merge_method: passthrough\nmodules:\n  {stack}:\n    slices:\n{slices}"
                        f"  default:\n    models:\n    - model: {model}\n")
    origins = [*range(4), *range(second, count)]
    want = {}
    for tensor, (shape, _) in sizes_of(name).items():
        if not tensor.startswith(stack + "."):
            want[tensor] = shape
            continue
        layer, rest = tensor[len(stack) + 1:].split(".", 1)
        if int(layer) >= count:  # a prediction layer stays behind the others
            want[f"{stack}.{len(origins) + int(layer) - count}.{rest}"] = shape
        want |= {f"{stack}.{new}.{rest}": shape for new, old in enumerate(origins) if old == int(layer)}
    got = {t["name"]: t["shape"] for t in plan["tensors"]}
    same_tensors(got, want)
    equal({t["kind"] for t in plan["tensors"]}, {"copy"})
    equal([int(line.split()[-1]) for line in plan["layers"]], origins, "layer map")


for model_name in MODELS:
    add(model_name, merges)
    if model_name != "qwen3_235b":  # as deepseek_v3, which is the larger
        add(model_name, stacks)


@suite.case
def inspect_names_the_parts(box):
    """What the names and shapes of a mixture of experts tell."""
    out = box.ok("inspect", os.path.join(box.shared, "deepseek_v3")).out
    for word in ("46183 tensors", "expert", "router", "embedding", "model.layers: 61"):
        contains(out, word)


sys.exit(suite.run())
