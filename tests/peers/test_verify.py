"""`crucible verify --recipe` on what the real mergekit wrote, as it is and with a parameter that it is made to ignore."""
import json

import pytest

from programs import crucible, mergekit, write_recipe
from test_agreement import models, recipe, w

DELLA = dict(density=0.6, epsilon=0.25, lambda_=0.8)


def judge(made, fam, box):
    """Merges by mergekit and judges by Crucible: the answer, and what does not show."""
    written = write_recipe(made, fam.folders, box / "recipe.yml")
    assert mergekit(written, box / "mergekit", "--random-seed", 11) is None
    done = crucible("verify", box / "mergekit", "--recipe", written, "--json", check=False)
    assert done.returncode in (0, 1), done.stderr
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 1)
    return answer, {p["parameter"] for p in answer["parameters"] if p["verdict"] == "does not show"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method, parameters", [
    ("dare_ties", dict(density=0.6, lambda_=0.8)), ("dare_linear", dict(density=0.6)), ("ties", dict(density=0.5, lambda_=0.8)),
    ("della", DELLA), ("della_linear", DELLA), ("task_arithmetic", dict(lambda_=0.7))])
def test_says_yes(method, parameters, dtype, family, box):
    fam = family("llama", dtype)
    made = {**recipe(method, models(a=w(0.7), b=w(0.4)), "base", **parameters), "dtype": dtype}
    answer, missing = judge(made, fam, box)
    assert answer["ok"] and not missing, answer
    if dtype == "float32":
        told = {p["parameter"]: p for p in answer["parameters"]}
        assert "density" not in parameters or told["density"]["verdict"] == "shows", answer
        if "epsilon" in parameters:
            assert told["epsilon"]["verdict"] == "shows" and abs(told["epsilon"]["found"] - 0.25) < 0.02, answer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["della", "della_linear"])
def test_ignored_epsilon_is_named(method, dtype, family, box, monkeypatch):
    """As in mergekit 0.1.0 to 0.1.2: the value is read and never used."""
    import mergekit.merge_methods.generalized_task_arithmetic as arithmetic
    sparsify = arithmetic.sparsify
    called = []

    def without_epsilon(*args, **kwargs):
        called.append(kwargs.pop("epsilon"))
        return sparsify(*args, epsilon=0.0, **kwargs)

    monkeypatch.setattr(arithmetic, "sparsify", without_epsilon)
    fam = family("llama", dtype)
    made = {**recipe(method, models(a=w(0.7), b=w(0.4)), "base", **DELLA), "dtype": dtype}
    answer, missing = judge(made, fam, box)
    assert called and set(called) == {0.25}
    assert missing == {"epsilon"} and not answer["ok"], answer
