#!/usr/bin/env python3
"""One network in two spellings merges as if both were spelled alike: prefixes, aliases, experts and projections fused or apart, tied heads,
padding of vocabularies, buffers. What is not explained is an error that names both sides."""
import json
import os
import sys

from harness import Suite, contains, equal
from model_maker import (config_for, decode, encode, make_tensors, read_model, read_safetensors, tensor, values_of, write_model)

suite = Suite()
H, F, V, E = 8, 6, 16, 3
LINEAR = "merge_method: linear\nmodels:\n- {model: ./a, parameters: {weight: 0.75}}\n- {model: ./b, parameters: {weight: 0.25}}\n"


def dense_shapes(vocab=V, head=True, layers=2):
    shapes = {"model.embed_tokens.weight": [vocab, H], "model.norm.weight": [H]}
    for i in range(layers):
        p = "model.layers.%d." % i
        shapes.update({p + "input_layernorm.weight": [H], p + "self_attn.q_proj.weight": [H, H], p + "self_attn.k_proj.weight": [4, H],
                       p + "self_attn.v_proj.weight": [4, H], p + "self_attn.o_proj.weight": [H, H], p + "mlp.gate_proj.weight": [F, H],
                       p + "mlp.up_proj.weight": [F, H], p + "mlp.down_proj.weight": [H, F]})
    if head:
        shapes["lm_head.weight"] = [vocab, H]
    return shapes


def expert_shapes(layers=2, experts=E):
    shapes = {n: s for n, s in dense_shapes(layers=layers).items() if ".mlp." not in n}
    for i in range(layers):
        p = "model.layers.%d.mlp." % i
        shapes[p + "gate.weight"] = [experts, H]
        for e in range(experts):
            shapes.update({p + "experts.%d.gate_proj.weight" % e: [F, H], p + "experts.%d.up_proj.weight" % e: [F, H],
                           p + "experts.%d.down_proj.weight" % e: [H, F]})
    return shapes


def join(parts):
    """Tensors one after the other along the first axis."""
    return (parts[0][0], [sum(p[1][0] for p in parts)] + parts[0][1][1:], b"".join(p[2] for p in parts))


def fuse_experts(tensors, experts=E):
    out = {n: t for n, t in tensors.items() if ".experts." not in n}
    for layer in {n.split(".experts.")[0] for n in tensors if ".experts." in n}:
        each = lambda e, part: tensors["%s.experts.%d.%s.weight" % (layer, e, part)]
        dtype = each(0, "up_proj")[0]
        out[layer + ".experts.gate_up_proj"] = (dtype, [experts, 2 * F, H],
                                                b"".join(each(e, p)[2] for e in range(experts) for p in ("gate_proj", "up_proj")))
        out[layer + ".experts.down_proj"] = (dtype, [experts, H, F], b"".join(each(e, "down_proj")[2] for e in range(experts)))
    return out


def fuse_projections(tensors):
    out = dict(tensors)
    for n in tensors:
        if n.endswith("q_proj.weight"):
            stem = n[:-len("q_proj.weight")]
            out[stem + "qkv_proj.weight"] = join([out.pop(stem + p + "_proj.weight") for p in "qkv"])
        if n.endswith("gate_proj.weight") and ".experts." not in n:
            stem = n[:-len("gate_proj.weight")]
            out[stem + "gate_up_proj.weight"] = join([out.pop(stem + p + "_proj.weight") for p in ("gate", "up")])
    return out


def renamed(tensors, *pairs):
    out = {}
    for name, t in tensors.items():
        for old, new in pairs:
            name = name.replace(old, new) if not old.startswith("^") else (new + name[len(old) - 1:] if name.startswith(old[1:]) else name)
        out[name] = t
    return out


def merged(box, a, b, recipe=LINEAR, out="out", config_a=None, config_b=None, options=()):
    write_model(box.path("a"), a, config_a or config_for())
    write_model(box.path("b"), b, config_b or config_for())
    box.merge(recipe, out, *options)
    result = read_model(box.path(out))
    box.ok("verify", out)
    return result


def spelled_otherwise(shapes, respell, notice, recipe=LINEAR, spell_first=None):
    """b spelled otherwise gives the bytes that it gives spelled as a."""
    def case(box):
        a, b = (make_tensors(shapes, "BF16", seed) for seed in (1, 2))
        if spell_first:
            a = spell_first(a)
            plain = merged(box, a, spell_first(b), recipe, "plain")
        else:
            plain = merged(box, a, b, recipe, "plain")
        got = merged(box, a, respell(b), recipe, "got")
        contains(box.run("plan", "recipe.yml").text, notice)
        equal(sorted(got), sorted(plain))
        equal(got, plain)
    return case


TIES = "merge_method: ties\nbase_model: ./a\nmodels:\n- {model: ./b, parameters: {weight: 0.5, density: 0.4}}\n"
SLICES = ("merge_method: passthrough\nslices:\n- sources: [{model: ./a, layer_range: [0, 1]}]\n"
          "- sources: [{model: ./b, layer_range: [1, 2]}]\n- sources: [{model: ./b, layer_range: [0, 2]}]\n")

PREFIXES = {
    "none": [("^model.", "")],
    "two": [("^model.", "base_model.model.")],
    "wrapped": [("^", "_orig_mod.")],
    "distributed": [("^", "module.")],
}
for title, pairs in PREFIXES.items():
    for how, recipe in {"linear": LINEAR, "ties": TIES, "slices": SLICES}.items():
        suite.add("prefix_%s_%s" % (title, how), spelled_otherwise(dense_shapes(), lambda t, p=pairs: renamed(t, *p), "matched", recipe))


def vlm_shapes():
    shapes = {"model.language_model." + n[len("model."):] if n.startswith("model.") else n: s for n, s in dense_shapes().items()}
    for i in range(2):
        p = "model.vision_tower.layers.%d." % i
        shapes.update({p + "input_layernorm.weight": [H], p + "mlp.fc1.weight": [F, H]})
    shapes["model.multi_modal_projector.linear_1.weight"] = [H, H]
    return shapes


# Older vision-language checkpoints: the text model under language_model.model, the head under language_model.
suite.add("prefix_of_vision_language", spelled_otherwise(
    vlm_shapes(), lambda t: renamed(t, ("^model.language_model.", "language_model.model."), ("^lm_head.", "language_model.lm_head."),
                                    ("^model.vision_tower.", "vision_tower."), ("^model.multi_modal", "multi_modal")), "matched"))
suite.add("experts_apart_to_fused", spelled_otherwise(expert_shapes(), lambda t: t, "stored in parts", spell_first=fuse_experts))
suite.add("experts_apart_to_fused_ties", spelled_otherwise(expert_shapes(), lambda t: t, "stored in parts", TIES, spell_first=fuse_experts))
suite.add("experts_fused_to_apart", spelled_otherwise(expert_shapes(), fuse_experts, "stored as one"))
suite.add("experts_fused_to_apart_ties", spelled_otherwise(expert_shapes(), fuse_experts, "stored as one", TIES))
suite.add("experts_fused_in_slices", spelled_otherwise(expert_shapes(), fuse_experts, "stored as one", SLICES))
suite.add("experts_under_another_prefix", spelled_otherwise(
    expert_shapes(), lambda t: renamed(fuse_experts(t), ("^model.", "")), "stored as one"))
suite.add("experts_apart_without_the_prefix", spelled_otherwise(
    expert_shapes(), lambda t: renamed(t, ("^model.", "")), "stored in parts", spell_first=fuse_experts))
suite.add("experts_of_mixtral", spelled_otherwise(
    expert_shapes(), lambda t: renamed(t, (".mlp.", ".block_sparse_moe."), (".gate_proj.", ".w1."), (".up_proj.", ".w3."),
                                       (".down_proj.", ".w2.")), "matched"))
suite.add("experts_of_mixtral_fused", spelled_otherwise(
    expert_shapes(), lambda t: renamed(t, (".mlp.", ".block_sparse_moe."), (".gate_proj.", ".w1."), (".up_proj.", ".w3."),
                                       (".down_proj.", ".w2.")), "stored in parts", spell_first=fuse_experts))
suite.add("projections_apart_to_fused", spelled_otherwise(dense_shapes(), lambda t: t, "stored in parts", spell_first=fuse_projections))
suite.add("projections_fused_to_apart", spelled_otherwise(dense_shapes(), fuse_projections, "stored as one"))
suite.add("legacy_norms", spelled_otherwise(
    {"bert.embeddings.LayerNorm.weight": [H], "bert.embeddings.LayerNorm.bias": [H], "bert.encoder.layer.0.output.LayerNorm.weight": [H],
     "bert.encoder.layer.0.output.dense.weight": [H, H]},
    lambda t: renamed(t, ("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")), "other names for the same parts"))
suite.add("legacy_norms_without_prefix", spelled_otherwise(
    {"bert.embeddings.LayerNorm.weight": [H], "bert.encoder.layer.0.output.LayerNorm.weight": [H],
     "bert.encoder.layer.0.output.dense.weight": [H, H]},
    lambda t: renamed(t, ("^bert.", ""), ("LayerNorm.weight", "LayerNorm.gamma")), "matched"))


def refused(a, b, *parts, recipe=LINEAR, config_a=None, config_b=None):
    def case(box):
        write_model(box.path("a"), a(), config_a or config_for())
        write_model(box.path("b"), b(), config_b or config_for())
        box.write("recipe.yml", recipe)
        result = box.run("merge", "recipe.yml", "out")
        equal(result.code, 2)
        assert not os.path.exists(box.path("out"))
        for part in parts:
            contains(result.text, part)
    return case


make = lambda shapes, seed=1: (lambda: make_tensors(shapes, "BF16", seed))
suite.add("an_encoder_is_no_decoder", refused(
    make({"encoder.layers.0.fc1.weight": [F, H], "encoder.layers.0.fc2.weight": [H, F]}),
    make({"decoder.layers.0.fc1.weight": [F, H], "decoder.layers.0.fc2.weight": [H, F]}),
    "./a lacks 2 tensors", "./b lacks 2 tensors", "nearest name", "--allow-missing"))
suite.add("two_places_for_one", refused(
    make({"left.layers.0.fc1.weight": [F, H], "right.layers.0.fc1.weight": [F, H]}), make({"layers.0.fc1.weight": [F, H]}), "one of several"))
suite.add("an_expert_is_missing", refused(
    lambda: fuse_experts(make_tensors(expert_shapes(), "BF16", 1)),
    lambda: {n: t for n, t in make_tensors(expert_shapes(), "BF16", 2).items() if "layers.1.mlp.experts.1.up" not in n}, "not complete"))
suite.add("both_spellings_at_once", refused(
    make(dense_shapes()), lambda: {**make_tensors(dense_shapes(), "BF16", 2), "norm.weight": tensor("BF16", [H], [1.0] * H)},
    "./a lacks a tensor that other models have: norm.weight"))


@suite.case
def experts_turned_are_refused(box):
    a = fuse_experts(make_tensors(expert_shapes(), "BF16", 1))
    turned = {n: (t[0], [t[1][0], t[1][2], t[1][1]], t[2]) if ".experts." in n else t for n, t in a.items()}
    refused(lambda: turned, make(expert_shapes(), 2), "[experts, in, out]")(box)


@suite.case
def experts_of_equal_sides_need_a_known_family(box):
    """2 F = H: shapes do not tell [out, in] from [in, out]."""
    global F
    old, F = F, H // 2
    try:
        shapes = expert_shapes()
        a, b = (make_tensors(shapes, "BF16", seed) for seed in (1, 2))
        config = lambda family: config_for(model_type=family)
        refused(lambda: fuse_experts(a), lambda: b, "the shapes do not tell", config_a=config("new"), config_b=config("new"))(box)
        known = merged(box, fuse_experts(a), b, config_a=config("qwen3_moe"), config_b=config("qwen3_moe"))
        equal(known, merged(box, fuse_experts(a), fuse_experts(b), out="plain"))
        refused(lambda: fuse_experts(a), lambda: b, "[experts, in, out]", config_a=config("llama4"), config_b=config("llama4"))
    finally:
        F = old


# --- tied heads ------------------------------------------------------------------------------------------------------------------

METHODS = {
    "linear": LINEAR,
    "slerp": "merge_method: slerp\nbase_model: ./a\nparameters: {t: 0.4}\nmodels:\n- model: ./a\n- model: ./b\n",
    "ties": TIES,
    "dare_linear": "merge_method: dare_linear\nbase_model: ./a\nmodels:\n- {model: ./b, parameters: {weight: 0.5, density: 0.4}}\n",
    "model_stock": "merge_method: model_stock\nbase_model: ./a\nmodels:\n- model: ./b\n- model: ./b\n",
}


def with_head(tensors):
    return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]}


def tied_case(a_tied, b_tied, recipe):
    def case(box):
        a, b = (make_tensors(dense_shapes(head=not tied), "BF16", seed) for tied, seed in ((a_tied, 1), (b_tied, 2)))
        configs = dict(config_a=config_for(tie_word_embeddings=a_tied), config_b=config_for(tie_word_embeddings=b_tied))
        got = merged(box, a, b, recipe, **configs)
        config = json.load(open(box.path("out", "config.json")))
        if a_tied and b_tied:
            assert "lm_head.weight" not in got
            equal(config["tie_word_embeddings"], True)
            return
        equal(config["tie_word_embeddings"], False)
        plain = merged(box, with_head(a) if a_tied else a, with_head(b) if b_tied else b, recipe, "plain",
                       config_a=config_for(tie_word_embeddings=False), config_b=config_for(tie_word_embeddings=False))
        equal(got, plain)
        if a_tied != b_tied:
            contains(box.run("plan", "recipe.yml").text, "")
    return case


for a_tied in (True, False):
    for b_tied in (True, False):
        for method, recipe in METHODS.items():
            suite.add("heads_%s_%s_%s" % ("tied" if a_tied else "own", "tied" if b_tied else "own", method), tied_case(a_tied, b_tied, recipe))


@suite.case
def a_tied_head_that_is_stored_twice_is_no_head_of_its_own(box):
    a, b = (make_tensors(dense_shapes(head=False), "BF16", seed) for seed in (1, 2))
    tied = config_for(tie_word_embeddings=True)
    got = merged(box, a, with_head(b), config_a=tied, config_b=tied)
    assert "lm_head.weight" not in got
    equal(got, merged(box, a, b, out="plain", config_a=tied, config_b=tied))


RANDOM = "merge_method: %s\nbase_model: ./base\nmodels:\n- {model: ./a, parameters: {weight: 0.5, density: 0.4}}\n" \
         "- {model: ./b, parameters: {weight: 0.7, density: 0.6}}\nparameters: {lambda: 0.9}\n"
# What a recipe says of the head is not asked where the head is the embedding.
FILTERED = ("merge_method: linear\nmodels:\n- {model: ./a, parameters: {weight: [{filter: lm_head, value: 0.9}, {filter: embed, value: 0.2}, "
            "{value: 0.5}]}}\n- {model: ./b, parameters: {weight: [{filter: 'role:head', value: [1, 2]}, {value: 0.5}]}}\n")
HEADS_OF_SLICES = ("merge_method: passthrough\nslices:\n- sources: [{model: ./a, layer_range: [0, 1], parameters: {scale: 0.5}}]\n"
                   "- sources: [{model: ./b, layer_range: [1, 2], parameters: {scale: 0.25}}]\n")
TWICE = {**{m: RANDOM % m for m in ("dare_linear", "dare_ties", "della", "della_linear", "ties", "breadcrumbs")}, "linear": LINEAR,
         "model_stock": METHODS["model_stock"], "filters": FILTERED, "slices": HEADS_OF_SLICES}


def write_doubles(box, tied):
    for seed, name in enumerate(("base", "a", "b")):
        write_model(box.path(name), with_head(make_tensors(dense_shapes(head=False), "BF16", seed)), config_for(tie_word_embeddings=tied))


def a_head_stored_twice_everywhere(recipe):
    """The output stores it twice too, and both are one."""
    def case(box):
        write_doubles(box, True)
        box.merge(recipe)
        got = read_model(box.path("out"))
        equal(got["lm_head.weight"], got["model.embed_tokens.weight"])
        equal(json.load(open(box.path("out", "config.json")))["tie_word_embeddings"], True)
        box.ok("verify", "out")
        record = json.load(open(box.path("out", "crucible.json")))
        equal({t["name"]: t["as"] for t in record["tensors"] if "as" in t}, {"lm_head.weight": "model.embed_tokens.weight"})
        contains(box.run("plan", "recipe.yml", "--explain", "lm_head.weight").text, "tied: merged as model.embed_tokens.weight")
    return case


for method, recipe in TWICE.items():
    suite.add("heads_stored_twice_" + method, a_head_stored_twice_everywhere(recipe))


@suite.case
def an_untied_head_that_is_equal_draws_for_itself(box):
    write_doubles(box, False)
    for method in ("dare_linear", "della"):
        box.merge(RANDOM % method, method)
        got = read_model(box.path(method))
        assert got["lm_head.weight"] != got["model.embed_tokens.weight"], method
        assert not any("as" in t for t in json.load(open(box.path(method, "crucible.json")))["tensors"])


@suite.case
def a_stored_head_that_differs_is_one_whatever_the_config_says(box):
    a, b = (make_tensors(dense_shapes(), "BF16", seed) for seed in (1, 2))
    tied = config_for(tie_word_embeddings=True)
    got = merged(box, a, b, config_a=tied, config_b=tied)
    assert "lm_head.weight" in got
    equal(json.load(open(box.path("out", "config.json")))["tie_word_embeddings"], False)


@suite.case
def a_head_that_is_nowhere_is_missing(box):
    untied = config_for(tie_word_embeddings=False)
    refused(make(dense_shapes()), make(dense_shapes(head=False), 2), "./b lacks a tensor", "lm_head.weight", "tie_word_embeddings",
            config_a=untied, config_b=untied)(box)


@suite.case
def the_plan_says_how_a_tensor_came_about(box):
    write_model(box.path("a"), make_tensors(dense_shapes(), "BF16", 1), config_for(tie_word_embeddings=False))
    write_model(box.path("b"), fuse_projections(make_tensors(dense_shapes(20, head=False), "BF16", 2)), config_for(vocab=20, tie_word_embeddings=True))
    box.write("recipe.yml", LINEAR)
    text = box.ok("plan", "recipe.yml", "--explain", "lm_head.weight").out
    contains(text, "./b: lm_head.weight BF16 (tied: the embedding, model.embed_tokens.weight)")
    contains(text, "./a: lm_head.weight BF16 (rows 16 to 19 are padding, from ./b)")
    contains(box.ok("plan", "recipe.yml", "--explain", "*k_proj*").out, "(stored as model.layers.0.self_attn.qkv_proj.weight)")
    sources = [s for t in json.loads(box.ok("plan", "recipe.yml", "--json").out)["tensors"] for s in t["sources"]]
    assert any(s.get("how") == "stored as model.layers.1.mlp.gate_up_proj.weight" for s in sources)


# --- padding ---------------------------------------------------------------------------------------------------------------------

def test_vocabulary(box, a_rows, b_rows, recipe=LINEAR):
    a, b = (make_tensors(dense_shapes(rows), "BF16", seed) for rows, seed in ((a_rows, 1), (b_rows, 2)))
    got = merged(box, a, b, recipe, config_a=config_for(vocab=a_rows), config_b=config_for(vocab=b_rows))
    return a, b, got


def padding_case(a_rows, b_rows):
    def case(box):
        a, b, got = test_vocabulary(box, a_rows, b_rows)
        least, most, longer = min(a_rows, b_rows), max(a_rows, b_rows), a if a_rows > b_rows else b
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            equal(got[name][1], [most, H])
            values = values_of(got[name])
            x, y = values_of(a[name]), values_of(b[name])
            equal(got[name][2][:least * H * 2], encode("BF16", [0.75 * p + 0.25 * q for p, q in zip(x[:least * H], y[:least * H])]), name)
            equal(values[least * H:], values_of(longer[name])[least * H:])
        config = json.load(open(box.path("out", "config.json")))
        equal(config["vocab_size"], most)
        contains(box.run("plan", "recipe.yml").text, "the rows that no token uses")
    return case


suite.add("padding_of_the_second_is_longer", padding_case(16, 20))
suite.add("padding_of_the_first_is_longer", padding_case(20, 16))


@suite.case
def padding_of_a_tied_model_beside_an_untied_one(box):
    a, b = make_tensors(dense_shapes(20, head=False), "BF16", 1), make_tensors(dense_shapes(16), "BF16", 2)
    got = merged(box, a, b, config_a=config_for(vocab=20, tie_word_embeddings=True), config_b=config_for(tie_word_embeddings=False))
    equal(got["lm_head.weight"][1], [20, H])
    equal(values_of(got["lm_head.weight"])[16 * H:], values_of(a["model.embed_tokens.weight"])[16 * H:])


@suite.case
def other_tokens_are_no_padding(box):
    write_model(box.path("a"), make_tensors(dense_shapes(16), "BF16", 1), config_for())
    write_model(box.path("b"), make_tensors(dense_shapes(20), "BF16", 2), config_for(vocab=20))
    box.write("b/tokenizer.json", json.dumps({"model": {"type": "BPE", "vocab": {"a": 0, "c": 1}, "merges": []}}))
    box.write("recipe.yml", LINEAR)
    result = box.run("merge", "recipe.yml", "out")
    equal(result.code, 2)
    for part in ("./a: 16 rows of model.embed_tokens.weight", "./b: 20 rows", "vocab_size 20", "tokenizer.json has 2 tokens"):
        contains(result.text, part)


@suite.case
def a_token_beyond_the_shorter_is_no_padding(box):
    write_model(box.path("a"), make_tensors(dense_shapes(16), "BF16", 1), config_for())
    write_model(box.path("b"), make_tensors(dense_shapes(20), "BF16", 2), config_for(vocab=20))
    for name in "ab":
        box.write(name + "/tokenizer.json", json.dumps({"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": "x", "id": 17}]}))
    box.write("recipe.yml", LINEAR)
    equal(box.run("merge", "recipe.yml", "out").code, 2)


# --- tensors that some lack ------------------------------------------------------------------------------------------------------

@suite.case
def spare_buffers_follow_the_first_model(box):
    plain = make_tensors(dense_shapes(), "BF16", 1)
    buffers = {"model.layers.0.self_attn.rotary_emb.inv_freq": tensor("F32", [2], [1.0, 0.5]), "model.position_ids": tensor("I64", [3], [0, 1, 2])}
    other = make_tensors(dense_shapes(), "BF16", 2)
    got = merged(box, {**plain, **buffers}, other)
    for name, t in buffers.items():
        equal(got[name], (t[0], t[1], t[2]))
    got = merged(box, plain, {**other, **buffers}, out="out2")
    equal(sorted(got), sorted(plain))


@suite.case
def allow_missing_keeps_the_network_of_the_first(box):
    shapes = dense_shapes()
    a = make_tensors({**shapes, "model.mtp.fc.weight": [H, H]}, "BF16", 1)
    b = make_tensors({**shapes, "model.extra.weight": [H]}, "BF16", 2)
    plain = merged(box, {n: t for n, t in a.items() if "mtp" not in n}, {n: t for n, t in b.items() if "extra" not in n}, out="plain")
    got = merged(box, a, b, options=["--allow-missing"])
    equal(sorted(got), sorted(a))
    equal({n: t for n, t in got.items() if "mtp" not in n}, plain)
    equal(got["model.mtp.fc.weight"], (a["model.mtp.fc.weight"][0], a["model.mtp.fc.weight"][1], a["model.mtp.fc.weight"][2]))
    text = box.run("plan", "recipe.yml", "--allow-missing").text
    contains(text, "model.mtp.fc.weight")
    contains(text, "left out, because some models lack them: model.extra.weight")


@suite.case
def allow_missing_without_the_base(box):
    shapes = dense_shapes()
    base = make_tensors(shapes, "BF16", 1)
    b = make_tensors(shapes, "BF16", 2)
    name = "model.layers.1.mlp.up_proj.weight"
    write_model(box.path("c"), make_tensors(shapes, "BF16", 3), config_for())
    recipe = "merge_method: task_arithmetic\nbase_model: ./a\nmodels:\n- {model: ./b, parameters: {weight: 0.5}}\n- {model: ./c, parameters: {weight: 1.0}}\n"
    got = merged(box, base, {n: t for n, t in b.items() if n != name}, recipe, options=["--allow-missing"])
    third = read_model(box.path("c"))
    equal(got[name], (third[name][0], third[name][1], third[name][2]))  # base + (c - base), exact here


@suite.case
def a_copy_of_what_others_lack_takes_the_output_type(box):
    shapes = dense_shapes()
    a = make_tensors({**shapes, "model.mtp.fc.weight": [H, H]}, "BF16", 1)
    b = make_tensors(shapes, "BF16", 2)
    slerp = "merge_method: slerp\nbase_model: ./a\ndtype: float32\nparameters: {t: 0.4}\nmodels:\n- model: ./a\n- model: ./b\n"
    got = merged(box, a, b, slerp, options=["--allow-missing"])
    equal(got["model.mtp.fc.weight"][0], "F32")
    equal(values_of(got["model.mtp.fc.weight"]), values_of(a["model.mtp.fc.weight"]))


MADE_UP = {"zork.7.quux": [3, 5], "zork.8.quux": [3, 5], "blorb": [7], "a.b.c.d.e": [2, 2, 2], "scalar": [], "nothing": [0, 4], "9": [2],
           "layers.0.x.1.y": [4], "\u00fc.weight": [3], "weird name/with:signs": [2]}


def made_up(recipe):
    """No part of a name means anything, no config: the names and shapes decide. A merge with itself is itself, whole numbers too."""
    def case(box):
        model = make_tensors(MADE_UP, "BF16", 5)
        model.update({"table": tensor("I64", [4], [3, -1, 2 ** 40, 0]), "mask": tensor("BOOL", [3], [1, 0, 1]), "codes": tensor("I8", [2], [-5, 7])})
        for name in "ab":
            write_model(box.path(name), model, config="{}\n", others={})
        box.merge(recipe)
        equal(read_model(box.path("out")), {n: (t[0], t[1], t[2]) for n, t in model.items()})
        box.ok("verify", "out")
    return case


for method, recipe in METHODS.items():
    suite.add("a_made_up_network_" + method, made_up(recipe))


if __name__ == "__main__":
    sys.exit(suite.run())
