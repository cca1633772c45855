#!/usr/bin/env python3
"""Every command: help, exit codes, JSON that parses and agrees with the text, and what happens when the terminal or the pipe is gone."""
import json
import os
import subprocess
import sys

from harness import METHODS_WITH_BASE, SOURCE_DIR, Skip, Suite, contains, equal
from model_maker import encode, llama_shapes, make_large, make_trio, write_model

COMMANDS = ["merge", "check", "plan", "methods", "inspect", "diff", "analyze", "verify", "report", "completion", "mergekit-yaml", "stack", "bakllama",
            "layershuffle", "mergekit-layershuffle", "legacy", "mergekit-legacy", "multi", "mergekit-multi", "raw", "mergekit-pytorch"]
suite = Suite(prepare=lambda root: make_trio(root))

RECIPE = """\
merge_method: ties
base_model: ./base
models:
- model: ./a
  parameters: {weight: 1, density: [0.2, 0.8]}
- model: ./b
  parameters: {weight: 0.5, density: 0.5}
dtype: float16
"""


def link(box):
    for name in ("base", "a", "b"):
        os.symlink(os.path.join(box.shared, name), box.path(name))
    box.write("recipe.yml", RECIPE)


def founding(box):
    """The founding recipe as it stands in the repository, with small models in the place of its own."""
    with open(os.path.join(SOURCE_DIR, "examples", "founding", "recipe.yml")) as f:
        text = f.read()
    box.write("recipe.yml", text)
    for name, model in (("base", "base"), ("model_a", "a"), ("model_b", "b")):
        os.symlink(os.path.join(box.shared, model), box.path(name))


# --- help and use ----------------------------------------------------------------------------------------------------------------

@suite.case
def help_and_version(box):
    whole = box.ok("--help").out
    contains(whole, "Exit codes: 0 done")
    for command in COMMANDS:
        contains(whole, command)
        text = box.ok(command, "--help").out
        contains(text, "--help")
        equal(box.last.err, "", "stderr of " + command)
    contains(box.ok("--version").out, "crucible ")
    for command in ("merge", "check", "plan"):
        text = box.ok(command, "--help").out
        for option in ("--model", "--seed", "--strict", "--allow-unused", "--out-shard-size", "--threads", "--memory", "--quiet"):
            contains(text, option)


@suite.case
def no_command_shows_the_help(box):
    equal(box.run().code, 2, "exit code")
    contains(box.last.text, "merge")


@suite.case
def misspelt_command_exits_2(box):
    equal(box.run("mrege").code, 2)
    equal(box.last.out, "", "stdout")


# --- check -----------------------------------------------------------------------------------------------------------------------

@suite.case
def check_says_yes_and_no(box):
    link(box)
    contains(box.ok("check", "recipe.yml").out, "recipe.yml: correct")
    equal(json.loads(box.ok("check", "recipe.yml", "--json").out), {"ok": True, "diagnostics": []})
    box.write("recipe.yml", RECIPE.replace("ties", "tise").replace("0.5", "5", 1))
    equal(box.run("check", "recipe.yml").code, 2)
    text = box.last.err
    equal(box.run("check", "recipe.yml", "--json").code, 2)
    found = json.loads(box.last.out)
    equal(found["ok"], False)
    first = found["diagnostics"][0]
    equal((first["severity"], os.path.basename(first["file"]), first["line"], first["column"]), ("error", "recipe.yml", 1, 15))
    contains(first["hint"], "did you mean `ties`?")
    for d in found["diagnostics"]:
        contains(text, d["message"])


@suite.case
def check_of_large_headers_reads_headers_only(box):
    # A model of 70 billion parameters has 723 tensors of up to 470 MB: here with headers of that size over files of holes.
    shapes = llama_shapes(80, hidden=8192, ffn=28672, vocab=32000)
    files = 4
    names = list(shapes)
    for m in range(8):
        folder = box.path("m%d" % m)
        os.makedirs(folder)
        weight_map = {}
        for s in range(files):
            part = names[s * len(names) // files:(s + 1) * len(names) // files]
            header, at = {}, 0
            for n in part:
                size = 2 * shapes[n][0] * (shapes[n][1] if len(shapes[n]) > 1 else 1)
                header[n] = {"dtype": "BF16", "shape": shapes[n], "data_offsets": [at, at + size]}
                at += size
                weight_map[n] = "model-%05d-of-%05d.safetensors" % (s + 1, files)
            text = json.dumps(header).encode()
            with open(os.path.join(folder, weight_map[part[0]]), "wb") as f:
                f.write(encode("U64", [len(text)]) + text)
                f.truncate(8 + len(text) + at)
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {}, "weight_map": weight_map}, f)
    box.write("recipe.yml", "merge_method: linear\nparameters: {weight: 1}\nmodels:\n" + "".join("- model: ./m%d\n" % i for i in range(8)))
    # The data would be more than a terabyte of zeros: a command that read it would not end. bench/check_headers.py takes the time.
    box.ok("check", "recipe.yml")


# --- plan ------------------------------------------------------------------------------------------------------------------------

@suite.case
def plan_in_json_and_text(box):
    link(box)
    plan = json.loads(box.ok("plan", "recipe.yml", "--json", "--out-shard-size", "1000").out)
    equal((plan["method"], plan["seed"]), ("ties", 42))
    equal([(i["model"], i["base"]) for i in plan["inputs"]], [("./base", True), ("./a", False), ("./b", False)])
    equal(sum(t["bytes"] for t in plan["tensors"]), plan["output_bytes"])
    equal({t["file"] for t in plan["tensors"]}, {f["name"] for f in plan["files"]})
    equal({t["name"] for t in plan["tensors"]}, set(llama_shapes(2)))
    t = [t for t in plan["tensors"] if t["name"] == "model.layers.1.mlp.up_proj.weight"][0]
    equal((t["dtype"], t["shape"], t["kind"], t["t"], t["base"]["tensor"]), ("F16", [12, 8], "merge", 1.0, t["name"]))
    density = t["sources"][0]["parameters"]["density"]
    equal((density["value"], density["line"], density["column"], density["t"]), (0.8, 5, 36, 1.0))
    equal(t["parameters"]["lambda"], {"value": 1.0, "from": "default"})
    assert 0 < plan["predicted_peak_bytes"] < 2**32
    text = box.ok("plan", "recipe.yml").out
    for part in ("ties", "./base", "seed", "digest", "predicted peak"):
        contains(text, part)
    assert not os.path.exists(box.path("out"))


@suite.case
def plan_explains_a_tensor(box):
    link(box)
    text = box.ok("plan", "recipe.yml", "--explain", "*layers.1*up_proj*").out
    contains(text, "model.layers.1.mlp.up_proj.weight  F16 [12, 8]")
    contains(text, "density = 0.8  (model, recipe.yml:5:36, gradient at t = 1.0000)")
    contains(text, "lambda = 1  (default)")
    equal(len([line for line in text.splitlines() if not line.startswith(" ")]), 1, "tensors explained")


@suite.case
def digest_changes_with_what_decides_the_bytes(box):
    link(box)
    digest = lambda *options: json.loads(box.ok("plan", "recipe.yml", "--json", *options).out)["digest"]
    first = digest()
    equal(digest("--threads", "1", "--memory", "1G"), first, "the digest on another machine")
    box.write("recipe.yml", "# a remark\n" + RECIPE)
    equal(digest(), first, "the digest with a comment more")
    assert digest("--seed", "1") != first and digest("--out-shard-size", "1000") != first


# --- founding recipe -------------------------------------------------------------------------------------------------------------

@suite.case
def founding_recipe_runs_and_tells_what_was_done(box):
    founding(box)
    result = box.ok("merge", "recipe.yml", "out", "--model", "microsoft/phi-2=base")
    for part in ("recipe.yml:8:15: notice: density 0.8 with epsilon 0.3", "from 0.5 to 1.1", "c = 0.810", "18 % of each row is always kept",
                 "mergekit 0.1.4 refuses this"):
        contains(result.err, part)
    contains(result.out, "planned 80.000 %")
    with open(box.path("out", "crucible.json")) as f:
        record = json.load(f)
    contains(" ".join(n["text"] for n in record["notices"]), "c = 0.810")
    contains(json.loads(box.ok("plan", "recipe.yml", "--json", "--model", "microsoft/phi-2=base").out)["notices"][0]["message"], "c = 0.810")
    assert "c = 0.810" not in box.ok("check", "recipe.yml", "--quiet", "--model", "microsoft/phi-2=base").text
    equal(box.run("check", "recipe.yml", "--strict", "--model", "microsoft/phi-2=base").code, 2, "exit code with --strict")
    contains(box.last.err, "error: density 0.8 with epsilon 0.3")


@suite.case
def founding_recipe_without_its_base_names_the_places(box):
    founding(box)
    equal(box.run("merge", "recipe.yml", "out").code, 2)
    for part in ("recipe.yml:9:13: error:", "microsoft/phi-2", box.path("home/.cache/huggingface/hub"), "--model microsoft/phi-2=DIR"):
        contains(box.last.err, part)


# --- methods, inspect, completion ------------------------------------------------------------------------------------------------

@suite.case
def methods_in_json_and_text(box):
    methods = {m["name"]: m for m in json.loads(box.ok("methods", "--json").out)}
    for name in METHODS_WITH_BASE + ["linear", "passthrough", "slerp"]:
        assert name in methods, name
        contains(box.ok("methods").out, name)
        text = box.ok("methods", name).out
        for p in methods[name]["parameters"] + methods[name]["model_parameters"]:
            contains(text, p["name"])
            contains(text, p["help"])
        equal(json.loads(box.ok("methods", name, "--json").out), methods[name])
    epsilon = [p for p in methods["della"]["model_parameters"] if p["name"] == "epsilon"][0]
    equal((epsilon["type"], epsilon["default"], epsilon["required"]), ("number in [0, 1]", "0.15, or half of window", False))


@suite.case
def examples_of_all_methods_are_correct_recipes(box):
    make_trio(box.root, layers=4)
    for name, model in (("model_a", "a"), ("model_b", "b"), ("model_c", "a")):
        os.symlink(model, box.path(name))
    for m in json.loads(box.ok("methods", "--json").out):
        assert m["examples"], m["name"]
        for example in m["examples"]:
            box.write("example.yml", example["recipe"])
            box.ok("check", "example.yml")


@suite.case
def inspect_in_json_and_text(box):
    link(box)
    found = json.loads(box.ok("inspect", "a", "--json").out)
    shapes = llama_shapes(2)
    equal({t["name"]: t["shape"] for t in found["tensors"]}, shapes)
    equal([(s["name"], s["layers"], s["config_key"]) for s in found["layer_stacks"]], [("model.layers", 2, "num_hidden_layers")])
    equal(found["other_files"], ["config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"])
    equal(found["bytes"], 2 * found["elements"])
    t = found["tensors"][[t["name"] for t in found["tensors"]].index("model.layers.1.mlp.up_proj.weight")]
    equal((t["layer"], t["role"], t["dtype"], t["file"]), (1, "mlp.up", "F16", "model.safetensors"))
    contains(box.ok("inspect", "a").out, "layers model.layers: 2")
    contains(box.ok("inspect", "a", "--tensors").out, "model.layers.1.mlp.up_proj.weight  F16 [12, 8]")
    contains(box.ok("inspect", "a/model.safetensors").out, "in %d tensors, 2.77 kB in 1 file" % len(shapes))


@suite.case
def inspect_prints_hostile_names_safely(box):
    write_model(box.path("x"), {"\x1b[2Jred\u202e": ("F16", [1], b"\0\0")})
    text = box.ok("inspect", "x", "--tensors").out
    assert "\x1b" not in text, "a raw escape"
    equal(json.loads(box.ok("inspect", "x", "--json").out)["tensors"][0]["name"], "\x1b[2Jred\u202e", "JSON escapes it")


@suite.case
def completion_scripts(box):
    for shell in ("bash", "zsh", "fish"):
        script = box.ok("completion", shell).out
        for word in COMMANDS + ["out-shard-size"]:
            contains(script, word)
    test = box.write("try.bash", box.run("completion", "bash").out + "\nCOMP_WORDS=(crucible pl); COMP_CWORD=1; _crucible; echo ${COMPREPLY[*]}\n"
                     "COMP_WORDS=(crucible merge --over); COMP_CWORD=2; _crucible; echo ${COMPREPLY[*]}\n")
    equal(subprocess.run(["bash", test], stdout=subprocess.PIPE, check=True).stdout.decode(), "plan\n--overwrite\n")


# --- terminals and pipes ---------------------------------------------------------------------------------------------------------

@suite.case
def a_full_disk_under_stdout_is_an_error(box):
    link(box)
    if not os.path.exists("/dev/full"):
        raise Skip("there is no /dev/full")
    for args in (["plan", "recipe.yml"], ["plan", "recipe.yml", "--json"], ["methods"], ["inspect", "a"], ["check", "recipe.yml", "--json"], ["completion", "bash"]):
        with open("/dev/full", "wb") as full:
            equal(box.run(*args, stdout=full).code, 3, "exit code of " + " ".join(args))


@suite.case
def a_closed_pipe_is_an_error_and_no_death(box):
    link(box)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        equal(box.run("plan", "recipe.yml", "--json", stdout=writer).code, 3, "exit code")
    finally:
        os.close(writer)


@suite.case
def nothing_is_coloured_or_rewritten_outside_a_terminal(box):
    link(box)
    make_large(box.path("large"), 500, 1)
    box.write("recipe.yml", "merge_method: linear\nmodels:\n- model: ./large\n  parameters: {weight: 1}\n")
    for environment in ({}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}):
        box.ok("merge", "recipe.yml", "out", "--overwrite", env=environment)
        assert "\x1b" not in box.last.text and "\r" not in box.last.text, "terminal codes with %s" % environment


@suite.case
def comma_locale_changes_nothing(box):
    link(box)
    plain = box.ok("plan", "recipe.yml", "--json").out
    for locale in ("de_DE.UTF-8", "tr_TR.UTF-8", "C", "POSIX", "no_SUCH"):
        equal(box.ok("plan", "recipe.yml", "--json", env={"LC_ALL": locale, "LANG": locale}).out, plain, locale)


sys.exit(suite.run())
