#!/usr/bin/env python3
"""Slices of many families: order, repeats, several models, renumbering of every tensor, and config.json that describes the new order."""
import json
import os
import sys

from harness import Suite, contains, equal
from model_maker import llama_shapes, make_tensors, read_model, write_model

suite = Suite()
HIDDEN, FFN, VOCAB = 8, 12, 16


def block(prefix, parts):
    return {prefix + name + ".weight": shape for name, shape in parts.items()}


ATTENTION = {"self_attn.%s_proj" % q: [HIDDEN, HIDDEN] for q in "qkvo"}
MLP = {"mlp.gate_proj": [FFN, HIDDEN], "mlp.up_proj": [FFN, HIDDEN], "mlp.down_proj": [HIDDEN, FFN]}
NORMS = {"input_layernorm": [HIDDEN], "post_attention_layernorm": [HIDDEN]}
EXPERTS = {"mlp.gate": [4, HIDDEN], **{"mlp.experts.%d.%s_proj" % (e, p): [FFN, HIDDEN] if p != "down" else [HIDDEN, FFN]
                                       for e in range(4) for p in ("gate", "up", "down")}}


def decoder(kinds, stack="model.layers"):
    """One layer for each letter: d dense, e experts, m state space with a dense part."""
    shapes = {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": [HIDDEN], "lm_head.weight": [VOCAB, HIDDEN]}
    for i, kind in enumerate(kinds):
        p = "%s.%d." % (stack, i)
        if kind == "m":
            shapes.update({p + "mixer.A_log": [HIDDEN], p + "mixer.D": [HIDDEN], p + "mixer.out_proj.weight": [HIDDEN, HIDDEN]})
        else:
            shapes.update(block(p, {**ATTENTION, **NORMS, **(EXPERTS if kind == "e" else MLP)}))
    return shapes


def make(box, name, shapes, config, seed=1):
    tensors = make_tensors(shapes, "F16", seed)
    text = config if isinstance(config, str) else json.dumps({"torch_dtype": "float16", **config}, indent=2) + "\n"
    write_model(box.path(name), tensors, text)
    return tensors


def recipe(*slices, more=""):
    """Each slice is (model, begin, end)."""
    return "merge_method: passthrough\nslices:\n" + "".join(
        "- sources: [{model: ./%s, layer_range: [%d, %d]}]\n" % s for s in slices) + more


def config_of(folder):
    with open(os.path.join(folder, "config.json")) as f:
        return json.load(f)


def layers_of(tensors, stack):
    out = {}
    for name, t in tensors.items():
        if name.startswith(stack + "."):
            index, rest = name[len(stack) + 1:].split(".", 1)
            out.setdefault(int(index), {})[rest] = t
    return out


def check_layers(out, stack, expected):
    """`expected`: for each output layer (tensors of a model, layer)."""
    got = layers_of(out, stack)
    equal(sorted(got), list(range(len(expected))), "output layers")
    for i, (tensors, layer) in enumerate(expected):
        equal(got[i], layers_of(tensors, stack)[layer], "layer %d" % i)


@suite.case
def any_order_repeats_and_several_models(box):
    a = make(box, "a", decoder("dddd"), {"num_hidden_layers": 4, "layer_types": ["f", "s", "f", "s"]}, 1)
    b = make(box, "b", decoder("ddddd"), {"num_hidden_layers": 5, "layer_types": ["1", "2", "3", "4", "5"]}, 2)
    out = box.merge(recipe(("a", 2, 4), ("b", 1, 3), ("a", 0, 1), ("a", 0, 1)))
    t = read_model(out)
    check_layers(t, "model.layers", [(a, 2), (a, 3), (b, 1), (b, 2), (a, 0), (a, 0)])
    equal(config_of(out), {"torch_dtype": "float16", "num_hidden_layers": 6, "layer_types": ["f", "s", "2", "3", "f", "f"]})
    equal(t["model.embed_tokens.weight"], a["model.embed_tokens.weight"])
    for line in ("  0-1 <- ./a 2-3\n", "  2-3 <- ./b 1-2\n", "  4 <- ./a 0\n  5 <- ./a 0\n"):
        contains(box.last.out, line)
    with open(out + "/crucible.json") as f:
        record = json.load(f)
    equal(record["layer_map"][2], {"stack": "model.layers", "layer": 2, "from": [{"input": 1, "layer": 1}]})
    contains(box.ok("report", "out", "--format", "md").out, "2-3 <- ./b 1-2")
    box.ok("verify", "out")
    # The last slice gives the norm and the head.
    last = read_model(box.merge(recipe(("a", 0, 1), ("b", 0, 1)), "last"))
    equal((last["model.norm.weight"], last["lm_head.weight"]), (b["model.norm.weight"], b["lm_head.weight"]))


@suite.case
def count_keys_of_families(box):
    families = [("model.layers", "num_hidden_layers"), ("transformer.h", "n_layer"), ("transformer.blocks", "n_layers"),
                ("transformer.encoder.layers", "num_layers"), ("gpt_neox.layers", "num_hidden_layers"), ("backbone.layers", "n_layer"),
                ("model.decoder.layers", "num_hidden_layers"), ("model.language_model.layers", "text_config.num_hidden_layers")]
    for i, (stack, key) in enumerate(families):
        config = {}
        at = config
        for part in key.split(".")[:-1]:
            at = at.setdefault(part, {})
        at[key.split(".")[-1]] = 3
        name = "m%d" % i
        tensors = make(box, name, decoder("ddd", stack), config)
        out = box.merge(recipe((name, 1, 3), (name, 1, 3)), "out%d" % i)
        check_layers(read_model(out), stack, [(tensors, 1), (tensors, 2)] * 2)
        at = config_of(out)
        for part in key.split("."):
            at = at[part]
        equal(at, 4, stack)


@suite.case
def ranges_that_hold_no_layers(box):
    make(box, "a", decoder("dddd"), {"num_hidden_layers": 4})
    for begin, end, says in ((0, 5, "reaches past the last layer"), (2, 2, "holds no layers"), (3, 1, "holds no layers"), (-1, 2, "holds no layers")):
        box.write("r.yml", recipe(("a", 0, 2), ("a", begin, end)))
        result = box.run("check", "r.yml")
        equal(result.code, 2, str((begin, end)))
        contains(result.err, "r.yml:4:39: error:")
        contains(result.err, says)
        contains(result.err, "./a has 4 layers, 0 to 3")


@suite.case
def dense_layers_before_experts(box):
    config = {"num_hidden_layers": 4, "first_k_dense_replace": 1, "n_routed_experts": 4}
    a = make(box, "a", decoder("deee"), config)
    out = box.merge(recipe(("a", 0, 3), ("a", 1, 4)))
    check_layers(read_model(out), "model.layers", [(a, i) for i in (0, 1, 2, 1, 2, 3)])
    equal(config_of(out)["first_k_dense_replace"], 1)
    equal(config_of(box.merge(recipe(("a", 2, 4)), "experts"))["first_k_dense_replace"], 0)
    equal(config_of(box.merge(recipe(("a", 0, 1), ("a", 0, 2)), "two"))["first_k_dense_replace"], 2)
    box.write("r.yml", recipe(("a", 1, 3), ("a", 0, 2)))
    result = box.run("check", "r.yml")
    equal(result.code, 2)
    contains(result.err, "config.json cannot say which layers are dense: no value of `first_k_dense_replace`")


@suite.case
def hybrids(box):
    config = {"num_hidden_layers": 4, "hybrid_override_pattern": "M*M*", "layers_block_type": ["mamba", "attention"] * 2}
    make(box, "a", decoder("mdmd"), config)
    got = config_of(box.merge(recipe(("a", 0, 3), ("a", 0, 1), ("a", 3, 4))))
    equal((got["hybrid_override_pattern"], got["layers_block_type"]), ("M*MM*", ["mamba", "attention", "mamba", "mamba", "attention"]))
    equal(got["num_hidden_layers"], 5)
    make(box, "p", decoder("mdmd"), {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1})
    got = config_of(box.merge(recipe(("p", 1, 4)), "moved"))
    equal((got["attn_layer_period"], got["attn_layer_offset"]), (2, 0))
    box.write("r.yml", recipe(("p", 0, 1), ("p", 0, 2), ("p", 0, 2)))
    result = box.run("check", "r.yml")
    equal(result.code, 2)
    contains(result.err, "attn_layer_period")


@suite.case
def lists_of_layer_numbers(box):
    make(box, "a", decoder("dede"), {"num_hidden_layers": 4, "decoder_sparse_step": 1, "mlp_only_layers": [0, 2], "num_experts": 4})
    got = config_of(box.merge(recipe(("a", 1, 4), ("a", 0, 1))))
    equal((got["decoder_sparse_step"], got["mlp_only_layers"]), (1, [1, 3]))


@suite.case
def encoder_and_decoder_separately(box):
    shapes = {"shared.weight": [VOCAB, HIDDEN]}
    for side, layers in (("encoder", 3), ("decoder", 2)):
        for i in range(layers):
            shapes.update(block("%s.block.%d.layer.0." % (side, i), {"SelfAttention.q": [HIDDEN, HIDDEN], "layer_norm": [HIDDEN]}))
        shapes["%s.final_layer_norm.weight" % side] = [HIDDEN]
    a = make(box, "a", shapes, {"num_layers": 3, "num_decoder_layers": 2, "d_model": HIDDEN})
    text = """\
merge_method: passthrough
modules:
  encoder:
    slices:
    - sources: [{model: ./a, layer_range: [0, 2]}]
    - sources: [{model: ./a, layer_range: [1, 3]}]
  decoder:
    slices:
    - sources: [{model: ./a, layer_range: [1, 2]}]
  default:
    models: [{model: ./a}]
"""
    out = box.merge(text)
    t = read_model(out)
    check_layers(t, "encoder.block", [(a, i) for i in (0, 1, 1, 2)])
    check_layers(t, "decoder.block", [(a, 1)])
    equal({k: config_of(out)[k] for k in ("num_layers", "num_decoder_layers")}, {"num_layers": 4, "num_decoder_layers": 1})
    equal(set(t) - {n for n in t if ".block." in n}, {"shared.weight", "encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight"})
    contains(box.last.out, "encoder.block 0-1 <- ./a 0-1")
    # Without modules it is not known which one is meant.
    box.write("r.yml", recipe(("a", 0, 2)))
    contains(box.run("check", "r.yml").err, "has several stacks of layers: `decoder.block` (2 layers) and `encoder.block` (3 layers)")


@suite.case
def the_text_layers_of_a_model_with_towers(box):
    shapes = decoder("ddd", "model.language_model.layers")
    for i in range(2):
        shapes.update(block("model.visual.blocks.%d." % i, {"attn.qkv": [24, HIDDEN], "norm1": [HIDDEN]}))
    shapes.update(block("model.visual.merger.mlp.", {"0": [HIDDEN, HIDDEN], "2": [HIDDEN, HIDDEN]}))
    config = {"text_config": {"num_hidden_layers": 3, "layer_types": ["a", "b", "c"]}, "vision_config": {"depth": 2, "fullatt_block_indexes": [1]}}
    a = make(box, "a", shapes, config)
    out = box.merge(recipe(("a", 1, 3), ("a", 0, 3)))
    t = read_model(out)
    check_layers(t, "model.language_model.layers", [(a, i) for i in (1, 2, 0, 1, 2)])
    equal({n: v for n, v in t.items() if "visual" in n}, {n: v for n, v in a.items() if "visual" in n}, "the tower")
    equal(config_of(out)["text_config"], {"num_hidden_layers": 5, "layer_types": ["b", "c", "a", "b", "c"]})
    equal(config_of(out)["vision_config"], config["vision_config"])


@suite.case
def extra_prediction_layers_stay_behind_the_others(box):
    shapes = decoder("ddd")
    shapes.update(block("model.layers.2.", {"eh_proj": [HIDDEN, 16], "enorm": [HIDDEN]}))
    a = make(box, "a", shapes, {"num_hidden_layers": 2, "num_nextn_predict_layers": 1})
    out = box.merge(recipe(("a", 0, 2), ("a", 1, 2)))
    check_layers(read_model(out), "model.layers", [(a, 0), (a, 1), (a, 1), (a, 2)])
    equal(config_of(out)["num_hidden_layers"], 3)
    assert "leave out" not in box.last.err, box.last.err
    box.write("r.yml", recipe(("a", 2, 3)))
    contains(box.run("check", "r.yml").err, "./a has 2 layers, 0 to 1")


@suite.case
def config_keeps_every_other_byte(box):
    text = '{\n   "eps": 1e-05, "nan": NaN,\n   "num_hidden_layers": 3,\n   "layer_types": [\n      "a",\n      "b",\n      "c"\n   ],\n   "torch_dtype": "float16"}'
    make(box, "a", decoder("ddd"), text)
    with open(box.merge(recipe(("a", 2, 3), ("a", 0, 1))) + "/config.json") as f:
        got = f.read()
    equal(got, text.replace(": 3,", ": 2,").replace('"a",\n      "b",\n      "c"', '"c",\n      "a"'))


@suite.case
def behaviour_that_config_cannot_say_is_told(box):
    make(box, "a", decoder("dddd"), {"num_hidden_layers": 4, "sliding_window_pattern": 2})
    box.merge(recipe(("a", 1, 2), ("a", 0, 2)))
    contains(box.last.err, "no value of `sliding_window_pattern` describes the new order of layers; some layers will behave differently")


@suite.case
def tensors_that_hold_a_part_of_every_layer(box):
    shapes = decoder("ddd")
    shapes["model.embed_tokens_per_layer.weight"] = [VOCAB, 12]
    make(box, "a", shapes, {"num_hidden_layers": 3})
    box.write("r.yml", recipe(("a", 1, 3)))
    contains(box.run("check", "r.yml").err, "the layers of this model cannot be moved")
    box.merge(recipe(("a", 0, 3)))


@suite.case
def merged_slices_and_their_base(box):
    for i, name in enumerate(("base", "a", "b")):
        make(box, name, llama_shapes(3), {"num_hidden_layers": 3}, i + 1)
    text = """\
merge_method: task_arithmetic
base_model: ./base
slices:
- sources:
  - {model: ./a, layer_range: [1, 3], parameters: {weight: [0, 1]}}
  - {model: ./base, layer_range: [0, 2]}
- base_model: ./b
  sources:
  - {model: ./a, layer_range: [0, 1], parameters: {weight: {filter: "role:attention", value: 1}}}
  - {model: ./b, layer_range: [2, 3]}
parameters: {weight: 0.5}
"""
    box.merge(text)
    contains(box.last.out, "  0-1 <- ./a 1-2\n  2 <- ./a 0\n")


sys.exit(suite.run())
