#!/usr/bin/env python3
"""crucible analyze: its numbers against plain arithmetic, its text, its suggestions; hostile and unfitting models; exit codes."""
import json
import math
import os
import random
import sys

from harness import Suite, contains, equal
from model_maker import config_for, decode, finetune, llama_shapes, make_tensors, make_trio, read_model, safetensors_bytes, tensor, write_file, write_model

suite = Suite(prepare=lambda root: make_trio(root, exact=False))


def link(box, *names):
    for name in names:
        os.symlink(os.path.join(box.shared, name), box.path(name))


def near(got, expected, what, relative=1e-9):
    assert abs(got - expected) <= relative * abs(expected) + 1e-300, "%s: got %r, expected %r" % (what, got, expected)


def analyze(box, *args, **more):
    return json.loads(box.ok("analyze", *args, "--json", **more).out)


@suite.case
def numbers_agree_with_plain_arithmetic(box):
    link(box, "base", "a", "b")
    found = analyze(box, "base", "a", "b")
    read = {n: read_model(box.path(n)) for n in ("base", "a", "b")}
    equal([t["name"] for t in found["tensors"]], sorted(read["base"]))
    total = {"a": 0.0, "b": 0.0, "base": 0.0}
    for t in found["tensors"]:
        values = {n: decode("F16", read[n][t["name"]][2]) for n in read}
        base = sorted(values["base"])
        for q in t["base"]["quantiles"]:
            equal(q["value"], base[max(0, math.ceil(q["q"] * len(base)) - 1)], t["name"])
        deltas = []
        for m, n in enumerate(("a", "b")):
            d = [x - y for x, y in zip(values[n], values["base"])]
            deltas.append(d)
            got = t["models"][m]["delta"]
            near(got["l2"], math.sqrt(math.fsum(x * x for x in d)), t["name"], 1e-6)
            near(got["relative"], math.sqrt(math.fsum(x * x for x in d) / math.fsum(x * x for x in values["base"])), t["name"], 1e-6)
            equal(got["zeros"], d.count(0))
            total[n] += math.fsum(x * x for x in d)
            largest = sorted((abs(x) for x in d), reverse=True)
            half = math.fsum(x * x for x in largest[:math.floor(0.5 * len(d) + 0.5)])
            near(got["energy_held"][found["densities"].index(0.5)], half / math.fsum(x * x for x in d), t["name"], 1e-4)
        total["base"] += math.fsum(x * x for x in values["base"])
        pair = t["pairs"][0]
        equal(pair["models"], [0, 1])
        equal(pair["both_moved"], sum(x != 0 and y != 0 for x, y in zip(*deltas)))
        equal(pair["same_sign"], sum(x * y > 0 for x, y in zip(*deltas)))
    for m, n in enumerate(("a", "b")):
        near(found["all"]["deltas"][m]["l2"], math.sqrt(total[n]), n, 1e-6)
        near(found["all"]["deltas"][m]["relative"], math.sqrt(total[n] / total["base"]), n, 1e-6)
    equal([g["name"] for g in found["layers"]], ["model.layers.0", "model.layers.1"])
    equal({g["name"] for g in found["roles"]}, {"embedding", "head", "norm", "attention", "mlp"})
    equal(sum(g["elements"] for g in found["roles"]), found["all"]["elements"])


@suite.case
def text_fits_the_terminal_and_names_what_to_choose(box):
    link(box, "base", "a", "b")
    text = box.ok("analyze", "base", "a", "b", "--tensors", "--rank").out
    for part in ("task vectors (model - base)", "what the largest magnitudes of each tensor hold", "between task vectors", "by role", "by layer",
                 "model.layers.1", "suggestions", "density", "epsilon", "Weights:", "cosine", "stable rank", "effective rank"):
        contains(text, part)
    equal(box.last.err, "")
    for line in text.splitlines():
        assert len(line) <= 100, "too wide: " + line


@suite.case
def suggestions_quote_their_numbers(box):
    rng = random.Random(1)
    base = {"w": tensor("F32", [50, 40], [rng.gauss(0, 1) for _ in range(2000)])}
    write_model(box.path("base"), base, config_for("F32"))
    write_model(box.path("same"), base, config_for("F32"))
    write_model(box.path("small"), finetune(base, 2, 0.01), config_for("F32"))
    write_model(box.path("large"), finetune(base, 3, 0.05), config_for("F32"))
    found = analyze(box, "base", "same", "small", "large")
    by = {(s["about"], s.get("model")): s for s in found["suggestions"]}
    contains(by["identical", 0]["text"], "[1] is identical to the base in 1 tensor, all that they share")
    assert 0.4 <= by["density", 1]["value"] <= 0.5, by["density", 1]
    held = dict(zip(found["densities"], found["all"]["deltas"][1]["energy_held"]))
    density = by["density", 1]["value"]
    contains(by["density", 1]["text"], "%.1f %% of the energy" % (100 * held[density]))
    assert held[density] >= 0.9 and held[round(density - 0.05, 2)] < 0.9
    assert abs(by["weight", 2]["value"] - 0.2) < 0.02, by["weight", 2]
    equal(by["epsilon", 1]["value"], 0.1)
    contains(by["signs", 1]["text"], "which is chance")


@suite.case
def a_base_alone_is_described(box):
    link(box, "base")
    contains(box.ok("analyze", "base").out, "model.layers.0.mlp.up_proj.weight  F16 [12, 8]")
    found = analyze(box, "base/model.safetensors")
    equal(found["models"], [])
    equal(found["suggestions"], [])


@suite.case
def models_that_do_not_fit_are_told_not_fatal(box):
    link(box, "base")
    other = make_tensors(llama_shapes(layers=3, vocab=20), "F32", 4)
    del other["model.norm.weight"]
    other["ids"] = tensor("I64", [2], [1, 2])
    other["bad"] = tensor("F32", [3], [math.nan, math.inf, 1.0])
    write_model(box.path("x"), other, config_for("F32"))
    result = box.ok("analyze", "base", "x")
    for part in ("1 tensor of the base not there: model.norm.weight", "not in the base", "of another shape than in the base"):
        contains(result.err, part)
    contains(result.out, "2 numbers not finite (NaN or infinite), the first in bad")
    contains(result.out, "1 of other types left out")
    equal(box.ok("analyze", "base", "x", "--quiet").err, "")
    found = analyze(box, "base", "x")
    equal(len(found["notices"]), 3)
    bad = next(t for t in found["tensors"] if t["name"] == "bad")
    equal([bad["models"][0]["weights"]["nonfinite"], bad["models"][0]["weights"]["count"]], [2, 1])
    assert "delta" not in bad["models"][0]


@suite.case
def empty_tensors_and_scalars(box):
    shapes = {"none": ("F32", [0, 4], []), "one": ("F32", [], [2.0]), "zero": ("F32", [2, 2], [0, 0, 0, 0])}
    for name, step in (("a", 0), ("b", 1)):
        write_model(box.path(name), {n: tensor(d, s, [v + step for v in x]) for n, (d, s, x) in shapes.items()}, config_for("F32"))
    found = {t["name"]: t for t in analyze(box, "a", "b", "--rank")["tensors"]}
    equal(found["none"]["base"]["count"], 0)
    equal(found["none"]["base"]["min"], None)
    equal(found["zero"]["base"]["zero_rows"], 2)
    equal(found["zero"]["models"][0]["delta"]["relative"], None, "infinite: the base is all zeros")
    equal(found["one"]["models"][0]["delta"]["magnitude_quantiles"][0]["value"], 1.0)
    box.ok("analyze", "a", "b", "--tensors", "--rank")


@suite.case
def threads_and_memory_do_not_show(box):
    rng = random.Random(2)
    part = [rng.gauss(0, 1) for _ in range(1 << 14)]
    base = {"big": tensor("F32", [200, 1 << 14], part * 200), "small": tensor("BF16", [64], part[:64])}
    moved = {"big": tensor("F32", [200, 1 << 14], (part[:-1] + [0.5]) * 200), "small": tensor("BF16", [64], part[1:65])}
    write_model(box.path("base"), base, config_for("F32"))
    write_model(box.path("a"), moved, config_for("F32"), shards=2)
    first = box.ok("analyze", "base", "a", "--json", "--threads", "1").out
    for more in (["--threads", "3"], ["--threads", "8", "--memory", "60M"]):
        equal(box.ok("analyze", "base", "a", "--json", *more).out, first)
    contains(box.run("analyze", "base", "a", "--memory", "1M").err, "give --memory")
    equal(box.last.code, 3)


@suite.case
def wrong_input_is_told_at_once(box):
    link(box, "base")
    result = box.run("analyze", "nowhere", "base", "nothing")
    equal(result.code, 2)
    contains(result.err, "nowhere")
    contains(result.err, "nothing")
    equal(box.run("analyze").code, 2)
    equal(box.run("analyze", "base", "--filter", "no.*").code, 2)
    contains(box.last.err, "no tensor of a real number type matches")
    write_model(box.path("ints"), {"i": tensor("I64", [1], [1])}, config_for("F32"))
    equal(box.run("analyze", "ints").code, 2)


@suite.case
def damaged_files_are_refused(box):
    link(box, "base")
    good = safetensors_bytes({"w": tensor("F32", [8], range(8))})
    for name, content in {"cut": good[:-4], "empty": b"", "noise": b"\xff" * 64}.items():
        write_file(box.path(name, "model.safetensors"), content)
        write_file(box.path(name, "config.json"), config_for("F32"))
        result = box.run("analyze", "base", name)
        assert result.code in (2, 3), result.code
        contains(result.err, "model.safetensors")
        equal(result.out, "")


@suite.case
def hostile_names_are_printed_safely(box):
    write_model(box.path("a"), {"\x1b[2Jred": tensor("F32", [1], [1])}, config_for("F32"))
    write_model(box.path("b"), {"\x1b[2Jred": tensor("F32", [1], [math.nan]), "\x1b[7m": tensor("F32", [1], [1])}, config_for("F32"))
    text = box.ok("analyze", "a", "b", "--tensors").text
    assert "\x1b" not in text, repr(text)


sys.exit(suite.run())
