#!/usr/bin/env python3
"""Wrong recipes, options and outputs, damaged files: each ends with the right exit code and a message that helps, and leaves nothing behind."""
import os
import re
import resource
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "cli")]

import folder_cases  # noqa: E402
import header_cases  # noqa: E402
import recipe_cases  # noqa: E402
from harness import Skip, SLOWDOWN, Suite  # noqa: E402
from model_maker import make_llama, make_tensors, make_trio, llama_shapes, safetensors_bytes, tensor, write_file, write_model  # noqa: E402

SECONDS = 5
PLAIN = "merge_method: linear\nparameters: {weight: 1}\nmodels:\n- model: ./a\n- model: ./b\n"
WITH_X = PLAIN.replace("./b", "./x")
ONLY_X = "merge_method: linear\nparameters: {weight: 1}\nmodels:\n- model: ./x\n"

suite = Suite(prepare=lambda root: make_trio(root))


def tree(root):
    """Everything below a folder, with size and time of change: what a refused command must not alter."""
    seen = {}
    for folder, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(folder, name)
            s = os.lstat(path)
            seen[os.path.relpath(path, root)] = (s.st_mode, s.st_size if name in files else 0, s.st_mtime_ns if name in files else 0)
    return seen


def with_models(box):
    for name in ("base", "a", "b"):
        if not os.path.exists(box.path(name)):
            os.symlink(os.path.join(box.shared, name), box.path(name))


def refused(box, args, codes, pattern, **more):
    """Runs and checks all that every refusal has in common."""
    before = tree(box.root)
    result = box.run(*args, **more)
    assert result.code in codes, "exit %s, expected one of %s" % (result.code, sorted(codes))
    assert result.seconds < SECONDS * SLOWDOWN, "took %.1f s" % result.seconds
    assert re.search(pattern, result.err), "the message does not match %r" % pattern
    assert "\x1b" not in result.err and "\0" not in result.err, "raw control bytes in the message"
    after = tree(box.root)
    changed = sorted(k for k in set(before) | set(after) if before.get(k) != after.get(k))
    assert not changed, "changed on disk: %s" % changed
    return result


# --- recipes ---------------------------------------------------------------------------------------------------------------------

def recipe_case(text, place, pattern):
    def check(box):
        with_models(box)
        box.write("recipe.yml", text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
        # The message, its line, its caret, its hint: the words may stand in any of them.
        where = r"recipe\.yml:%s: error: (?:.*\n){0,3}?.*?" % place if place else ""
        refused(box, ["merge", "recipe.yml", "out"], {2}, where + pattern)
    return check


for name, text, place, pattern in recipe_cases.ALL:
    suite.add("recipe: " + name, recipe_case(text, place, pattern))


@suite.case
def five_mistakes_are_told_at_once(box):
    with_models(box)
    box.write("recipe.yml", recipe_cases.FIVE)
    result = refused(box, ["merge", "recipe.yml", "out"], {2}, "error")
    for pattern in recipe_cases.FIVE_MESSAGES:
        assert re.search(r"recipe\.yml" + pattern, result.err), "not told: %s" % pattern
    assert re.search(r"\n {2}    weight: heavy\n {2} {12}\^\n", result.err), "no caret under the value"


@suite.case
def broken_models_are_told_at_once(box):
    with_models(box)
    for name, (_, content, _) in zip(["x1", "x2", "x3"], header_cases.OFFSETS):
        write_file(box.path(name, "model.safetensors"), content)
    box.write("recipe.yml", PLAIN + "".join("- model: ./x%d\n" % i for i in (1, 2, 3)) + "- model: ./nowhere\n")
    result = refused(box, ["merge", "recipe.yml", "out"], {2}, "error")
    for place in ("x1/model\.safetensors", "x2/model\.safetensors", "x3/model\.safetensors", r"recipe\.yml:9:10"):
        assert re.search(r"(?m)^\S*%s: error: " % place, result.err), "not told: %s" % place


for name, make in {"is missing": lambda p: None, "is a folder": os.mkdir, "is a FIFO": os.mkfifo, "is a link to itself": lambda p: os.symlink("recipe.yml", p)}.items():
    def recipe_file(box, make=make):
        make(box.path("recipe.yml"))
        refused(box, ["merge", "recipe.yml", "out"], {2}, r"recipe\.yml.*cannot be read")
    suite.add("recipe file " + name, recipe_file)


@suite.case
def notice_is_an_error_when_strict(box):
    with_models(box)
    box.write("recipe.yml", recipe_cases.DELLA.replace("epsilon: 0.1", "epsilon: 0.3"))
    refused(box, ["merge", "recipe.yml", "out", "--strict"], {2}, r"recipe\.yml:4:15: error: density 0\.8 with epsilon 0\.3.*c = 0\.810")


# --- models ----------------------------------------------------------------------------------------------------------------------

def header_case(content, pattern):
    def check(box):
        write_file(box.path("x", "model.safetensors"), content)
        box.write("recipe.yml", ONLY_X)
        named = r"x(/|: )[^\n]*model\.safetensors[^\n]*"
        refused(box, ["merge", "recipe.yml", "out"], {2, 3}, named + r"(%s)" % pattern)
        refused(box, ["inspect", "x"], {2, 3}, pattern)
        refused(box, ["inspect", "x/model.safetensors"], {2, 3}, pattern)
    return check


for name, content, pattern in header_cases.ALL:
    suite.add("weight file: " + name, header_case(content, pattern))


def folder_case(make, pattern):
    def check(box):
        with_models(box)
        make(box.path("x"))
        box.write("recipe.yml", WITH_X)
        refused(box, ["merge", "recipe.yml", "out"], {2, 3}, r"(?m)^recipe\.yml:\d+:\d+: error: |x/")
        assert re.search(pattern, box.last.err), "the message does not match %r" % pattern
    return check


for name, make, pattern in folder_cases.ALL:
    suite.add("model: " + name, folder_case(make, pattern))


@suite.case
def missing_folder_names_all_places(box):
    os.makedirs(box.path("recipes"))
    os.makedirs(box.path("work"))
    box.write("recipes/recipe.yml", ONLY_X.replace("./x", "models/x"))
    result = refused(box, ["merge", "../recipes/recipe.yml", "out"], {2}, r"recipe\.yml:4:10: error: ", cwd=box.path("work"), env={"HF_HOME": box.path("hf")})
    for place in ["recipes/models/x", "work/models/x|`?models/x`?", "hf/hub"]:
        assert re.search(place, result.err), "place not named: %s" % place


@suite.case
def unknown_id_names_the_cache_and_the_option(box):
    box.write("recipe.yml", ONLY_X.replace("./x", "nobody/nothing@v1"))
    result = refused(box, ["merge", "recipe.yml", "out"], {2}, r"recipe\.yml:4:10: error: [^\n]*nobody/nothing", env={"HF_HUB_CACHE": box.path("cache")})
    assert box.path("cache") in result.err and "--model" in result.err, "the cache or the option is not named"


@suite.case
def two_different_folders_for_one_path(box):
    for place in ("recipes", "work"):
        make_llama(box.path(place, "x"), 3)
    box.write("recipes/recipe.yml", ONLY_X)
    result = refused(box, ["merge", "../recipes/recipe.yml", "out"], {2}, r"recipe\.yml:4:10: error: ", cwd=box.path("work"))
    assert "recipes/x" in result.err and re.search(r"work/x|two", result.err), "the two folders are not named"


# --- options ---------------------------------------------------------------------------------------------------------------------

OPTIONS = [
    ("no command", [], r""),
    ("unknown command", ["marge", "recipe.yml", "out"], r"marge|subcommand"),
    ("unknown option", ["merge", "recipe.yml", "out", "--fast"], r"--fast"),
    ("no recipe", ["merge"], r"recipe"),
    ("no output", ["merge", "recipe.yml"], r"out"),
    ("one argument too many", ["merge", "recipe.yml", "out", "more"], r"more"),
    ("option without value", ["merge", "recipe.yml", "out", "--memory"], r"--memory"),
    ("memory without unit sense", ["merge", "recipe.yml", "out", "--memory", "5X"], r"--memory is `5X`: not a size(.*\n)*.*2GiB"),
    ("memory negative", ["merge", "recipe.yml", "out", "--memory=-1"], r"--memory is `-1`: not a size"),
    ("shard size is a word", ["merge", "recipe.yml", "out", "--out-shard-size", "large"], r"--out-shard-size is `large`: not a size"),
    ("shard size too large", ["merge", "recipe.yml", "out", "--out-shard-size", "99999999999T"], r"--out-shard-size"),
    ("shard size with an escape", ["merge", "recipe.yml", "out", "--out-shard-size", "\x1b[2J"], r"--out-shard-size is `\\x1b\[2J`"),
    ("threads negative", ["merge", "recipe.yml", "out", "--threads=-1"], r"--threads"),
    ("threads is a word", ["merge", "recipe.yml", "out", "--threads", "all"], r"--threads"),
    ("seed negative", ["merge", "recipe.yml", "out", "--seed=-1"], r"--seed"),
    ("seed is a word", ["merge", "recipe.yml", "out", "--seed", "x"], r"--seed"),
    ("model without =", ["merge", "recipe.yml", "out", "--model", "a"], r"--model a: not of the form ID=DIR"),
    ("model without id", ["merge", "recipe.yml", "out", "--model", "=a"], r"--model =a: not of the form ID=DIR"),
    ("model in a folder that is not there", ["merge", "recipe.yml", "out", "--model", "./a=nowhere"], r"nowhere"),
    ("CPU level", ["merge", "recipe.yml", "out", "--cpu-level", "MMX"], r"--cpu-level MMX: not one of"),
    ("two wrong options at once", ["merge", "recipe.yml", "out", "--memory", "x", "--out-shard-size", "y"], r"--out-shard-size is `y`(.*\n)*.*--memory is `x`"),
    ("explain without match", ["plan", "recipe.yml", "--explain", "nope*"], r"no output tensor matches `nope\*`"),
    ("unknown method to explain", ["methods", "tise"], r"there is no method `tise`(.*\n)*.*did you mean `ties`\?"),
    ("unknown shell", ["completion", "tcsh"], r"shell|tcsh"),
    ("inspect of nothing", ["inspect", "nowhere"], r"nowhere"),
    ("verify of a folder that is no merge", ["verify", "a"], r"no crucible\.json"),
    ("mergekit's pickles", ["mergekit-yaml", "recipe.yml", "out", "--no-safe-serialization"], r"--no-safe-serialization"),
]


def option_case(args, pattern):
    def check(box):
        with_models(box)
        box.write("recipe.yml", PLAIN)
        refused(box, args, {2}, pattern)
    return check


for name, args, pattern in OPTIONS:
    suite.add("option: " + name, option_case(args, pattern))


# --- output ----------------------------------------------------------------------------------------------------------------------

OUTPUTS = [
    ("not empty", lambda box: box.write("out/notes.txt", "mine"), "out", r"out: exists and is not empty"),
    ("is a file", lambda box: box.write("out", "mine"), "out", r"out: exists and is not a folder"),
    ("is a link to nothing", lambda box: os.symlink("nowhere", box.path("out")), "out", r"out: is a link to a folder that does not exist"),
    ("below a file", lambda box: box.write("file", "mine"), "file/out", r"file/out"),
    ("equals an input", lambda box: None, "m", r"is the input model"),
    ("equals an input by another name", lambda box: os.symlink("m", box.path("l")), "l", r"is the input model"),
    ("inside an input", lambda box: None, "m/out", r"lies inside the input model"),
    ("deep inside an input", lambda box: None, "m/x/y/out", r"lies inside the input model"),
    ("holds an input", lambda box: None, ".", r"holds the input model|is not a folder|."),
    ("has no name", lambda box: None, "", r"is no path|out"),
    ("name too long", lambda box: None, "o" * 300, r"(?i)too long"),
    ("in /proc", lambda box: None, "/proc/self/out", r"/proc/self/out"),
]

for name, make, out, pattern in OUTPUTS:
    def output_case(box, make=make, out=out, pattern=pattern):
        make_llama(box.path("m"), 3)
        make(box)
        box.write("recipe.yml", ONLY_X.replace("./x", "./m"))
        overwrite = ["--overwrite"] if "input" in pattern else []
        refused(box, ["merge", "recipe.yml", out] + overwrite, {2, 3}, pattern)
    suite.add("output: " + name, output_case)


@suite.case
def output_without_permission(box):
    if os.geteuid() == 0:
        raise Skip("root may write everywhere")
    with_models(box)
    box.write("recipe.yml", PLAIN)
    os.mkdir(box.path("locked"), 0o555)
    refused(box, ["merge", "recipe.yml", "locked/out"], {2, 3}, r"out.*(?i:permission)")


@suite.case
def disk_full(box):
    with_models(box)
    os.mkdir(box.path("disk"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", box.path("disk")], stderr=subprocess.PIPE)
    if mounted.returncode != 0:
        raise Skip("a small tmpfs cannot be mounted here: " + mounted.stderr.decode().strip())
    try:
        box.write("recipe.yml", PLAIN + "dtype: float64\n")
        refused(box, ["merge", "recipe.yml", "disk/out"], {3}, r"disk/out: the model needs .* bytes\), the disk has .* bytes\) free")
        box.write("recipe.yml", PLAIN)  # the weights fit, what comes with them does not
        refused(box, ["merge", "recipe.yml", "disk/out"], {3}, r"disk/out: the model needs .* bytes\), the disk has .* bytes\) free")
    finally:
        subprocess.run(["umount", box.path("disk")], check=True)


@suite.case
def write_fails_half_way(box):
    with_models(box)
    box.write("recipe.yml", PLAIN)
    # Writes past this size fail as a full disk does; the check of free space cannot see it coming.
    before = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    refused(box, ["merge", "recipe.yml", "out"], {3}, r"model\.safetensors", preexec_fn=before)


# --- runs that cannot be right ---------------------------------------------------------------------------------------------------

@suite.case
def budget_too_small(box):
    with_models(box)
    box.write("recipe.yml", PLAIN)
    result = refused(box, ["merge", "recipe.yml", "out", "--memory", "1000"], {2, 3}, r"memory budget of 1\.00 kB is too small: tensor \S+ needs .*use --memory \d+")
    enough = re.search(r"use --memory (\d+)", result.err).group(1)
    box.ok("merge", "recipe.yml", "out", "--memory", enough)


@suite.case
def overflow_of_the_output_type(box):
    write_model(box.path("x"), {"big": tensor("F32", [3], [1.0, 70000.0, 2.0]), "small": tensor("F32", [1], [1.0])})
    box.write("recipe.yml", ONLY_X + "dtype: float16\n")
    refused(box, ["merge", "recipe.yml", "out"], {3}, r"tensor big: element 1 is 70000.*float16.*largest 65504")


@suite.case
def overflow_of_a_large_scale(box):
    write_model(box.path("x"), {"t": tensor("F32", [2], [1e30, 1.0])})
    box.write("recipe.yml", "merge_method: passthrough\nmodels:\n- model: ./x\n  parameters: {scale: 1e20}\n")
    refused(box, ["merge", "recipe.yml", "out"], {3}, r"tensor t: element 0 is inf")


@suite.case
def overflow_of_a_task_vector(box):
    """The inputs are finite, though what the arithmetic sees of them is not."""
    for name, value in (("x", -3e38), ("y", 3e38)):
        write_model(box.path(name), {"t": tensor("BF16", [2], [1.0, value])})
    box.write("recipe.yml", "merge_method: task_arithmetic\nbase_model: ./x\nmodels:\n- model: ./y\n  parameters: {weight: 0.5}\n")
    refused(box, ["merge", "recipe.yml", "out"], {3}, r"tensor t: element 1 is inf.*all inputs are finite")


@suite.case
def weights_that_cancel_in_some_tensors(box):
    with_models(box)
    box.write("recipe.yml", "merge_method: linear\nmodels:\n- model: ./a\n  parameters: {weight: 1}\n- model: ./b\n  parameters:\n    weight:\n"
              "    - {filter: mlp, value: -1}\n    - {value: 1}\n")
    refused(box, ["merge", "recipe.yml", "out"], {2}, r"recipe\.yml:1:15: error: the weights sum to zero.*tensor \S*mlp")


@suite.case
def tensor_names_are_never_paths(box):
    tensors = make_tensors(llama_shapes(1), "F16", 3)
    tensors["../../escape"] = tensor("F16", [1], [0.5])
    tensors["\x1b]0;title\x07"] = tensor("F16", [1], [0.5])
    os.makedirs(box.path("x"))
    write_file(box.path("x", "model.safetensors"), safetensors_bytes(tensors))
    box.write("recipe.yml", WITH_X.replace("./a", "./y"))
    del tensors["../../escape"], tensors["\x1b]0;title\x07"]
    write_model(box.path("y"), tensors)
    refused(box, ["merge", "recipe.yml", "out"], {2}, r"lacks 2 tensors that other models have: .*\\x1b\]0;title\\x07")


sys.exit(suite.run())
