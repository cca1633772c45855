#!/usr/bin/env python3
"""crucible verify: every kind of damage to an output, its record or its inputs is found and named."""
import copy
import json
import os
import re
import sys

from harness import Suite, contains, equal
from model_maker import make_large, make_llama, make_trio, read_bytes, read_safetensors, write_file

suite = Suite()

RECIPE = """merge_method: della
base_model: ./base
models:
- model: ./a
- model: ./b
parameters: {density: 0.6, epsilon: 0.2, weight: 0.5}
dtype: bfloat16
"""


def merged(box, *options):
    make_trio(box.root, exact=False)
    return box.merge(RECIPE, "out", "--out-shard-size", "1000", "--quiet", *options)


def refused(box, code, *parts, options=()):
    """verify ends with `code` and says each of `parts`."""
    equal(box.run("verify", "out", *options).code, code, "exit code")
    for part in parts:
        contains(box.last.err, part)


def edit(path, change):
    raw = bytearray(read_bytes(path))
    change(raw)
    write_file(path, bytes(raw))


@suite.case
def yes_in_words_and_json(box):
    merged(box)
    text = box.ok("verify", "out").out
    for part in ("verified", "equal, byte for byte", "everything", "the same as recorded", "3 models as they were merged"):
        contains(text, part)
    answer = json.loads(box.ok("verify", "out", "--json").out)
    equal((answer["ok"], answer["wrong"], answer["missing_inputs"]), (True, [], []))
    equal(answer["checked"]["bytes_recomputed"], answer["checked"]["bytes"], "a small output is recomputed whole")
    equal(answer["checked"]["tensors"], sum(len(read_safetensors(box.path("out", n))[1]) for n in os.listdir(box.path("out")) if n.endswith(".safetensors")))


@suite.case
def one_flipped_bit_in_any_tensor_is_found_and_named(box):
    out = merged(box)
    tried = 0
    for file in sorted(n for n in os.listdir(out) if n.endswith(".safetensors")):
        path = os.path.join(out, file)
        raw = read_bytes(path)
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            for at in {begin, (begin + end) // 2, end - 1}:
                broken = bytearray(raw)
                broken[start + at] ^= 1 << (at % 8)
                write_file(path, bytes(broken))
                refused(box, 1, "tensor %s differs" % name, options=["--hashes-only"])
                equal(len(box.last.err.splitlines()), 1, "lines of the answer")
                tried += 1
        write_file(path, raw)
    assert tried > 30, tried
    box.ok("verify", "out", "--hashes-only")


@suite.case
def companions_are_named(box):
    out = merged(box)
    for name in ("config.json", "tokenizer.json", "model.safetensors.index.json"):
        raw = read_bytes(os.path.join(out, name))
        write_file(os.path.join(out, name), raw + b" ")
        refused(box, 1, name + " differs", options=["--hashes-only"])
        os.remove(os.path.join(out, name))
        refused(box, 1, name + " is missing", options=["--hashes-only"])
        write_file(os.path.join(out, name), raw)
    write_file(os.path.join(out, "README.md"), "# Mine\n")
    contains(box.ok("verify", "out").out, "README.md differs")
    write_file(os.path.join(out, "model.safetensors"), read_bytes(os.path.join(out, "model-00001-of-%05d.safetensors" % len([n for n in os.listdir(out) if n.startswith("model-")]))))
    refused(box, 1, "model.safetensors is a weight file that this merge did not write")


@suite.case
def everything_wrong_is_listed(box):
    out = merged(box)
    files = sorted(n for n in os.listdir(out) if n.endswith(".safetensors"))
    edit(os.path.join(out, files[0]), lambda raw: raw.__setitem__(-1, raw[-1] ^ 1))
    os.remove(os.path.join(out, files[1]))
    edit(os.path.join(out, files[2]), lambda raw: raw.extend(b"\0"))
    write_file(os.path.join(out, "config.json"), "{}")
    equal(box.run("verify", "out", "--json").code, 1)
    wrong = json.loads(box.last.out)["wrong"]
    kinds = {(w["kind"], w["name"]) for w in wrong}
    equal({("file", files[1]), ("file", files[2]), ("companion", "config.json")} <= kinds, True, "what is listed: %r" % wrong)
    equal(any(k == "tensor" for k, _ in kinds), True)


@suite.case
def changed_inputs_are_named(box):
    merged(box)
    make_llama(box.path("a"), 9)
    refused(box, 1, "differs from the recomputed one")
    box.ok("verify", "out", "--hashes-only")
    make_llama(box.path("a"), 9, layers=3)
    refused(box, 1, "input ./a: model.safetensors has")
    equal("input ./b" in box.last.err, False, "only the input that changed is named")


@suite.case
def hashed_inputs_tell_what_changed(box):
    merged(box, "--hash")
    contains(box.ok("verify", "out").out, "every byte hashed")
    edit(box.path("b", "model.safetensors"), lambda raw: raw.__setitem__(-1, raw[-1] ^ 1))
    refused(box, 1, "input ./b: the data of model.safetensors changed since it was merged")
    equal("input ./a" in box.last.err, False)


@suite.case
def missing_inputs_leave_the_question_open(box):
    out = merged(box)
    os.rename(box.path("a"), box.path("moved"))
    refused(box, 2, "input ./a is missing", "only the files were checked", "--hashes-only")
    contains(box.last.out, "the files are as they were written")
    box.ok("verify", "out", "--hashes-only")
    box.ok("verify", "out", "--model", "./a=moved")
    edit(os.path.join(out, "config.json"), lambda raw: raw.extend(b" "))
    refused(box, 1, "config.json differs")


@suite.case
def the_record_of_another_output_is_told(box):
    out = merged(box)
    mine = read_bytes(out + "/crucible.json")
    box.merge(RECIPE, "same-shape", "--out-shard-size", "1000", "--quiet", "--seed", "7")
    box.merge(RECIPE, "one-file", "--quiet", "--seed", "7")
    make_llama(box.path("c"), 5, layers=3)
    box.merge("merge_method: linear\nmodels: [{model: ./c}]\nparameters: {weight: 0.5, normalize: false}\n", "another", "--quiet")
    for other in ("same-shape", "one-file", "another"):
        write_file(out + "/crucible.json", read_bytes(box.path(other, "crucible.json")))
        refused(box, 2, "crucible.json", "this is the record of another output")
    write_file(out + "/crucible.json", mine)
    box.ok("verify", "out")


@suite.case
def truncated_records_are_told(box):
    out = merged(box)
    raw = read_bytes(out + "/crucible.json")
    for n in sorted({0, 1, 2, 10, len(raw) - 3} | set(range(0, len(raw) - 2, len(raw) // 60))):
        write_file(out + "/crucible.json", raw[:n])
        refused(box, 2, "crucible.json", "cut off")
    os.remove(out + "/crucible.json")
    refused(box, 2, "has no crucible.json", "--recipe")


def values_of(node, path=()):
    """Every value below a JSON value, with its path; of a list only the first item."""
    items = node.items() if isinstance(node, dict) else list(enumerate(node))[:1] if isinstance(node, list) else []
    for key, value in items:
        yield path + (key,), value
        yield from values_of(value, path + (key,))


def put(record, path, value):
    for key in path[:-1]:
        record = record[key]
    if value is None:
        del record[path[-1]]
    else:
        record[path[-1]] = value


@suite.case
def every_edited_value_is_told(box):
    out = merged(box)
    record = json.loads(read_bytes(out + "/crucible.json"))
    write_file(out + "/crucible.json", json.dumps(record, indent=4))
    box.ok("verify", "out", "--hashes-only")  # another layout is the same record
    tried = 0
    for path, value in values_of(record):
        if path == ("format",) or path == ("version",):
            continue
        edits = [None] if not isinstance(value, list) or path[:1] != ("tensors",) else []
        if isinstance(value, bool):
            edits.append(not value)
        elif isinstance(value, (int, float)):
            edits += [value + 1, str(value), []]
        elif isinstance(value, str):
            edits += [value + "x", 7, {}]
        for new in edits:
            broken = copy.deepcopy(record)
            put(broken, path, new)
            write_file(out + "/crucible.json", json.dumps(broken))
            equal(box.run("verify", "out", "--hashes-only").code, 2, "exit code for %r = %r" % (path, new))
            assert re.search(r"crucible\.json: .*(missing|is .*, not|edited)", box.last.err.replace("\n", " ")), box.last.err
            tried += 1
    assert tried > 200, tried


@suite.case
def wrong_keys_are_named_with_their_place(box):
    out = merged(box)
    record = json.loads(read_bytes(out + "/crucible.json"))
    cases = [
        (("seed",), None, "`seed` is missing"),
        (("seed",), "42", "`seed` is \"42\", not an integer"),
        (("seed",), -1, "`seed` is -1, not"),
        (("tensors",), {}, "`tensors` is an object, not a list"),
        (("tensors", 1, "hash"), None, "`tensors[1].hash` is missing"),
        (("tensors", 1, "hash"), "xyz", "`tensors[1].hash` is \"xyz\", not a hash"),
        (("tensors", 0, "hash_chunk"), 0, "`tensors[0].hash_chunk` is 0"),
        (("tensors", 0, "file"), 99, "`tensors[0].file` is 99, not the number of one of"),
        (("tensors", 0, "shape"), [-1], "`tensors[0].shape[0]` is -1"),
        (("files", 0, "name"), "../evil", "`files[0].name` is \"../evil\", not the name of a file"),
        (("companions", 0, "name"), "a/../../b", "`companions[0].name`"),
        (("inputs", 2, "files", 0, "bytes"), 1.5, "`inputs[2].files[0].bytes` is 1.5, not an integer"),
        (("plan_digest",), "A" * 32, "`plan_digest`"),
        (("recipe",), "merge_method: linear\n", "edited after it was written"),
        (("checksum",), "0" * 32, "edited after it was written"),
        (("format",), "something", "not a record of Crucible"),
        (("version",), 1, "version 1, this program"),
        (("version",), 3, "version 3, this program"),
        (("version",), "2", "`version` is \"2\", not an integer"),
    ]
    for path, new, message in cases:
        broken = copy.deepcopy(record)
        put(broken, path, new)
        write_file(out + "/crucible.json", json.dumps(broken))
        refused(box, 2, message)
    for text, message in (("[]", "not a record"), ("null", "not a record"), ("[" * 5000, "deep"), ("{\"a\" 1}", "byte 6"), ("\xff\xfe", "damaged")):
        write_file(out + "/crucible.json", text)
        refused(box, 2, message)


@suite.case
def large_outputs_are_sampled_and_all_means_all(box):
    make_large(box.path("base"), 2500, 1, tensors=5)
    make_large(box.path("a"), 2500, 2, tensors=5)
    recipe = "merge_method: %s\nbase_model: ./base\nmodels: [{model: ./a}]\nparameters: {weight: 0.5%s}\n"
    box.merge(recipe % ("task_arithmetic", ""), "out", "--quiet")
    text = box.ok("verify", "out").out
    share = float(re.search(r"([\d.]+) % \(--all", text).group(1))
    assert 50 < share < 99, text
    equal(box.ok("verify", "out").out, text, "the same sample every time")
    contains(box.ok("verify", "out", "--all").out, "everything")


sys.exit(suite.run())
