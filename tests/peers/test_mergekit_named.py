"""The program under mergekit's name and with mergekit's options, in the place of the real one."""
import subprocess

import pytest
import torch

from compare import compare
from conftest import Row
from programs import CRUCIBLE, MERGEKIT_YAML, crucible_merge, read_tensors, write_recipe
from test_agreement import CASES, recipe, models, w

# As in scripts that people have, most of it without a meaning here.
OPTIONS = ["--copy-tokenizer", "--allow-crimes", "--out-shard-size", "100K", "--lazy-unpickle", "--low-cpu-memory",
           "--random-seed", "42", "--num-threads", "2", "--no-write-model-card", "--trust-remote-code", "--quiet"]


@pytest.fixture
def link(box):
    (box / "mergekit-yaml").symlink_to(CRUCIBLE)
    return box / "mergekit-yaml"


def run(program, *args):
    return subprocess.run([str(program), *map(str, args)], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("method, case", [("ties", "density 0.5")])
def test_same_command_line(method, case, link, family, box):
    """One command line for both programs, and the real one in a process of its own, unlike in the other tests."""
    fam = family("llama")
    made = CASES[method][case](fam.layers)
    written = write_recipe(made, fam.folders, box / "recipe.yml")
    for program, out in ((link, "crucible"), (MERGEKIT_YAML, "mergekit")):
        done = run(program, written, box / out, *OPTIONS)
        assert done.returncode == 0, done.stderr
        assert (box / out / "model.safetensors.index.json").exists()
        assert not (box / out / "README.md").exists() and not (box / out / "mergekit_config.yml").exists()
        assert (box / out / "tokenizer.json").exists()
    compare(made, fam, read_tensors(box / "crucible"), read_tensors(box / "mergekit"), Row())


@pytest.mark.parametrize("method, case", [("slerp", "arc, t 0.3"), ("della", "density 1"), ("passthrough", "stack")])
def test_same_tensors_as_crucible_merge(method, case, link, family, box):
    fam = family("phi")
    written = write_recipe(CASES[method][case](fam.layers), fam.folders, box / "recipe.yml")
    assert run(link, written, box / "named", *OPTIONS).returncode == 0
    crucible_merge(written, box / "merge")
    named, merged = read_tensors(box / "named"), read_tensors(box / "merge")
    assert set(named) == set(merged) and all(torch.equal(t, merged[n]) for n, t in named.items())


def test_random_seed_is_the_seed(link, family, box):
    fam = family("phi")
    written = write_recipe(recipe("della", models(a=w(1.0)), "base", density=0.7, epsilon=0.2), fam.folders, box / "recipe.yml")
    assert run(link, written, box / "named", "--random-seed", 5).returncode == 0
    crucible_merge(written, box / "merge", "--seed", 5)
    named, merged = read_tensors(box / "named"), read_tensors(box / "merge")
    assert all(torch.equal(t, merged[n]) for n, t in named.items())


def test_unused_parameters_are_notices(link, family, box):
    """Recipes in the world are full of them; mergekit says nothing."""
    fam = family("qwen2")
    made = recipe("ties", models(a=w(1.0), b=w(1.0)), "base", density=0.5, int8_mask=True, t=0.5)
    written = write_recipe(made, fam.folders, box / "recipe.yml")
    done = run(link, written, box / "crucible")
    assert done.returncode == 0 and "int8_mask" in done.stderr, done.stderr
    real = run(MERGEKIT_YAML, written, box / "mergekit")
    assert real.returncode == 0, real.stderr
    compare(made, fam, read_tensors(box / "crucible"), read_tensors(box / "mergekit"), Row())
