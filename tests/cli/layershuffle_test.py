#!/usr/bin/env python3
"""`layershuffle` and mergekit-layershuffle: drawn by the seed alone, runs put together, weights that count, and the recipe's own bytes."""
import os
import re
import sys

from harness import CRUCIBLE, Suite, contains, equal
from model_maker import make_llama, make_trio, read_bytes

suite = Suite(prepare=lambda root: (make_trio(root, layers=12), make_llama(os.path.join(root, "short"), 7, layers=5)))


def link(box):
    for name in ("base", "a", "b", "short"):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def slices(text):
    """(model, begin, end) of each slice."""
    return [(m, int(b), int(e)) for m, b, e in re.findall(r'model: "([^"]+)"\n\s+layer_range: \[(\d+), (\d+)\]', text)]


def drawn(box, *args):
    return slices(box.ok("layershuffle", "never", "--print-recipe", *args).out)


@suite.case
def every_layer_keeps_its_place(box):
    link(box)
    got = drawn(box, "-m", "./a", "-m", "./b")
    equal([k for _, b, e in got for k in range(b, e)], list(range(12)))
    equal({m for m, _, _ in got}, {"./a", "./b"}, "models drawn by equal weights")
    for one, other in zip(got, got[1:]):
        assert one[0] != other[0], "a run of one model is one slice"


@suite.case
def the_seed_decides(box):
    link(box)
    models = ["-m", "./a", "-m", "./b", "-m", "./base"]
    for extra in ([], ["--full-random"]):
        draws = {tuple(drawn(box, *models, *extra, "--seed", str(s))) for s in range(8)}
        assert len(draws) > 6, "seeds that draw the same"
        equal(drawn(box, *models, *extra, "--seed", "3"), drawn(box, *models, *extra, "--seed", "3"))
    equal(drawn(box, "-m", "./a", "-m", "./b", "--seed", "1"), [(m.replace("base", "b"), b, e) for m, b, e in drawn(box, "-m", "./a", "-m", "./base", "--seed", "1")])


@suite.case
def weights_count(box):
    link(box)
    equal(drawn(box, "-m", "./a", "-w", "1", "-m", "./b", "-w", "0"), [("./a", 0, 12)])
    equal(drawn(box, "-m", "./a", "-w", "0", "-m", "./b", "-w", "0.2"), [("./b", 0, 12)])
    layers = sum(e - b for s in range(40) for m, b, e in drawn(box, "-m", "./a", "-m", "./b", "-w", "3", "-w", "1", "--seed", str(s)) if m == "./a")
    assert 0.66 < layers / (40 * 12) < 0.84, layers


@suite.case
def full_random_takes_shares(box):
    link(box)
    got = drawn(box, "-m", "./a", "-m", "./short", "-w", "0.5", "-w", "0.9", "--full-random")
    taken = {m: sorted(k for n, b, e in got for k in range(b, e) if n == m) for m in ("./a", "./short")}
    equal({m: len(k) for m, k in taken.items()}, {"./a": 6, "./short": 4})
    deep = [k for s in range(20) for m, b, e in drawn(box, "-m", "./a", "-w", "0.5", "--full-random", "--seed", str(s)) for k in range(b, e)]
    equal((min(deep), max(deep)), (0, 11), "layers that are drawn from")
    assert deep != sorted(deep)


@suite.case
def the_output_is_that_of_the_recipe(box):
    link(box)
    args = ["-m", "./a", "-m", "./b", "--seed", "5", "--fp16"]
    box.ok("layershuffle", "out", *args, "--write-recipe", "drawn.yml")
    box.ok("merge", "drawn.yml", "plain")
    equal(read_bytes(box.path("out", "model.safetensors")), read_bytes(box.path("plain", "model.safetensors")))
    contains(read_bytes(box.path("drawn.yml")).decode(), "dtype: float16")
    contains(box.ok("layershuffle", "never", *args, "--dry-run").out, "11 <- ")
    assert not os.path.exists(box.path("never"))


@suite.case
def with_mergekits_command_line(box):
    link(box)
    os.symlink(CRUCIBLE, box.path("mergekit-layershuffle"))
    args = ["-m", "./a", "--model", "./b", "-w", "0.5", "--weight", "0.5"]
    program = dict(program=box.path("mergekit-layershuffle"))
    box.ok("layershuffle", "plain", *args, "--seed", "9", "--fp16")
    box.ok("out", *args, "--random-seed", "9", "--fp16", "--write-yaml", "w.yml", "--print-yaml", "--cuda", "--quiet", **program)
    equal(read_bytes(box.path("out", "model.safetensors")), read_bytes(box.path("plain", "model.safetensors")))
    equal(box.last.out, read_bytes(box.path("w.yml")).decode())
    equal(box.ok("never", *args, "--random-seed", "9", "--fp16", "--print-yaml", "--dry-run", **program).out, box.ok("never", *args, "--random-seed", "9", "--fp16", "--print-yaml", "--dry-run", **program).out)
    contains(box.ok("never", *args, "--dry-run", "--device", "cpu", **program).err, "--device has no effect")
    assert not os.path.exists(box.path("never"))


@suite.case
def wrong_use(box):
    link(box)
    for args, part in ((["-m", "./a", "-m", "./b", "-w", "1"], "1 weight for 2 models"), (["-m", "./a", "-w", "-1"], "--weight -1"), (["-m", "./a", "-w", "nan"], "nan"),
                       (["-m", "./a", "-m", "./short"], "./short has 5 layers, ./a has 12"), (["-m", "./nowhere"], "not found"), ([], "--model"),
                       (["-m", "./a", "-w", "0.01", "--full-random"], "no layer is taken"), (["-m", "./a", "-w", "0"], "nothing to draw"),
                       (["-m", "./a", "-w", "1e9", "--full-random"], "share of the model's layers")):
        equal(box.run("layershuffle", "out", *args).code, 2, " ".join(args))
        contains(box.last.err, part)
    assert not os.path.exists(box.path("out"))


sys.exit(suite.run())
