#!/usr/bin/env python3
"""crucible diff: what it finds, against numbers computed here; its exit codes; its JSON; hostile input."""
import json
import math
import os
import random
import struct
import sys

from harness import Suite, contains, equal
from model_maker import (config_for, decode, encode, llama_shapes, make_tensors, make_trio, read_model, safetensors_bytes, tensor, write_file,
                         write_model)

suite = Suite(prepare=lambda root: make_trio(root, exact=False))


def link(box, *names):
    for name in names:
        os.symlink(os.path.join(box.shared, name), box.path(name))


def near(got, expected, what, relative=1e-12):
    assert abs(got - expected) <= relative * max(abs(expected), 1e-300), "%s: got %r, expected %r" % (what, got, expected)


def diff(box, *args, code=1):
    result = box.run("diff", *args)
    equal(result.code, code, "exit code")
    return result


def diff_json(box, *args, code=1):
    found = json.loads(diff(box, *args, "--json", code=code).out)
    return found, {t["name"]: t for t in found["tensors"]}


@suite.case
def the_same_model_is_equal(box):
    link(box, "base")
    result = diff(box, "base", "base", code=0)
    contains(result.out, "identical: equal")
    found, tensors = diff_json(box, "base", "base/model.safetensors", code=0)
    equal(found["equal"], True)
    equal({t["status"] for t in tensors.values()}, {"identical"})
    equal(diff(box, "base", "base", "--quiet", code=0).text, "")


@suite.case
def numbers_agree_with_plain_arithmetic(box):
    link(box, "base", "a")
    base, other = {}, {}
    for name, where in (("base", base), ("a", other)):
        where.update(read_model(box.path(name)))
    found, tensors = diff_json(box, "base", "a")
    equal(set(tensors), set(base))
    for name, (dtype, shape, data) in base.items():
        x, y = decode(dtype, data), decode(dtype, other[name][2])
        t = tensors[name]
        d = [p - q for p, q in zip(x, y)]
        na, nb, nd = (math.sqrt(math.fsum(v * v for v in s)) for s in (x, y, d))
        near(t["relative"], nd / na, name)
        near(t["norm_a"], na, name)
        near(t["norm_b"], nb, name)
        near(t["cosine"], math.fsum(p * q for p, q in zip(x, y)) / (na * nb), name, 1e-10)
        largest = max(range(len(d)), key=lambda i: abs(d[i]))
        equal(t["largest_change"], abs(d[largest]), name)
        index = t["largest_at"]["index"]
        flat = 0
        for i, n in zip(index, shape):
            flat = flat * n + i
        equal(flat, largest, "place in " + name)
        equal([t["largest_at"]["a"], t["largest_at"]["b"]], [x[largest], y[largest]])
        equal(t["elements_changed"], sum(p != q for p, q in zip(x, y)), name)
        equal(t["elements"], len(x))


@suite.case
def one_flipped_bit_is_named(box):
    link(box, "base")
    tensors = dict(read_model(box.path("base")))
    name = "model.layers.1.mlp.up_proj.weight"
    dtype, shape, data = tensors[name]
    flipped = bytearray(data)
    flipped[2 * 19] ^= 1
    tensors[name] = (dtype, shape, bytes(flipped))
    write_model(box.path("x"), tensors, config_for("F16"))
    text = diff(box, "base", "x").out
    contains(text, name + " [2, 3]")
    found, all_tensors = diff_json(box, "base", "x")
    equal(found["counts"]["changed"], 1)
    equal(all_tensors[name]["elements_changed"], 1)
    diff(box, "base", "x", "--filter", "*down_proj*", code=0)
    diff(box, "base", "x", "--filter", "*up_proj*", code=1)


@suite.case
def added_removed_reshaped_retyped(box):
    values = [random.Random(3).gauss(0, 1) for _ in range(12)]
    a = {"same": tensor("F32", [3, 4], values), "gone": tensor("F32", [2], [1, 2]), "bent": tensor("F32", [3, 4], values),
         "typed": tensor("F32", [4], [1, 2, 3.00001, -0.0]), "codes": tensor("I64", [3], [1, 2, 3]), "kinds": tensor("I64", [2], [1, 2])}
    b = {"same": a["same"], "new": tensor("F32", [2], [1, 2]), "bent": tensor("F32", [4, 3], values),
         "typed": tensor("BF16", [4], [1, 2, 3, 0.0]), "codes": tensor("I64", [3], [1, 7, 4]), "kinds": tensor("I32", [2], [1, 2])}
    write_model(box.path("a"), a, config_for("F32", layers=2))
    write_model(box.path("b"), b, config_for("F32", layers=3, extra={"deep": [1, 2]}))
    found, t = diff_json(box, "a", "b")
    equal({n: v["status"] for n, v in t.items()}, {"same": "identical", "gone": "removed", "new": "added", "bent": "reshaped", "typed": "retyped",
                                                   "codes": "changed", "kinds": "retyped"})
    equal(t["typed"]["elements_changed"], 1, "by value: -0 is 0")
    equal(t["typed"]["largest_at"]["index"], [2])
    equal(t["codes"]["elements_changed"], 2)
    equal("relative" in t["codes"], False, "integers have no norms")
    equal({c["key"]: (c["a"], c["b"]) for c in found["config"]}, {"num_hidden_layers": ("2", "3"), "extra": (None, '{"deep":[1,2]}')})
    text = diff(box, "a", "b").out
    for part in ("only in A (1):\n  gone  F32 [2]", "only in B (1):\n  new", "other shapes (1):\n  bent  F32 [3, 4] in A, F32 [4, 3] in B",
                 "config.json num_hidden_layers: 2 in A, 3 in B", "1 identical, 1 changed, 2 retyped, 1 reshaped, 1 removed, 1 added: different"):
        contains(text, part)


@suite.case
def retyped_with_equal_values(box):
    exact = [0.5, -1.25, 3.0]
    write_model(box.path("a"), {"w": tensor("BF16", [3], exact)}, config_for("F32"))
    write_model(box.path("b"), {"w": tensor("F64", [3], exact)}, config_for("F32"))
    contains(diff(box, "a", "b").out, "(BF16 in A, F64 in B, equal values)")
    diff(box, "a", "b", "--tolerance", "0", code=0)


@suite.case
def f64_is_compared_in_full(box):
    write_model(box.path("a"), {"w": tensor("F64", [2], [1.0, 1e300])}, config_for("F32"))
    write_model(box.path("b"), {"w": tensor("F64", [2], [1.0 + 2**-40, 1e300])}, config_for("F32"))
    _, t = diff_json(box, "a", "b")
    equal(t["w"]["largest_change"], 2**-40)
    equal(t["w"]["elements_changed"], 1)


@suite.case
def nan_payloads_and_signs_of_zero_are_bytes(box):
    nan = struct.pack("<I", 0x7FC00000), struct.pack("<I", 0x7FC00001)
    one = struct.pack("<f", 1)
    write_model(box.path("a"), {"w": ("F32", [3], nan[0] + one + encode("F32", [0.0]))}, config_for("F32"))
    write_model(box.path("b"), {"w": ("F32", [3], nan[1] + one + encode("F32", [-0.0]))}, config_for("F32"))
    diff(box, "a", "a", code=0)
    _, t = diff_json(box, "a", "b")
    equal([t["w"]["status"], t["w"]["elements_changed"], t["w"]["equal_values"]], ["changed", 2, True])
    equal([t["w"]["nonfinite_a"], t["w"]["nonfinite_b"]], [1, 1])
    contains(diff(box, "a", "b").out, "equal values")
    diff(box, "a", "b", "--tolerance", "0", code=0)


@suite.case
def nan_in_one_model_only(box):
    write_model(box.path("a"), {"w": tensor("F32", [3], [1, 2, 3])}, config_for("F32"))
    write_model(box.path("b"), {"w": tensor("F32", [3], [1, math.nan, 3])}, config_for("F32"))
    found, t = diff_json(box, "a", "b", "--tolerance", "0.5")
    equal([t["w"]["relative"], t["w"]["nonfinite_b"], t["w"]["elements_changed"]], [0.0, 1, 1])
    contains(diff(box, "a", "b").out, "not finite: 0 in A, 1 in B")


@suite.case
def tolerance_is_a_relative_norm(box):
    write_model(box.path("a"), {"w": tensor("F32", [4], [1, 1, 1, 1]), "z": tensor("F32", [2], [0, 0])}, config_for("F32"))
    write_model(box.path("b"), {"w": tensor("F32", [4], [1, 1, 1, 1.5]), "z": tensor("F32", [2], [0, 0])}, config_for("F32"))
    diff(box, "a", "b", "--tolerance", "0.25", code=0)
    diff(box, "a", "b", "--tolerance", "0.2499", code=1)
    diff(box, "a", "b", code=1)
    write_model(box.path("c"), {"w": tensor("F32", [4], [1, 1, 1, 1]), "z": tensor("F32", [2], [0, 1e-9])}, config_for("F32"))
    _, t = diff_json(box, "a", "c", "--tolerance", "100")
    equal(t["z"]["relative"], None, "infinite where A is all zeros")


@suite.case
def config_counts_when_asked(box):
    tensors = make_tensors(llama_shapes())
    write_model(box.path("a"), tensors, config_for("F16"))
    write_model(box.path("b"), tensors, config_for("F16", rope_theta=5.0))
    contains(diff(box, "a", "b", code=0).out, "config.json rope_theta: not there in A, 5.0 in B")
    diff(box, "a", "b", "--config", code=1)
    write_file(box.path("b", "config.json"), '{"x": NaN}')
    contains(diff(box, "a", "b", "--config", code=1).text, "not plain JSON")


@suite.case
def sorted_by_change_and_cut_short(box):
    a = {"t%02d" % i: tensor("F32", [2], [1, 1]) for i in range(30)}
    b = {"t%02d" % i: tensor("F32", [2], [1, 1 + (i * 7 % 30 + 1) / 100]) for i in range(30)}
    write_model(box.path("a"), a, config_for("F32"))
    write_model(box.path("b"), b, config_for("F32"))
    lines = [l for l in diff(box, "a", "b").out.splitlines() if " t" in l and "[1]" in l]
    equal(len(lines), 20)
    shown = [float(l.split()[0]) for l in lines]
    equal(shown, sorted(shown, reverse=True))
    contains(box.last.out, "... 10 more (--all)")
    equal(len([l for l in diff(box, "a", "b", "--all").out.splitlines() if "[1]" in l]), 30)
    for line in box.last.out.splitlines():
        assert len(line) <= 100 or "/" in line, "too wide: " + line


@suite.case
def threads_do_not_show(box):
    rng = random.Random(5)
    big = [rng.gauss(0, 1) for _ in range(1 << 16)]
    a = {"big": tensor("F32", [2, 1 << 20], big * 32), "small": tensor("F32", [5], big[:5]), "none": tensor("F32", [0, 4], [])}
    moved = list(big)
    moved[77] += 1
    b = {"big": tensor("F32", [2, 1 << 20], big * 31 + moved), "small": tensor("F32", [5], big[1:6]), "none": tensor("F32", [0, 4], [])}
    write_model(box.path("a"), a, config_for("F32"))
    write_model(box.path("b"), b, config_for("F32"), shards=2)
    first, t = diff_json(box, "a", "b", "--threads", "1")
    equal(t["big"]["elements_changed"], 1)
    equal(t["big"]["largest_at"]["index"], [1, 15 * (1 << 16) + 77])
    near(t["big"]["norm_a"], math.sqrt(32 * math.fsum(struct.unpack("f", struct.pack("f", v))[0] ** 2 for v in big)), "norm of equal tiles too")
    equal(t["none"]["status"], "identical")
    for threads in ("2", "7"):
        equal(diff_json(box, "a", "b", "--threads", threads)[0], first)
    equal(diff_json(box, "a", "b", "--threads", "7", "--memory", "20M")[0], first)
    contains(diff(box, "a", "b", "--memory", "1M", code=3).err, "give --memory")


@suite.case
def wrong_input_is_told_at_once(box):
    link(box, "base")
    err = diff(box, "nowhere", "nothing", code=2).err
    contains(err, "nowhere")
    contains(err, "nothing")
    assert "--model" not in err, "an option of other commands"
    contains(diff(box, "base", "base", "--filter", "no.such.*", code=2).err, "no tensor of either model matches")
    diff(box, "base", code=2)
    diff(box, "base", "base", "--tolerance", "-1", code=2)
    diff(box, "base", "base", "--threads", "x", code=2)
    contains(diff(box, "base", "base", "--memory", "much", code=2).err, "--memory")


@suite.case
def damaged_files_are_refused(box):
    link(box, "base")
    good = safetensors_bytes({"w": tensor("F32", [8], range(8))})
    for name, content in {"cut": good[:-4], "short": good[:20], "empty": b"", "noise": b"\xff" * 64}.items():
        write_file(box.path(name, "model.safetensors"), content)
        write_file(box.path(name, "config.json"), config_for("F32"))
        result = box.run("diff", "base", name)
        assert result.code in (2, 3), result.code
        contains(result.err, "model.safetensors")
        equal(result.out, "")


@suite.case
def hostile_names_are_printed_safely(box):
    write_model(box.path("a"), {"\x1b[2Jred": tensor("F32", [1], [1])}, config_for("F32"))
    write_model(box.path("b"), {"\x1b[2Jred": tensor("F32", [1], [2])}, config_for("F32", **{"\x1b[31mkey": "\x1b[0m"}))
    text = diff(box, "a", "b").text
    assert "\x1b" not in text
    contains(text, "red")


sys.exit(suite.run())
