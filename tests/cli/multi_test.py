#!/usr/bin/env python3
"""`multi` and mergekit-multi: the bytes of the same merges made one by one, everything checked before the first, and going on after a failure."""
import json
import os
import signal
import sys
import time

from harness import CRUCIBLE, Suite, contains, equal
from model_maker import make_large, make_llama, make_trio, read_bytes, write_file

suite = Suite(prepare=lambda root: (make_trio(root, layers=3), make_llama(os.path.join(root, "deep"), 4, layers=5)))

FIRST = "merge_method: dare_ties\nbase_model: ./base\nmodels:\n- model: ./a\n  parameters: {weight: 1, density: 0.5}\n- model: ./b\n  parameters: {weight: 0.5, density: 0.5}\n"
SECOND = "merge_method: slerp\nbase_model: first\nmodels:\n- model: first\n- model: ./b\nparameters: {t: 0.25}\n"
LAST = "merge_method: linear\nmodels:\n- model: first\n- model: second\n- model: ./a\nparameters: {weight: 1}\n"
CHAIN = "%s---\nname: second\n%s---\nname: first\n%s" % (LAST, SECOND, FIRST)
SCRATCH = ".out.crucible-parts"


def link(box):
    for name in ("base", "a", "b", "deep"):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def weights(box, *folder):
    return read_bytes(box.path(*folder, "model.safetensors"))


def by_hand(box):
    """The same merges, one by one, from plain recipes."""
    for name, recipe in (("first", FIRST), ("second", SECOND), ("plain", LAST)):
        box.write(name + ".yml", recipe)
        box.ok("merge", name + ".yml", "hand_" + name, *[part for n in ("first", "second") for part in ("--model", "%s=./hand_%s" % (n, n))])


def merged(box):
    """The documents that the last run merged, and those that it found done."""
    lines = [line for line in box.last.err.splitlines() if line.startswith("[")]
    return [l.split(":")[0].split("] ")[1].strip("`") for l in lines if "is merged already" not in l], [l.split("`")[1] for l in lines if "is merged already" in l]


def no_scratch(box, *kept):
    equal(sorted(n for n in os.listdir(box.root) if "crucible" in n), sorted(kept), "folders left")


# --- what it makes ---------------------------------------------------------------------------------------------------------------

@suite.case
def the_bytes_are_those_of_single_merges(box):
    link(box)
    by_hand(box)
    box.write("multi.yml", CHAIN)
    box.ok("multi", "multi.yml", "--out-path", "out", "--threads", "2")
    equal(merged(box), (["first", "second", "the result"], []), "order")
    equal(weights(box, "out"), weights(box, "hand_plain"))
    no_scratch(box)
    box.ok("multi", "multi.yml", "--out", "again", "--keep", "--threads", "1", "--memory", "64M")
    equal(weights(box, "again"), weights(box, "out"))
    for name in ("first", "second"):
        equal(weights(box, ".again.crucible-parts", name), weights(box, "hand_" + name), name)


@suite.case
def named_outputs_are_kept_where_they_are_asked_for(box):
    link(box)
    box.write("multi.yml", CHAIN.replace("first", "org/first"))
    box.ok("multi", "multi.yml", "--out-path", "out", "--intermediate-dir", "parts")
    equal(sorted(os.listdir(box.path("parts"))), ["org", "second"])
    text = read_bytes(box.path("parts", "second", "mergekit_config.yml")).decode()
    contains(text, "merge_method: slerp")
    assert "dare_ties" not in text and not text.startswith("\n"), text
    box.ok("verify", "parts/second")
    box.ok("verify", "out", "--all")
    box.write("named.yml", "name: one\n" + FIRST + "---\nname: two\n" + FIRST)
    box.ok("multi", "named.yml", "-I", "more")
    equal(weights(box, "more", "one"), weights(box, "more", "two"))


@suite.case
def the_output_of_a_run_that_kept_nothing_has_its_hashes(box):
    link(box)
    box.write("multi.yml", CHAIN)
    box.ok("multi", "multi.yml", "--out-path", "out")
    equal(box.run("verify", "out").code, 2, "exit code of verify")
    contains(box.last.err, "input first is missing")
    box.ok("verify", "out", "--hashes-only")


@suite.case
def a_dry_run_shows_every_plan(box):
    link(box)
    box.write("multi.yml", CHAIN)
    text = box.ok("multi", "multi.yml", "--out-path", "out", "--dry-run").out
    for part in ("--- `first`", "--- `second`", "--- the result: out", "dare_ties", "slerp", "linear"):
        contains(text, part)
    no_scratch(box)
    assert not os.path.exists(box.path("out"))


@suite.case
def shapes_of_outputs_that_are_not_there_yet_are_known(box):
    link(box)
    stack = "name: tall\nmerge_method: passthrough\nslices:\n- sources:\n  - {model: ./a, layer_range: [0, 3]}\n- sources:\n  - {model: ./b, layer_range: [1, 3]}\n"
    box.write("multi.yml", stack + "---\nmerge_method: linear\nmodels:\n- model: tall\n- model: ./deep\nparameters: {weight: 1}\n")
    box.ok("multi", "multi.yml", "--out-path", "out")
    contains(read_bytes(box.path("out", "config.json")).decode(), '"num_hidden_layers": 5')
    box.write("multi.yml", stack + "---\nmerge_method: linear\nmodels:\n- model: tall\n- model: ./a\nparameters: {weight: 1}\n")
    equal(box.run("multi", "multi.yml", "--out-path", "never").code, 2)
    contains(box.last.err, "./a lacks")
    assert not os.path.exists(box.path("never"))
    no_scratch(box)


# --- what it refuses -------------------------------------------------------------------------------------------------------------

def refused(box, text, *parts, args=("--out-path", "out")):
    box.write("multi.yml", text)
    equal(box.run("multi", "multi.yml", *args).code, 2, text)
    for part in parts:
        contains(box.last.err, part)
    assert not os.path.exists(box.path("out"))
    no_scratch(box)


@suite.case
def all_problems_of_all_documents_at_once(box):
    link(box)
    text = CHAIN.replace("t: 0.25", "t: much").replace("density: 0.5}\n-", "densty: 0.5}\n-").replace("./a\nparameters: {weight: 1}", "./nowhere\nparameters: {weight: 1}")
    lines = text.splitlines()
    at = lambda part: 1 + next(i for i, line in enumerate(lines) if part in line)
    refused(box, text, "multi.yml:%d:17: error: `t`" % at("t: much"), "multi.yml:%d:27: error:" % at("densty"), "densty", "multi.yml:%d:10: error: model \"./nowhere\" not found" % at("nowhere"))
    contains(box.last.err, "parameters: {t: much}\n")


@suite.case
def cycles_are_shown_as_paths(box):
    link(box)
    linear = lambda name, *models: "name: %s\nmerge_method: linear\nmodels:\n%sparameters: {weight: 1}\n" % (name, "".join("- model: %s\n" % m for m in models))
    refused(box, "---\n".join([linear("x", "./a", "y"), linear("y", "z"), linear("z", "./b", "x"), linear("self", "self"), LAST.replace("first", "x").replace("second", "y")]),
            "multi.yml:5:10: error: the documents need one another: x -> y -> z -> x", "the documents need one another: self -> self")
    equal(box.last.err.count("need one another"), 2, "cycles")


@suite.case
def names_that_do_not_do(box):
    link(box)
    refused(box, "name: first\n%s---\n%s" % (FIRST, CHAIN), "`first` is the name of another document already, at line 1")
    refused(box, FIRST + "---\n" + FIRST, "a second document without a name; the first one has its `merge_method` at line 1")
    for name in ('""', "../up", "/abs", "a/../b", ".", ".hidden", "'a//b'", '"a\\nb"', "x" * 300):
        refused(box, "name: %s\n%s" % (name, FIRST), "error: the name", args=("-I", "parts"))
    refused(box, "name: [a]\n" + FIRST, "`name` must be a text", args=("-I", "parts"))
    refused(box, "name: a\n%s---\nname: a/b\n%s" % (FIRST, FIRST), "the output `a/b` would lie inside the output `a`", args=("-I", "parts"))
    refused(box, "name: first\n" + FIRST, "give --intermediate-dir DIR", args=())
    refused(box, FIRST, "give --out-path DIR", args=())
    refused(box, CHAIN, "`first` is the name of a document, and --model says where it is", args=("--out-path", "out", "--model", "first=./a"))
    refused(box, CHAIN, "would be one folder", args=("--out-path", "p/first", "-I", "p"))


@suite.case
def only_models_are_references(box):
    """Names that are words of the language; texts with + and @ that are no references."""
    link(box)
    named = "name: linear\n" + FIRST + "---\nname: float16\n" + FIRST + "---\nname: base\n" + FIRST
    last = "merge_method: linear\ndtype: float16\ntokenizer_source: base\nmodels:\n- model: linear\n- model: float16\n- model: base\n- model: ./base\nparameters: {weight: 1}\n"
    box.write("multi.yml", named + "---\n" + last)
    box.ok("multi", "multi.yml", "--out-path", "out", "--keep")
    contains(box.last.err, "`base` is the document of this name, not the folder")
    box.write("plain.yml", last)
    box.ok("merge", "plain.yml", "plain", *[x for n in ("linear", "float16", "base") for x in ("--model", "%s=.out.crucible-parts/%s" % (n, n))])
    equal(weights(box, "out"), weights(box, "plain"))
    template = "chat_template: \"{% for m in messages %}{{ '@' + m.role + '+' + m.content + '@' }}{% endfor %}\"\n"
    box.write("multi.yml", "name: first\n" + FIRST + "---\n" + template + LAST.replace("- model: second\n", ""))
    result = box.run("multi", "multi.yml", "--out-path", "templated")
    assert result.code == 0 or (result.code == 2 and "chat_template" in result.err and result.err.count("error:") == 1), "only what every recipe says of templates"


@suite.case
def a_revision_of_an_output_is_not_looked_at(box):
    link(box)
    box.write("multi.yml", "name: first\n" + FIRST + "---\nmerge_method: passthrough\nmodels:\n- model: first@v2\n")
    box.ok("multi", "multi.yml", "--out-path", "out", "--keep")
    contains(box.last.err, "its revision `v2` is not looked at")
    equal(weights(box, "out"), weights(box, SCRATCH, "first"))


@suite.case
def odd_streams(box):
    link(box)
    chain = "---\n# nothing\n---\n" + CHAIN.replace("---", "...\n# a remark\n--- ") + "---\n---\n# end\n"
    box.write("odd.yml", "\ufeff" + chain.replace("\n", "\r\n"))
    box.write("multi.yml", CHAIN)
    box.ok("multi", "odd.yml", "--out-path", "odd")
    box.ok("multi", "multi.yml", "--out-path", "out")
    equal(weights(box, "odd"), weights(box, "out"))
    equal(box.run("multi", "-", "--out-path", "piped", stdin=CHAIN).code, 0)
    equal(weights(box, "piped"), weights(box, "out"))
    for text in ("", "---\n---\n", "# nothing\n", "3", "---\n- 1\n", "name: x\n", "a: b: c\n---\n" + FIRST, "\0", "---\n" * 300, "x\n" * 70000 + "---\n..." * 2000, "{" * 5000,
                 "&a [*a]\n", "name: &x first\n<<: *x\n"):
        box.write("multi.yml", text)
        equal(box.run("multi", "multi.yml", "--out-path", "never", "-I", "parts", timeout=20).code, 2, repr(text[:40]))
    equal(box.run("multi", "missing.yml", "--out-path", "never").code, 2)
    box.write("broken.yml", "models: [\n---\n" + CHAIN.replace("ties", "tise"))
    equal(box.run("multi", "broken.yml", "--out-path", "never").code, 2)
    contains(box.last.err, "tise")
    assert not os.path.exists(box.path("never")) and not os.path.exists(box.path("parts"))


@suite.case
def what_would_be_lost_is_not_merged(box):
    link(box)
    box.write("multi.yml", CHAIN + "---\nname: idle\n" + FIRST)
    box.ok("multi", "multi.yml", "--out-path", "out")
    contains(box.last.err, "`idle` is used by no other document and would not be kept")
    equal(merged(box)[0], ["first", "second", "the result"])
    equal(box.run("multi", "multi.yml", "--out-path", "strict", "--strict").code, 2)


# --- going on --------------------------------------------------------------------------------------------------------------------

@suite.case
def a_failed_run_goes_on_from_where_it_was(box):
    link(box)
    huge = "name: second\nmerge_method: passthrough\nmodels:\n- model: first\n  parameters: {scale: %s}\n"
    text = "name: first\n%s---\n%s---\n%s" % (FIRST, huge, LAST)
    box.write("multi.yml", text % "1e30")
    equal(box.run("multi", "multi.yml", "--out-path", "out").code, 3)
    contains(box.last.err, "the same command goes on from there")
    equal(os.listdir(box.path(SCRATCH)), ["first"])
    assert not os.path.exists(box.path("out"))
    box.write("multi.yml", text % "0.5")
    box.ok("multi", "multi.yml", "--out-path", "out")
    equal(merged(box), (["second", "the result"], ["first"]))
    no_scratch(box)
    box.ok("multi", "multi.yml", "--out-path", "whole")
    equal(weights(box, "out"), weights(box, "whole"))


@suite.case
def a_killed_run_goes_on_from_where_it_was(box):
    make_large(box.path("one"), 4000, 1)
    make_large(box.path("two"), 4000, 2)
    slow = "merge_method: della\nbase_model: ./one\nmodels:\n- model: first\n  parameters: {weight: 1, density: 0.5, epsilon: 0.1}\n- model: ./two\n  parameters: {weight: 1, density: 0.5, epsilon: 0.1}\n"
    box.write("multi.yml", "name: first\nmerge_method: linear\nmodels:\n- model: ./one\n- model: ./two\nparameters: {weight: 1}\n---\n" + slow)
    process = box.spawn("multi", "multi.yml", "--out-path", "out", "--threads", "1")
    deadline = time.monotonic() + 120
    while not os.path.exists(box.path(SCRATCH, "first", "crucible.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not os.path.exists(box.path("out")), "the run was over before it was killed"
    box.ok("multi", "multi.yml", "--out-path", "out", timeout=240)
    equal(merged(box), (["the result"], ["first"]))
    no_scratch(box, *[n for n in os.listdir(box.root) if n.startswith(".out.crucible-")])


@suite.case
def what_is_not_what_it_was_is_merged_again(box):
    link(box)
    box.write("multi.yml", CHAIN)
    run = lambda *args: box.ok("multi", "multi.yml", "--out-path", "out", "--overwrite", "-I", "parts", *args)
    run()
    expected = weights(box, "out")
    run()
    equal(merged(box), (["the result"], ["first", "second"]), "nothing changed")
    run("--again")
    equal(merged(box), (["first", "second", "the result"], []), "--again")
    run("--seed", "7")
    equal(merged(box), (["first", "second", "the result"], []), "another seed")
    run()
    os.truncate(box.path("parts", "first", "model.safetensors"), 1000)
    run()
    equal(merged(box)[0][:1], ["first"], "a file that was cut")
    equal(weights(box, "out"), expected)
    write_file(box.path("parts", "second", "tokenizer.json"), "{}")
    run()
    equal(merged(box), (["second", "the result"], ["first"]), "another file changed")
    os.remove(box.path("parts", "second", "crucible.json"))
    run()
    equal(merged(box), (["second", "the result"], ["first"]), "no record")
    record = box.path("parts", "first", "crucible.json")
    with open(record) as f:
        edited = json.load(f)
    edited["seed"] = 1
    with open(record, "w") as f:
        json.dump(edited, f)
    run()
    equal(merged(box)[0], ["first", "second", "the result"], "an edited record, and what was made of the old output")
    equal(weights(box, "out"), expected)


@suite.case
def an_input_that_changed_is_noticed(box):
    for name in ("base", "a", "b"):
        make_llama(box.path(name), {"base": 1, "a": 2, "b": 3}[name], layers=3)
    box.write("multi.yml", CHAIN)
    run = lambda out: box.ok("multi", "multi.yml", "--out-path", out, "-I", "parts")
    run("out")
    make_llama(box.path("b"), 33, layers=3)
    run("new")
    equal(merged(box), (["first", "second", "the result"], []))
    by_hand(box)
    equal(weights(box, "new"), weights(box, "hand_plain"))


@suite.case
def folders_of_others_are_left_alone(box):
    link(box)
    write_file(box.path("parts", "first", "mine.txt"), "mine")
    refused(box, CHAIN, "holds something else than the output of `first`", args=("--out-path", "out", "-I", "parts"))
    equal(read_bytes(box.path("parts", "first", "mine.txt")), b"mine")
    write_file(box.path("used", "mine.txt"), "mine")
    refused(box, CHAIN, "output folder used: exists and is not empty", args=("--out-path", "used"))
    write_file(box.path(SCRATCH, "mine.txt"), "mine")
    box.ok("multi", "multi.yml", "--out-path", "out")
    contains(box.last.err, "holds other files too and is kept")
    equal(os.listdir(box.path(SCRATCH)), ["mine.txt"])


@suite.case
def two_runs_do_not_share_a_folder(box):
    link(box)
    box.write("multi.yml", CHAIN)
    import fcntl
    os.makedirs(box.path(SCRATCH))
    with open(box.path(SCRATCH, ".lock"), "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        equal(box.run("multi", "multi.yml", "--out-path", "out").code, 2)
        contains(box.last.err, "another process works in this folder")
    box.ok("multi", "multi.yml", "--out-path", "out")
    no_scratch(box)


@suite.case
def with_mergekits_command_line(box):
    link(box)
    os.symlink(CRUCIBLE, box.path("mergekit-multi"))
    program = dict(program=box.path("mergekit-multi"))
    box.write("multi.yml", CHAIN)
    box.ok("multi", "multi.yml", "--out-path", "plain", "--seed", "3")
    box.ok("multi.yml", "--out-path", "out", "-I", "parts", "--random-seed", "3", "--cuda", **program)
    contains(box.last.err, "--cuda has no effect")
    equal(weights(box, "out"), weights(box, "plain"))
    box.ok("multi.yml", "--out-path", "out", "-I", "parts", "--random-seed", "3", **program)
    equal(merged(box), (["the result"], ["first", "second"]), "lazy")
    box.ok("multi.yml", "--out-path", "out", "-I", "parts", "--random-seed", "3", "--no-lazy", **program)
    equal(merged(box), (["first", "second", "the result"], []), "not lazy")
    equal(box.run("multi.yml", "--out-path", "out", **program).code, 2, "without --intermediate-dir")


sys.exit(suite.run())
