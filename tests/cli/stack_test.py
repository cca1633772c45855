#!/usr/bin/env python3
"""`stack` and `bakllama`: the bytes of the equivalent recipe, the sources of embedding and head, and everything that is out of range."""
import os
import sys

from harness import CRUCIBLE, Suite, contains, equal
from model_maker import decode, make_llama, make_trio, read_bytes, read_model

suite = Suite(prepare=lambda root: (make_trio(root, layers=4), make_llama(os.path.join(root, "tied"), 9, layers=4, tied=True)))

RECIPE = """\
merge_method: passthrough
slices:
- sources:
  - model: ./a
    layer_range: [0, 3]
- sources:
  - model: ./b
    layer_range: [1, 4]
"""


def link(box):
    for name in ("base", "a", "b", "tied"):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def weights(box, folder):
    return read_bytes(box.path(folder, "model.safetensors"))


def same_model(box, one, other):
    equal(weights(box, one), weights(box, other), "weights of " + one)
    equal(read_bytes(box.path(one, "config.json")), read_bytes(box.path(other, "config.json")), "config of " + one)


@suite.case
def a_stack_is_the_recipe_that_says_it(box):
    link(box)
    box.merge(RECIPE, "plain")
    box.ok("stack", "out", "--layers", "./a:0-3", "--layers", "./b:1-4")
    same_model(box, "out", "plain")
    contains(box.ok("stack", "never", "--layers", "./a:0-3", "--layers", "./b:1-", "--dry-run").out, "3-5 <- ./b 1-3")
    assert not os.path.exists(box.path("never"))


@suite.case
def the_recipe_can_be_had(box):
    link(box)
    args = ["--layers", "./a:0-3", "--layers", "./b:1-4", "--dtype", "bfloat16"]
    text = box.ok("stack", "never", *args, "--print-recipe").out
    box.ok("stack", "out", *args, "--write-recipe", "written.yml", "--quiet")
    equal(read_bytes(box.path("written.yml")).decode(), text)
    assert not os.path.exists(box.path("never"))
    box.ok("merge", "written.yml", "again")
    same_model(box, "again", "out")
    equal(box.run("stack", "more", *args, "--write-recipe", "written.yml").code, 2, "an existing file is not written over")


@suite.case
def ranges_in_every_form(box):
    link(box)
    text = box.ok("stack", "x", "--layers", "./a", "--layers", "./a:2", "--layers", "./b:1-", "--layers", "./b:0-1", "--print-recipe").out
    equal([line.split(": ")[1] for line in text.splitlines() if "layer_range" in line], ["[0, 4]", "[2, 3]", "[1, 4]", "[0, 1]"])


@suite.case
def scale_is_on_the_tensors_that_write_to_the_residual(box):
    link(box)
    box.ok("stack", "out", "--layers", "./a:0-2", "--layers", "./b:0-1:scale=0.5", "--layers", "./b:3-4", "--scale", "2")
    out, a, b = (read_model(box.path(n)) for n in ("out", "a", "b"))
    for k, source, layer, scale in ((0, a, 0, 2), (1, a, 1, 2), (2, b, 0, 0.5), (3, b, 3, 2)):
        for part in ("mlp.down_proj", "mlp.up_proj", "self_attn.o_proj", "self_attn.q_proj", "input_layernorm"):
            got = decode(*out["model.layers.%d.%s.weight" % (k, part)][::2])
            factor = scale if part in ("mlp.down_proj", "self_attn.o_proj") else 1
            equal(got, [factor * v for v in decode(*source["model.layers.%d.%s.weight" % (layer, part)][::2])], "layer %d %s" % (k, part))
    box.ok("stack", "one", "--layers", "./a:0-2:scale=2", "--scaled", "up_proj")
    one = read_model(box.path("one"))
    equal(one["model.layers.0.mlp.down_proj.weight"], a["model.layers.0.mlp.down_proj.weight"])
    assert one["model.layers.0.mlp.up_proj.weight"] != a["model.layers.0.mlp.up_proj.weight"]


@suite.case
def embedding_and_head_come_from_where_they_are_asked(box):
    link(box)
    box.ok("stack", "out", "--layers", "./a:0-3", "--layers", "./b:1-4", "--embedding", "./base", "--head", "./a")
    out, a, b, base = (read_model(box.path(n)) for n in ("out", "a", "b", "base"))
    equal(out["model.embed_tokens.weight"], base["model.embed_tokens.weight"])
    equal(out["lm_head.weight"], a["lm_head.weight"])
    equal(out["model.norm.weight"], b["model.norm.weight"])
    equal(out["model.layers.3.mlp.up_proj.weight"], b["model.layers.1.mlp.up_proj.weight"])
    contains(read_bytes(box.path("out", "config.json")).decode(), '"num_hidden_layers": 6')
    contains(read_bytes(box.path("out", "tokenizer_config.json")).decode(), '"mark": "a"')
    equal(box.run("stack", "never", "--layers", "./a", "--head", "./tied").code, 2)
    contains(box.last.err, "./tied has no head of its own")


@suite.case
def what_is_out_of_range_is_told_at_once(box):
    link(box)
    equal(box.run("stack", "out", "--layers", "./a:0-9", "--layers", "./a:3-3", "--layers", "./b:-1-2", "--layers", "./nowhere:0-1").code, 2)
    for part in ("./a:0-9 reaches past the last layer: ./a has 4 layers, 0 to 3", "./a:3-3 holds no layers", "./b:-1-2 holds no layers", "./nowhere"):
        contains(box.last.err, part)
    for bad in ("./a:x", "./a:1-2-3", "./a:", "./a:0-2:scale=much", ":0-2", "./a:0-99999999999999999999"):
        equal(box.run("stack", "out", "--layers", bad).code, 2, bad)
    assert not os.path.exists(box.path("out"))


@suite.case
def a_path_with_any_character_is_a_model(box):
    link(box)
    os.symlink(box.path("a"), box.path("odd+name@v1:0-2"))
    box.ok("stack", "out", "--layers", "odd+name@v1:0-2:0-3", "--layers", "./b:1-4")
    box.merge(RECIPE, "plain")
    equal(weights(box, "out"), weights(box, "plain"))


@suite.case
def model_dirs_and_the_usual_options(box):
    link(box)
    box.ok("stack", "out", "--layers", "org/a:0-3", "--layers", "org/b:1-4", "--model", "org/a=./a", "--model-dir", "org/b=./b", "--threads", "1")
    box.merge(RECIPE, "plain")
    same_model(box, "out", "plain")
    equal(box.run("stack", "out", "--layers", "./a").code, 2, "an output in use")
    box.ok("stack", "out", "--layers", "./a", "--overwrite")


# --- bakllama --------------------------------------------------------------------------------------------------------------------

BAKLLAMA = """\
layer_slices:
- model: ./a
  start: 0
  end: 3
- {model: ./b, start: 1, end: 4, scale: 0.5}
embedding_source: ./base
lm_head_source: ./a
"""


@suite.case
def bakllama_does_what_its_configuration_says(box):
    link(box)
    box.write("bak.yml", BAKLLAMA)
    os.symlink(CRUCIBLE, box.path("bakllama"))
    box.ok("bak.yml", "out", "--fp16", "--clone-tensors", program=box.path("bakllama"))
    box.ok("stack", "stacked", "--layers", "./a:0-3", "--layers", "./b:1-4:scale=0.5", "--scaled", "down_proj", "--embedding", "./base", "--head",
           "./a", "--dtype", "float16")
    same_model(box, "out", "stacked")


@suite.case
def wrong_configurations_are_told_with_their_places(box):
    link(box)
    box.write("bak.yml", BAKLLAMA.replace("end: 3", "end: 30").replace("scale", "skale").replace("./base", "./nowhere"))
    equal(box.run("bakllama", "bak.yml", "out").code, 2)
    for part in ("bak.yml:2:3: error: the range from 0 to 30 reaches past the last layer: ./a has 4 layers, 0 to 3", "unknown key `skale`",
                 "did you mean `scale`?", "bak.yml:6:19: error: model \"./nowhere\" not found"):
        contains(box.last.err, part)
    for text in ("", "---\n---\n", "[]", "layer_slices: []", "layer_slices: 3", "layer_slices:\n- 3\n", "layer_slices:\n- {start: 1}\n", "{",
                 "layer_slices:\n- {model: ./a, start: x, end: 2}\n"):
        box.write("bak.yml", text)
        equal(box.run("bakllama", "bak.yml", "out").code, 2, repr(text))
    equal(box.run("bakllama", "missing.yml", "out").code, 2)
    assert not os.path.exists(box.path("out"))


sys.exit(suite.run())
