#!/usr/bin/env python3
"""Merges of tiny models, computed a second time here with Python's own numbers; and the files that come with the weights."""
import json
import os
import sys

from harness import METHODS_WITH_BASE, Suite, contains, equal
from model_maker import (TORCH_NAMES, companions, config_for, count, decode, encode, llama_shapes, make_tensors, make_trio, phi_shapes,
                         read_bytes, read_model, read_safetensors, tensor, to_f32, values_of, write_file, write_model)

suite = Suite(prepare=lambda root: make_trio(root))


def link(box, *names):
    for name in names:
        os.symlink(os.path.join(box.shared, name), box.path(name))


def close(got, expected, dtype):
    """Within one unit in the last place of the stored type."""
    def order(v):
        n = int.from_bytes(encode(dtype, [v]), "little")
        top = 1 << (8 * len(encode(dtype, [v])) - 1)
        return top - n if n & top else n
    return all(abs(order(a) - order(b)) <= 1 for a, b in zip(got, expected))


def linear(models, weights, normalize=True):
    total = sum(weights) if normalize else 1.0
    return [to_f32(sum(w * m[i] for w, m in zip(weights, models)) / total) for i in range(len(models[0]))]


def task_arithmetic(base, models, weights, factor=1.0):
    return [to_f32(b + factor * sum(w * to_f32(m[i] - b) for w, m in zip(weights, models))) for i, b in enumerate(base)]


def compare(out, expected_of, dtype, exact):
    """Every tensor of a folder against a function of its name."""
    for name, (got_dtype, shape, data) in out.items():
        equal(got_dtype, dtype, "dtype of " + name)
        expected = expected_of(name)
        equal(count(shape), len(expected), "elements of " + name)
        if exact:
            equal(data, encode(dtype, expected), "bytes of " + name)
        else:
            assert close(decode(dtype, data), expected, dtype), "%s: %r, expected %r" % (name, decode(dtype, data)[:4], expected[:4])


LINEAR = """\
merge_method: linear
models:
- model: ./a
  parameters: {weight: 0.75}
- model: ./b
  parameters: {weight: 0.25}
"""
TASKS = """\
merge_method: task_arithmetic
base_model: ./base
models:
- model: ./a
  parameters: {weight: 0.5}
- model: ./b
  parameters: {weight: -0.25}
parameters: {lambda: 2}
"""


def arithmetic_case(dtype, out_dtype, exact):
    def check(box):
        models = make_trio(box.root, dtype, 1, exact)
        want = "" if out_dtype is None else "dtype: %s\n" % TORCH_NAMES[out_dtype]
        kept = out_dtype or dtype
        v = lambda model, name: [to_f32(x) for x in values_of(models[model][name])]
        compare(read_model(box.merge(LINEAR + want, "linear")), lambda n: linear([v("a", n), v("b", n)], [0.75, 0.25]), kept, exact)
        compare(read_model(box.merge(TASKS + want, "tasks")), lambda n: task_arithmetic(v("base", n), [v("a", n), v("b", n)], [0.5, -0.25], 2.0), kept, exact)
    return check


for dtype in ("F16", "BF16", "F32", "F64"):
    suite.add("exact arithmetic in " + dtype, arithmetic_case(dtype, None, True))
    suite.add("arithmetic in " + dtype, arithmetic_case(dtype, None, False))
for dtype, out_dtype in (("F16", "BF16"), ("BF16", "F16"), ("F32", "F16"), ("F32", "BF16"), ("F16", "F32"), ("BF16", "F64")):
    suite.add("from %s to %s" % (dtype, out_dtype), arithmetic_case(dtype, out_dtype, False))


@suite.case
def normalize_divides_by_the_sum(box):
    link(box, "a", "b")
    recipe = LINEAR.replace("0.75", "3").replace("0.25", "1")
    equal(read_model(box.merge(recipe, "divided")), read_model(box.merge(LINEAR, "plain")), "3:1 and 0.75:0.25")
    out = read_model(box.merge(recipe.replace("models:", "parameters: {normalize: false}\nmodels:") + "dtype: float32\n", "sum"))
    a, b = (read_safetensors(box.path(m, "model.safetensors"))[1] for m in ("a", "b"))
    compare(out, lambda n: linear([values_of(a[n]), values_of(b[n])], [3, 1], False), "F32", True)


@suite.case
def out_dtype_goes_before_dtype_and_inputs_are_not_rounded(box):
    for i, m in enumerate("ab"):
        write_model(box.path(m), {"t": tensor("F32", [2], [1 + 2.0 ** -9, (1 - 2 * i) * 2.0 ** -20])})
    out = read_model(box.merge(LINEAR.replace("0.75", "0.5").replace("0.25", "0.5") + "dtype: bfloat16\nout_dtype: float32\n"))
    equal(values_of(out["t"]), [1 + 2.0 ** -9, 0.0], "F32 values that bfloat16 cannot hold")


@suite.case
def models_of_several_types(box):
    base = make_tensors(llama_shapes(1), "F32", 1)
    write_model(box.path("base"), base)
    models = {}
    for m, dtype in (("a", "F16"), ("b", "BF16")):
        models[m] = make_tensors(llama_shapes(1), dtype, 7)
        write_model(box.path(m), models[m])
    out = read_model(box.merge(TASKS))
    v = lambda m, n: values_of(models[m][n])
    compare(out, lambda n: task_arithmetic(values_of(base[n]), [v("a", n), v("b", n)], [0.5, -0.25], 2.0), "F32", True)


@suite.case
def every_method_gives_back_a_model_merged_with_itself(box):
    tensors = make_tensors(phi_shapes(2), "F16", 5, exact=False)
    special = [0.0, -0.0, 65504.0, -65504.0, 2.0 ** -24, -2.0 ** -24, 2.0 ** -14, 1.0]
    tensors["model.final_layernorm.weight"] = tensor("F16", [8], special)
    write_model(box.path("m"), tensors)
    for name in "no":
        os.symlink("m", box.path(name))  # other names, the same bytes
    seen = 0
    for method in json.loads(box.ok("methods", "--json").out):
        if "self-merge is the identity" not in method.get("laws", []):
            continue
        needed = {p["name"]: 1.0 for p in method["model_parameters"] if p["required"]}
        needed.update({p["name"]: 0.5 for p in method["parameters"] if p["required"]})
        head = "merge_method: %s\nparameters: %s\n" % (method["name"], json.dumps(needed))
        if method["base"] == "required":
            head += "base_model: ./m\nmodels:\n- model: ./n\n"
            recipe = head if method["name"] in ("slerp", "nearswap", "arcee_fusion") else head + "- model: ./o\n"
        else:
            recipe = head + "models:\n- model: ./m\n" + ("" if method["name"] == "passthrough" else "- model: ./n\n")
        out = box.merge(recipe, "out-" + method["name"])
        equal(read_model(out), tensors, "self-merge by " + method["name"])
        equal(read_safetensors(out + "/model.safetensors")[1], tensors)
        seen += 1
    assert seen >= len(METHODS_WITH_BASE) + 3, "only %d methods" % seen


@suite.case
def integers_and_bools_are_copied_and_never_averaged(box):
    for i, m in enumerate(["base", "a", "b"]):
        write_model(box.path(m), {"w": tensor("F16", [2], [i, i]), "position_ids": tensor("I64", [3], [i, 2**62 + i, -i]),
                                  "mask": tensor("BOOL", [2], [i % 2, 1]), "steps": tensor("U8", [], [i])})
    out = read_model(box.merge(TASKS))
    base = read_model(box.path("base"))
    for name in ("position_ids", "mask", "steps"):
        equal(out[name], base[name], name)
    out = read_model(box.merge(LINEAR + "dtype: bfloat16\n", "linear"))
    equal(out["position_ids"], read_model(box.path("a"))["position_ids"], "copied from the first model")
    equal(out["w"][0], "BF16")


@suite.case
def passthrough_copies_bytes_and_scale_multiplies(box):
    # A NaN with a payload: only a copy keeps it.
    raw = ("F16", [4], bytes.fromhex("01fe" "017c" "0080" "003c"))
    write_model(box.path("a"), {"t": raw})
    recipe = "merge_method: passthrough\nmodels:\n- model: ./a\n"
    equal(read_model(box.merge(recipe))["t"], raw, "copied bytes")
    write_model(box.path("a"), {"t": tensor("F16", [3], [1.5, -0.25, 0.0])})
    scaled = read_model(box.merge(recipe + "  parameters: {scale: -2}\n", "scaled"))
    equal(values_of(scaled["t"]), [-3.0, 0.5, -0.0], "scaled")


@suite.case
def infinite_inputs_pass_with_a_remark(box):
    for m in "ab":
        write_model(box.path(m), {"t": tensor("F16", [2], [float("inf"), 1.0])})
    out = read_model(box.merge(LINEAR))
    equal(values_of(out["t"]), [float("inf"), 1.0])
    contains(box.last.out, "not finite because inputs were not: t")


@suite.case
def empty_and_scalar_tensors(box):
    for i, m in enumerate(["base", "a", "b"]):
        write_model(box.path(m), {"none": tensor("F16", [0, 4], []), "one": tensor("F16", [], [float(i)]), "cube": tensor("F16", [2, 1, 2], [i] * 4)})
    for method in METHODS_WITH_BASE:
        out = read_model(box.merge(TASKS.replace("task_arithmetic", method).replace("-0.25", "0.25"), method))
        equal({n: t[1] for n, t in out.items()}, {"none": [0, 4], "one": [], "cube": [2, 1, 2]}, method)


@suite.case
def config_has_the_output_type_and_the_rest_is_kept(box):
    link(box, "a", "b")
    write_model(box.path("base"), make_tensors(llama_shapes(2)), config_for("F16", 2, dtype="float16", text_config={"torch_dtype": "float16", "x": [1]}))
    with open(box.merge(TASKS + "dtype: bfloat16\n") + "/config.json") as f:
        config = json.load(f)
    expected = json.loads(config_for("BF16", 2, dtype="bfloat16", text_config={"torch_dtype": "bfloat16", "x": [1]}))
    equal(config, expected, "config.json")
    box.merge(TASKS, "same")
    equal(read_bytes(box.path("same/config.json")), read_bytes(box.path("base/config.json")), "config.json where nothing changes")


@suite.case
def companions_come_from_the_base_or_the_first_model(box):
    link(box, "base", "a", "b")
    out = box.merge(TASKS)
    for name, text in companions("base").items():
        equal(read_bytes(os.path.join(out, name)), text.encode(), name)
    equal(read_bytes(box.merge(LINEAR, "linear") + "/tokenizer_config.json"), companions("a")["tokenizer_config.json"].encode(), "of the first model")


@suite.case
def other_weights_and_training_state_are_not_carried_over(box):
    link(box, "a", "b")
    others = {"pytorch_model.bin": "x", "pytorch_model.bin.index.json": "{}", "optimizer.pt": "x", "README.md": "old card\n", "LICENSE": "terms\n",
              ".gitattributes": "x\n", "model-q4.gguf": "x"}
    write_model(box.path("base"), make_tensors(llama_shapes(2)), others={**companions(), **others})
    write_file(box.path("base/original/consolidated.00.pth"), "x")
    out = box.merge(TASKS)
    names = sorted(os.listdir(out))
    equal(names, sorted(list(companions()) + ["LICENSE", "README.md", "config.json", "crucible.json", "crucible_report.html", "mergekit_config.yml", "model.safetensors"]), "files")
    assert "old card" not in read_bytes(out + "/README.md").decode()


@suite.case
def recipe_and_card_and_record_are_written(box):
    link(box, "base", "a", "b")
    recipe = "# a remark that stays\n" + TASKS
    out = box.merge(recipe, "merged-model", "--seed", "7")
    equal(read_bytes(out + "/mergekit_config.yml").decode(), recipe, "the recipe, byte for byte")
    card = read_bytes(out + "/README.md").decode()
    assert card.startswith("---\n") and "# merged-model" in card and recipe in card
    with open(out + "/crucible.json") as f:
        record = json.load(f)
    equal((record["method"], record["seed"], record["recipe"]), ("task_arithmetic", 7, recipe))
    equal([i["model"] for i in record["inputs"]], ["./base", "./a", "./b"])
    set_of_b = [t for t in record["tensors"] if t["name"] == "model.norm.weight"][0]["models"][1]["parameters"]
    weight = record["parameters"][set_of_b]["weight"]
    equal((weight["value"], weight["from"], weight["line"]), (-0.25, "model", 8), "a parameter with its origin")
    assert box.root not in json.dumps(record["inputs"]), "the record can be moved with the folder"


@suite.case
def summary_tells_what_happened(box):
    link(box, "base", "a", "b")
    box.merge(TASKS.replace("task_arithmetic", "della").replace("{lambda: 2}", "{density: 0.5}"))
    contains(box.last.out, "written to out")
    contains(box.last.out, "keep rate by magnitude")
    contains(box.last.err, "of memory predicted")


@suite.case
def quiet_prints_nothing(box):
    link(box, "base", "a", "b")
    box.merge(TASKS, "out", "--quiet")
    equal((box.last.out, box.last.err), ("", ""), "output")


sys.exit(suite.run())
