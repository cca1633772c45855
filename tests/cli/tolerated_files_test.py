#!/usr/bin/env python3
"""Odd files that the reference reader takes: they are merged too. What is not understood in them is told, not dropped in silence."""
import json
import os
import sys

from harness import Suite, contains, equal
from model_maker import config_for, encode, make_llama, raw_safetensors, read_model, tensor, values_of, write_file, write_model

suite = Suite()
RECIPE = "merge_method: linear\nparameters: {weight: 1}\nmodels:\n- model: ./x\n"
DATA = encode("F16", [0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
T = '"t":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}'
U = '"u":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}'
EXPECTED = {"t": ("F16", [2, 2], DATA[:8]), "u": ("F16", [2], DATA[8:])}

HEADERS = {
    "metadata is null": '{"__metadata__":null,%s,%s}' % (T, U),
    "many metadata keys": '{"__metadata__":{"b":"1","a":"{}"},%s,%s}' % (T, U),
    "blanks behind": "{%s,%s} \t\r\n" % (T, U),
    "blanks before": "  \n{%s,%s}" % (T, U),
    "length not a multiple of 8": "{%s,%s}   " % (T, U),
    "keys in another order than the data": "{%s,%s}" % (U, T),
    "blanks inside": json.dumps(json.loads("{%s,%s}" % (T, U)), indent=3),
    "fields in another order": "{%s,%s}" % ('"t":{"data_offsets":[0,8],"shape":[2,2],"dtype":"F16"}', U),
}
for name, header in HEADERS.items():
    def tolerated(box, header=header):
        write_file(box.path("x", "model.safetensors"), raw_safetensors(header, DATA))
        equal(read_model(box.merge(RECIPE)), EXPECTED)
        assert "notice" not in box.last.err
    suite.add(name, tolerated)


@suite.case
def unknown_fields_are_told(box):
    write_file(box.path("x", "model.safetensors"), raw_safetensors('{%s,%s}' % (T, U.replace("}", ',"scale":[1,{"x":2}]}')), DATA))
    equal(read_model(box.merge(RECIPE)), EXPECTED)
    contains(box.last.err, 'notice: ./x: ')
    contains(box.last.err, 'tensor "u": unknown field "scale" ignored')


@suite.case
def empty_tensor_between_others(box):
    write_file(box.path("x", "model.safetensors"), raw_safetensors('{%s,"e":{"dtype":"F16","shape":[0,3],"data_offsets":[8,8]},%s}' % (T, U), DATA))
    equal(read_model(box.merge(RECIPE)), {**EXPECTED, "e": ("F16", [0, 3], b"")})


@suite.case
def wide_tensor_at_an_odd_offset(box):
    header = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"F64","shape":[2],"data_offsets":[1,17]}} '
    write_file(box.path("x", "model.safetensors"), raw_safetensors(header, b"\7" + encode("F64", [0.5, -2.0])))
    equal(read_model(box.merge(RECIPE)), {"a": ("U8", [1], b"\7"), "w": tensor("F64", [2], [0.5, -2.0])})


@suite.case
def strange_names_are_kept(box):
    names = ["../../etc/passwd", "", "a b", "\u6a21\u578b.weight", 'quote"back\\slash', "tab\there", "x" * 300]
    tensors = {n: tensor("F16", [1], [i / 8]) for i, n in enumerate(names)}
    write_model(box.path("x"), tensors)
    equal(read_model(box.merge(RECIPE)), tensors)
    assert not os.path.exists("/etc/passwd.safetensors")


@suite.case
def model_without_config(box):
    tensors = make_llama(box.path("x"), 3)
    os.remove(box.path("x", "config.json"))
    out = box.merge(RECIPE)
    equal(read_model(out), tensors)
    assert not os.path.exists(out + "/config.json")


@suite.case
def config_with_python_numbers(box):
    tensors = make_llama(box.path("x"), 3)
    text = config_for("F16").replace("{", '{"limit": Infinity, "bad": NaN,', 1)
    write_file(box.path("x", "config.json"), text)
    out = box.merge(RECIPE + "dtype: bfloat16\n")
    equal(set(read_model(out)), set(tensors))
    with open(out + "/config.json") as f:
        config = f.read()
    equal(config, text.replace('"float16"', '"bfloat16"'), "config.json with only its type changed")
    assert "JSON" not in box.last.err, box.last.err


@suite.case
def wrong_total_size_and_missing_metadata(box):
    tensors = make_llama(box.path("x"), 3, shards=2)
    path = box.path("x", "model.safetensors.index.json")
    with open(path) as f:
        index = json.load(f)
    for metadata in ({"total_size": 1}, {"total_size": -5}, {"total_size": 1e300}, {"total_size": "many"}, {}, None):
        if metadata is None:
            index.pop("metadata")
        else:
            index["metadata"] = metadata
        write_file(path, json.dumps(index))
        equal(read_model(box.merge(RECIPE, "out", "--overwrite")), tensors, str(metadata))


@suite.case
def one_weight_file_as_a_model(box):
    tensors = make_llama(box.path("x"), 3)
    equal(read_model(box.merge(RECIPE.replace("./x", "./x/model.safetensors"))), tensors)


@suite.case
def folder_names_with_blanks_and_signs(box):
    tensors = make_llama(box.path("my model+v2@home (1)"), 3)
    out = box.merge('merge_method: passthrough\nmodels:\n- model: {model: {path: "./my model+v2@home (1)"}}\n', "the output, 50% done")
    equal(read_model(out), tensors)
    box.ok("verify", "the output, 50% done")


@suite.case
def layers_that_differ(box):
    # Dense layers first, mixture layers after them, and a prediction head behind the last layer.
    tensors = {"model.embed_tokens.weight": tensor("F16", [2, 2], [1, 2, 3, 4])}
    for i in range(4):
        kind = "mlp.up_proj" if i < 2 else "mlp.experts.11.up_proj"
        tensors["model.layers.%d.%s.weight" % (i, kind)] = tensor("F16", [1, 2], [i, i + 0.5])
    tensors["model.layers.3.eh_proj.weight"] = tensor("F16", [2], [9, 9])
    write_model(box.path("x"), tensors, config_for("F16", 3))
    equal(read_model(box.merge(RECIPE)), tensors)
    out = read_model(box.merge("merge_method: passthrough\nslices:\n- sources: [{model: ./x, layer_range: [1, 3]}]\n", "cut"))
    equal(values_of(out["model.layers.0.mlp.up_proj.weight"]), [1, 1.5])
    equal(values_of(out["model.layers.1.mlp.experts.11.up_proj.weight"]), [2, 2.5])
    assert "model.layers.3.eh_proj.weight" not in out


sys.exit(suite.run())
