#!/usr/bin/env python3
"""Every form of a recipe, seen in `plan --json` and in the bytes: levels, gradients, filters, slices, modules, and YAML as people write it."""
import json
import os
import sys

from harness import Suite, contains, equal
from model_maker import encode, make_llama, make_trio, read_model, to_f32, values_of

LAYERS = 4
suite = Suite(prepare=lambda root: make_trio(root, layers=LAYERS))

LINEAR = """\
merge_method: linear
models:
- model: ./a
  parameters:
    weight: WEIGHT
- model: ./b
  parameters:
    weight: 0.5
parameters: {normalize: false}
dtype: float32
"""


def link(box):
    for name in ("base", "a", "b"):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def plan_of(box, recipe, *options):
    box.write("recipe.yml", recipe)
    return json.loads(box.ok("plan", "recipe.yml", "--json", *options).out)


def weights(plan, model, parameter="weight"):
    """name -> the parameter's entry in the plan, for one model."""
    out = {}
    for t in plan["tensors"]:
        for s in t["sources"]:
            if s["model"] == model:
                out[t["name"]] = s["parameters"][parameter]
    return out


def check_bytes(box, recipe, plan):
    """The merge does with a and b what the plan says."""
    out = read_model(box.merge(recipe))
    a, b = (read_model(os.path.join(box.shared, m)) for m in ("a", "b"))
    of_a, of_b = weights(plan, "./a"), weights(plan, "./b")
    for name, (dtype, _, data) in out.items():
        wa, wb = of_a[name]["value"], of_b[name]["value"]
        expected = [to_f32(wa * x + wb * y) for x, y in zip(values_of(a[name]), values_of(b[name]))]
        equal(data, encode(dtype, expected), name)


def layer(n, rest="mlp.up_proj.weight"):
    return "model.layers.%d.%s" % (n, rest)


@suite.case
def scalar(box):
    link(box)
    recipe = LINEAR.replace("WEIGHT", "0.25")
    plan = plan_of(box, recipe)
    w = weights(plan, "./a")[layer(2)]
    equal((w["value"], w["from"], os.path.basename(w["file"]), w["line"], w["column"]), (0.25, "model", "recipe.yml", 5, 13))
    check_bytes(box, recipe, plan)


@suite.case
def gradient_over_the_layers(box):
    link(box)
    recipe = LINEAR.replace("WEIGHT", "[0, 0.75, 0]")
    plan = plan_of(box, recipe)
    w = weights(plan, "./a")
    # Three points over four layers: t = 0, 1/3, 2/3, 1.
    for n, expected in enumerate([0.0, 0.5, 0.5, 0.0]):
        assert abs(w[layer(n)]["value"] - expected) < 1e-12, (n, w[layer(n)])
        assert abs(w[layer(n)]["t"] - n / 3) < 1e-12
    equal(w["model.embed_tokens.weight"]["value"], 0.0, "outside the layers t is 0")
    equal(w["lm_head.weight"]["value"], 0.0, "outside the layers t is 0")
    check_bytes(box, recipe, plan)


@suite.case
def filters_first_match_wins(box):
    link(box)
    recipe = LINEAR.replace("WEIGHT", "\n    - {filter: mlp, value: 0.25}\n    - {filter: up_proj, value: 0.125}\n    - {filter: self_attn, value: [0, 1]}\n"
                            "    - value: 0.75")
    plan = plan_of(box, recipe)
    w = weights(plan, "./a")
    equal((w[layer(1)]["value"], w[layer(1)]["filter"]), (0.25, "mlp"))
    equal(w[layer(3, "self_attn.q_proj.weight")]["value"], 1.0)
    equal(w[layer(0, "self_attn.q_proj.weight")]["value"], 0.0)
    equal((w["model.norm.weight"]["value"], "filter" in w["model.norm.weight"]), (0.75, False))
    contains(" ".join(n["message"] for n in plan["notices"]), "filter `up_proj` matches none that is left")
    check_bytes(box, recipe, plan)


@suite.case
def nearer_levels_win(box):
    link(box)
    recipe = """\
merge_method: linear
parameters: {weight: 0.125, normalize: false}
slices:
- sources:
  - model: ./a
    layer_range: [0, 2]
    parameters: {weight: 0.5}
  - model: ./b
    layer_range: [0, 2]
- parameters: {weight: 0.25}
  sources:
  - model: ./a
    layer_range: [2, 4]
  - model: ./b
    layer_range: [2, 4]
    parameters: {weight: [{filter: mlp, value: 1}]}
dtype: float32
"""
    plan = plan_of(box, recipe)
    a, b = weights(plan, "./a"), weights(plan, "./b")
    show = lambda w: (w["value"], w["from"])
    equal(show(a[layer(0)]), (0.5, "model"))
    equal(show(b[layer(0)]), (0.125, "global"))
    equal(show(a[layer(2)]), (0.25, "slice"))
    equal(show(b[layer(2)]), (1, "model"))
    equal(show(b[layer(2, "self_attn.q_proj.weight")]), (0.25, "slice"), "a condition that does not match falls through to the next level")
    check_bytes(box, recipe, plan)


@suite.case
def slices_stack_layers(box):
    link(box)
    recipe = """\
merge_method: passthrough
slices:
- sources: [{model: ./a, layer_range: [0, 3]}]
- sources: [{model: ./b, layer_range: [1, 4], parameters: {scale: [{filter: o_proj, value: 0}, {value: 1}]}}]
dtype: float16
"""
    plan = plan_of(box, recipe)
    equal(plan["layers"], ["0 <- ./a 0", "1 <- ./a 1", "2 <- ./a 2", "3 <- ./b 1", "4 <- ./b 2", "5 <- ./b 3"])
    folder = box.merge(recipe)
    out = read_model(folder)
    a, b = (read_model(os.path.join(box.shared, m)) for m in ("a", "b"))
    with open(folder + "/config.json") as f:
        equal(json.load(f)["num_hidden_layers"], 6, "layers in config.json")
    for n, (source, k) in enumerate([(a, 0), (a, 1), (a, 2), (b, 1), (b, 2), (b, 3)]):
        equal(out[layer(n)], source[layer(k)], "layer %d" % n)
    equal(out["model.embed_tokens.weight"], a["model.embed_tokens.weight"], "the embedding is the first slice's")
    equal((out["model.norm.weight"], out["lm_head.weight"]), (b["model.norm.weight"], b["lm_head.weight"]), "norm and head are the last slice's")
    equal(set(values_of(out[layer(4, "self_attn.o_proj.weight")])) <= {0.0, -0.0}, True, "scaled to zero")
    equal(len(out), len(a) + 2 * 9, "tensors")


@suite.case
def twelve_layers_keep_their_order(box):
    make_llama(box.path("deep"), 3, layers=12)
    recipe = "merge_method: passthrough\nslices:\n- sources: [{model: ./deep, layer_range: [1, 12]}]\n"
    out = read_model(box.merge(recipe))
    deep = read_model(box.path("deep"))
    for n in range(11):
        equal(out[layer(n)], deep[layer(n + 1)], "layer %d" % n)


@suite.case
def modules_have_their_own_models(box):
    link(box)
    recipe = """\
merge_method: linear
parameters: {weight: 1}
modules:
  mlp:
    parameters: {weight: 0.5}
    models:
    - model: ./a
    - model: ./b
      parameters: {weight: 1.5}
  default:
    models: [{model: ./b}]
"""
    plan = plan_of(box, recipe)
    mlp = {t["name"]: t for t in plan["tensors"]}[layer(1)]
    equal([(s["model"], s["parameters"]["weight"]["value"], s["parameters"]["weight"]["from"]) for s in mlp["sources"]],
          [("./a", 0.5, "module"), ("./b", 1.5, "model")])
    out = read_model(box.merge(recipe))
    a, b = (read_model(os.path.join(box.shared, m)) for m in ("a", "b"))
    equal(out["model.norm.weight"], b["model.norm.weight"])
    expected = [to_f32((0.5 * x + 1.5 * y) / 2) for x, y in zip(values_of(a[layer(1)]), values_of(b[layer(1)]))]
    equal(out[layer(1)][2], encode("F16", expected), "the module's own weights")


YAML_FORMS = {
    "indented as a whole": lambda r: "\n\n" + "".join("    " + line + "\n" for line in r.splitlines()),
    "with document marks": lambda r: "%YAML 1.1\n---\n" + r + "...\n",
    "with Windows line ends": lambda r: r.replace("\n", "\r\n"),
    "with old Macintosh line ends": lambda r: r.replace("\n", "\r"),
    "with a byte order mark": lambda r: "\ufeff" + r,
    "with comments in any script": lambda r: "# \u0441\u043b\u0438\u044f\u043d\u0438\u0435 \U0001F9EA\n" + r.replace("dtype", "# \u6a21\u578b\ndtype"),
    "as JSON": lambda r: json.dumps({"merge_method": "linear", "models": [{"model": "./a", "parameters": {"weight": 0.25}}, {"model": "./b", "parameters": {"weight": 0.5}}],
                                     "parameters": {"normalize": False}, "dtype": "float32"}),
    "with an anchor": lambda r: "# once: &v\n" + r.replace("weight: 0.25", "weight: &v 2.5e-1"),
    "with merge keys": lambda r: r.replace("- model: ./a", "- &first\n  model: ./a").replace("- model: ./b\n", "- <<: *first\n  model: ./b\n"),
    "with a list of one": lambda r: r.replace("0.25", "[0.25]"),
    "with a plain condition": lambda r: r.replace("weight: 0.25", "weight: {value: 0.25}").replace("weight: 0.5", "weight: [{filter: '*', value: 0.5}]"),
    "with empty keys of mergekit's writer": lambda r: r + "slices: null\nmodules:\nout_dtype: ~\ntokenizer_source: null\nchat_template: null\nbase_model: null\n",
    "with a mapping as reference": lambda r: r.replace("./a", "{model: {path: ./a, revision: null}, lora: null, override_architecture: null}"),
    "with torch's name of the type": lambda r: r.replace("float32", "torch.float32"),
    "with words for flags": lambda r: r.replace("false", "off"),
    "with trailing blanks and tabs": lambda r: r.replace("\n", " \n") + "\t\n",
}


def yaml_case(change):
    def check(box):
        link(box)
        plain = LINEAR.replace("WEIGHT", "0.25")
        expected = read_model(box.merge(plain, "plain"))
        equal(read_model(box.merge(change(plain), "changed")), expected, "the merge")
    return check


for name, change in YAML_FORMS.items():
    suite.add("YAML " + name, yaml_case(change))


@suite.case
def numbers_as_people_write_them(box):
    link(box)
    for text, value in {"1e-10": 1e-10, "1E3": 1000.0, ".5": 0.5, "+2": 2.0, "1.": 1.0, "'0.5'": 0.5, "-0": 0.0, "1e-400": 0.0, "true": 1.0}.items():
        equal(weights(plan_of(box, LINEAR.replace("WEIGHT", text)), "./a")[layer(0)]["value"], value, text)


@suite.case
def order_of_models_and_keys_changes_nothing(box):
    link(box)
    first = box.merge("merge_method: linear\nmodels:\n- model: ./a\n  parameters: {weight: 0.3}\n- model: ./b\n  parameters: {weight: 0.7}\n", "first")
    second = box.merge("models:\n- model: ./b\n  parameters: {weight: 0.7}\n- model: ./a\n  parameters: {weight: 0.3}\nmerge_method: linear\n", "second")
    equal(read_model(first), read_model(second))


@suite.case
def paths_start_at_the_recipe_then_at_the_working_directory(box):
    make_llama(box.path("recipes", "a"), 3)
    make_llama(box.path("work", "b"), 4)
    recipe = "merge_method: linear\nparameters: {weight: 1}\nmodels:\n- model: ./a\n- model: b\n"
    box.write("recipes/recipe.yml", recipe)
    box.ok("merge", "../recipes/recipe.yml", "out", cwd=box.path("work"))
    os.symlink(box.path("recipes", "a"), box.path("work", "a"))  # the same folder by another way is no contradiction
    box.ok("check", "../recipes/recipe.yml", cwd=box.path("work"))
    box.write("absolute.yml", recipe.replace("./a", box.path("recipes/a")).replace("model: b", "model: " + box.path("work/b")))
    box.ok("check", box.path("absolute.yml"), cwd="/")


@suite.case
def model_option_maps_an_id_to_a_folder(box):
    link(box)
    recipe = LINEAR.replace("WEIGHT", "0.25").replace("./a", "org/first").replace("./b", "org/second@v2")
    box.write("recipe.yml", recipe)
    box.ok("merge", "recipe.yml", "out", "--model", "org/first=a", "--model=org/second=./b")
    contains(box.last.out, "org/first")
    expected = read_model(box.merge(LINEAR.replace("WEIGHT", "0.25"), "plain"))
    equal(read_model(box.path("out")), expected)


@suite.case
def recipe_from_standard_input(box):
    link(box)
    recipe = LINEAR.replace("WEIGHT", "0.25")
    box.ok("merge", "-", "out", stdin=recipe)
    equal(read_model(box.path("out")), read_model(box.merge(recipe, "plain")))
    equal(box.run("check", "-", stdin="").code, 2, "exit code for an empty recipe")
    contains(box.last.err, "the recipe is empty")
    equal(box.run("check", "-", stdin=recipe.replace("0.25", "x")).code, 2)
    contains(box.last.err, "<standard input>:5:13: error:")


@suite.case
def same_folder_under_two_ids(box):
    link(box)
    # The ids differ, so both count: one as the base, one as a model whose task vector is zero.
    ids = ["--model", "org/x=a", "--model", "org/y=a"]
    a = read_model(os.path.join(box.shared, "a"))
    equal(read_model(box.merge("merge_method: slerp\nbase_model: org/x\nmodels: [{model: org/y}]\nparameters: {t: 0.5}\n", "slerp", *ids)), a)
    recipe = "merge_method: task_arithmetic\nbase_model: org/x\nmodels: [{model: org/y}, {model: ./b}]\nparameters: {weight: 0.5, normalize: NORMALIZE}\n"
    plan = plan_of(box, recipe.replace("NORMALIZE", "false"), *ids)
    equal([s["model"] for s in plan["tensors"][0]["sources"]], ["./b", "org/y"])
    whole, half = (read_model(box.merge(recipe.replace("NORMALIZE", flag), flag, *ids)) for flag in ("false", "true"))
    equal(whole, half, "the weights sum to one")


sys.exit(suite.run())
