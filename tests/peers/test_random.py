"""The methods that draw at random: other numbers than mergekit's, the same statistics."""
import numpy as np
import pytest

from programs import crucible_merge, mergekit, read_tensors, write_recipe
from test_agreement import ARCHITECTURES, models, recipe, w

DRAWS = {"dare_linear": {}, "dare_ties": {}, "della": dict(epsilon=0.25), "della_linear": dict(epsilon=0.25)}
DENSITY = 0.6


def merge_both(made, fam, box, seed=11):
    written = write_recipe(made, fam.folders, box / "recipe.yml")
    crucible_merge(written, box / "crucible", "--seed", seed)
    assert mergekit(written, box / "mergekit", "--random-seed", seed) is None
    return [{n: t.numpy() for n, t in read_tensors(box / program).items()} for program in ("crucible", "mergekit")]


def deltas(fam, name, model="a"):
    return fam.tensors[model][name] - fam.tensors["base"][name]


def within(share, expected, count, what):
    """Five standard deviations of a binomial share."""
    assert abs(share - expected) <= 5 * (expected * (1 - expected) / count) ** 0.5, f"{what}: {share:.5f}, expected {expected:.5f} of {count}"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method", DRAWS)
def test_kept_share(method, architecture, family, box):
    fam = family(architecture)
    made = recipe(method, models(a=w(1.0)), "base", density=DENSITY, rescale=False, **DRAWS[method])
    masks = []
    for program, out in zip(("crucible", "mergekit"), merge_both(made, fam, box)):
        kept = {}
        for name, value in out.items():
            moved = deltas(fam, name) != 0
            kept[name] = (value != fam.tensors["base"][name])[moved]
            survivors = (fam.tensors["base"][name] + deltas(fam, name))[moved][kept[name]]
            assert np.array_equal(value[moved][kept[name]], survivors), "survivors are left as they are"
        masks.append(np.concatenate([k.ravel() for k in kept.values()]))
        within(masks[-1].mean(), DENSITY, masks[-1].size, f"{program} keeps")
        if method.startswith("della"):
            check_ramp(program, fam, out, DRAWS[method]["epsilon"])
    if method.startswith("dare"):
        within((masks[0] == masks[1]).mean(), DENSITY**2 + (1 - DENSITY)**2, masks[0].size, "independent draws agree")
    assert not np.array_equal(*masks)


def check_ramp(program, fam, out, epsilon):
    """The keep rate by tenth of the magnitude rank inside each row follows the ramp."""
    right, count, planned = np.zeros(10), np.zeros(10), np.zeros(10)
    for name, value in out.items():
        rows = lambda x: x.reshape(-1, x.shape[-1])
        delta = rows(deltas(fam, name))
        whole = (delta != 0).all(axis=1)  # a survivor of 0 cannot be told from a dropped one
        delta = delta[whole]
        kept = rows(value != fam.tensors["base"][name])[whole]
        rank = np.abs(delta).argsort(axis=1, kind="stable").argsort(axis=1)
        rho = rank / (delta.shape[1] - 1)
        tenth = np.minimum((10 * rho).astype(int), 9)
        for k in range(10):
            right[k] += kept[tenth == k].sum()
            count[k] += (tenth == k).sum()
            planned[k] += (DENSITY - epsilon + 2 * epsilon * rho)[tenth == k].sum()
    for k in range(10):
        within(right[k] / count[k], planned[k] / count[k], count[k], f"{program}, tenth {k + 1}")


@pytest.mark.parametrize("method", DRAWS)
def test_l1_norm_is_kept(method, family, box):
    fam = family("llama")
    made = recipe(method, models(a=w(1.0)), "base", density=DENSITY, **DRAWS[method])
    for program, out in zip(("crucible", "mergekit"), merge_both(made, fam, box)):
        for name, value in out.items():
            after = np.abs(value.astype(np.float64) - fam.tensors["base"][name]).sum()
            before = np.abs(deltas(fam, name).astype(np.float64)).sum()
            assert after == pytest.approx(before, rel=1e-3), f"{program} {name}"


@pytest.mark.parametrize("method", DRAWS)
def test_distance_from_base(method, family, box):
    """Two models with the methods' defaults for election, normalize and rescale."""
    fam = family("llama")
    made = recipe(method, models(a=w(0.8), b=w(0.5)), "base", density=DENSITY, lambda_=0.9, **DRAWS[method])
    first, second = (np.concatenate([(v.astype(np.float64) - fam.tensors["base"][n]).ravel() for n, v in sorted(out.items())])
                     for out in merge_both(made, fam, box))
    assert not np.array_equal(first, second)
    assert np.abs(first).mean() == pytest.approx(np.abs(second).mean(), rel=0.01)
    assert np.sqrt((first**2).mean()) == pytest.approx(np.sqrt((second**2).mean()), rel=0.01)


def test_seed(family, box):
    fam = family("qwen2")
    written = write_recipe(recipe("della", models(a=w(1.0), b=w(1.0)), "base", density=0.7, epsilon=0.2), fam.folders, box / "recipe.yml")
    data = []
    for out, seed in (("one", 1), ("again", 1), ("two", 2)):
        crucible_merge(written, box / out, "--seed", seed)
        data.append((box / out / "model.safetensors").read_bytes())
    assert data[0] == data[1] != data[2]
