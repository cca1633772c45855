#!/usr/bin/env python3
"""crucible.json: it is what its published schema says, and says the same of the same merge."""
import copy
import json
import os
import sys

from harness import METHODS_WITH_BASE, SOURCE_DIR, Suite, contains, equal
from model_maker import make_trio, tensor, write_model
from schema import Validator

suite = Suite(prepare=lambda root: make_trio(root, exact=False))

WITH_ORIGINS = """merge_method: della
base_model: ./base
models:
- model: ./a
  parameters:
    density: 0.7
    epsilon: [0.1, 0.2]
    weight:
    - {filter: mlp, value: 0.5}
    - value: 0.25
- model: ./b
  parameters: {weight: -0.25, density: 0.5}
parameters: {lambda: 0.9}
dtype: bfloat16
"""


def link(box):
    for name in os.listdir(box.shared):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def schema():
    with open(os.path.join(SOURCE_DIR, "docs", "crucible-record.schema.json")) as f:
        return json.load(f)


def record_of(folder):
    with open(os.path.join(folder, "crucible.json")) as f:
        return json.load(f)


def valid(box, recipe, out, *options):
    record = record_of(box.merge(recipe, out, "--quiet", *options))
    problems = Validator(schema()).problems(record)
    assert not problems, "\n".join(problems[:10])
    return record


@suite.case
def records_of_all_methods_are_valid(box):
    link(box)
    ran = 0
    for method in json.loads(box.ok("methods", "--json").out):
        base = "base_model: ./base\n" if method["base"] != "only when listed" else ""
        if method["name"] == "slerp":
            base = "base_model: ./a\n"
        models = "- model: ./a\n" + ("- model: ./b\n" if method["name"] != "passthrough" and method["name"] != "slerp" else "")
        models = "- model: ./b\n" if method["name"] == "slerp" else models
        given = [p for p in method["parameters"] + method["model_parameters"] if p["required"]]
        values = "".join("  %s: 0.5\n" % p["name"] for p in given)
        recipe = "merge_method: %s\n%smodels:\n%s" % (method["name"], base, models) + ("parameters:\n" + values if values else "")
        if box.write("recipe.yml", recipe) and box.run("check", "recipe.yml", "--quiet").code != 0:
            continue
        valid(box, recipe, method["name"])
        ran += 1
    assert ran >= 15, "only %d methods were tried" % ran


@suite.case
def the_record_says_what_was_asked(box):
    make_trio(box.root, exact=False)
    record = valid(box, WITH_ORIGINS, "out", "--seed", "7")
    equal((record["seed"], record["method"], record["method_title"], record["recipe"]), (7, "della", "DELLA", WITH_ORIGINS))
    equal([i["base"] for i in record["inputs"]], [True, False, False], "which input is the base")
    equal([i["path"] for i in record["inputs"]], ["../base", "../a", "../b"], "paths move with the folder")
    assert box.root not in json.dumps(record), "an absolute path"
    equal(set(record["fields"]) >= {"density", "epsilon", "weight", "lambda", "normalize", "rescale"}, True, "fields")
    mlp = [t for t in record["tensors"] if t["role"] == "mlp" and t.get("layer") == 1][0]
    equal((mlp["stack"], mlp["t"]), ("model.layers", 1.0))
    first, second = (record["parameters"][m["parameters"]] for m in mlp["models"])
    equal((first["weight"]["value"], first["weight"]["filter"], first["weight"]["from"], first["weight"]["line"]), (0.5, "mlp", "model", 9))
    equal((first["epsilon"]["value"], first["epsilon"]["t"]), (0.2, 1.0))
    equal((second["weight"]["value"], second["epsilon"]["from"]), (-0.25, "default"))
    equal(record["parameters"][mlp["global"]]["lambda"]["value"], 0.9)
    assert len(record["parameters"]) < len(record["tensors"]), "equal sets are written once"


@suite.case
def the_record_is_the_same_but_for_run(box):
    link(box)
    box.write("recipe.yml", WITH_ORIGINS)
    records = []
    for options in ([], ["--threads", "1"], ["--threads", "5", "--memory", "1GiB"], ["--cpu-level", "SCALAR"]):
        box.ok("merge", "recipe.yml", "out", "--overwrite", "--quiet", *options)
        records.append(record_of(box.path("out")))
    equal(len({tuple(record.pop("run")) for record in records}), 1, "the keys of run")
    for record in records:
        record.pop("checksum")
    for record in records:
        equal(record, records[0], "the record")


@suite.case
def hashes_follow_the_bytes(box):
    link(box)
    recipe = "merge_method: linear\nmodels:\n- model: ./a\n- {model: ./b, parameters: {weight: 2}}\nparameters: {weight: %s}\n"
    one, same, other = (valid(box, recipe % w, "out%d" % i) for i, w in enumerate(("0.5", "0.5", "0.25")))
    equal([t["hash"] for t in one["tensors"]], [t["hash"] for t in same["tensors"]])
    for a, b in zip(one["tensors"], other["tensors"]):
        equal(a["hash"] == b["hash"], False, a["name"])
    names = {c["name"] for c in one["companions"]}
    equal(names, set(os.listdir(box.path("out0"))) - {"crucible.json", "crucible_report.html", "model.safetensors"}, "companions")
    for c in one["companions"]:
        equal(c["bytes"], os.path.getsize(box.path("out0", c["name"])), c["name"])
    equal(all("content_hash" not in f for i in one["inputs"] for f in i["files"]), True, "content is hashed only when asked")
    hashed = valid(box, recipe % "0.5", "hashed", "--hash")
    content = [f["content_hash"] for i in hashed["inputs"] for f in i["files"]]
    equal(len(set(content)), 2, "one hash for each file")
    # The merge of one model with itself alone writes the same tensors: the file of the output hashes like that of the input.
    write_model(box.path("x"), {"t": tensor("F32", [3], [1.0, 2.0, 3.0])})
    write_model(box.path("y"), {"t": tensor("F32", [3], [1.0, 2.0, 3.5])})
    x, y = (valid(box, "merge_method: passthrough\nmodels: [{model: ./%s}]\n" % m, "copy-" + m, "--hash") for m in "xy")
    equal(x["inputs"][0]["files"][0]["header_hash"], y["inputs"][0]["files"][0]["header_hash"], "headers agree")
    equal(x["inputs"][0]["files"][0]["content_hash"] == y["inputs"][0]["files"][0]["content_hash"], False, "content differs")


@suite.case
def empty_and_odd_tensors_are_hashed(box):
    for m in ("x", "y"):
        write_model(box.path(m), {"none": tensor("F16", [0, 4], []), "one": tensor("F16", [], [1.0]), "ids": tensor("I64", [3], [1, 2, 3])})
    record = valid(box, "merge_method: linear\nmodels: [{model: ./x}, {model: ./y}]\nparameters: {weight: 0.5}\n", "out")
    equal({t["name"] for t in record["tensors"]}, {"none", "one", "ids"})
    equal([t["name"] for t in record["tensors"] if "copied_from" in t], ["ids"])


@suite.case
def the_schema_can_fail(box):
    link(box)
    validator = Validator(schema())
    record = valid(box, WITH_ORIGINS, "out")

    def broken(change):
        other = copy.deepcopy(record)
        change(other)
        return validator.problems(other)

    merged = next(i for i, t in enumerate(record["tensors"]) if "models" in t)
    wrong = {
        "another version": lambda r: r.update(version=1),
        "no seed": lambda r: r.pop("seed"),
        "a key that nobody knows": lambda r: r.update(colour="blue"),
        "a hash too short": lambda r: r["tensors"][0].update(hash="12ab"),
        "a hash in capitals": lambda r: r.update(plan_digest="A" * 32),
        "a count below zero": lambda r: r["files"][0].update(bytes=-1),
        "a number as text": lambda r: r["tensors"][merged].update(t="0.5"),
        "true as a count": lambda r: r["measured"].update(elements=True),
        "half a count": lambda r: r["measured"].update(elements=0.5),
        "a role that is none": lambda r: r["tensors"][0].update(role="queue"),
        "a level that is none": lambda r: next(iter(r["parameters"][0].values())).update({"from": "file"}),
        "a tensor that is neither merged nor copied": lambda r: r["tensors"][merged].pop("models"),
        "nine tenths": lambda r: r["measured"]["models"][0]["deciles"].pop(),
        "no inputs": lambda r: r.update(inputs=[]),
    }
    for what, change in wrong.items():
        assert broken(change), "the schema accepts a record with " + what
    for key in record:
        assert broken(lambda r: r.pop(key)) or key in ("layer_map", "expectations", "audit"), "the schema does not miss " + key


@suite.case
def the_validator_knows_every_keyword_of_the_schema(box):
    def keywords(node, names):
        for key, value in node.items():
            if key in ("properties", "$defs"):
                for one in value.values():
                    keywords(one, names)
                names.add(key)
            else:
                names.add(key)
                for one in value if isinstance(value, list) else [value]:
                    if isinstance(one, dict):
                        keywords(one, names)
        return names
    for name in keywords(schema(), set()) - {"$schema", "$defs", "title", "description"}:
        assert hasattr(Validator, "check_" + name.lstrip("$")), name


sys.exit(suite.run())
