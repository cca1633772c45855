"""The founding recipe: Crucible runs it as it stands, the merged model has both skills, and mergekit 0.1.4 refuses it."""
import json
import subprocess
import sys

import pytest

from programs import ROOT, crucible, crucible_merge, mergekit
from test_load import loads

EXAMPLE = ROOT / "examples" / "founding"
RECIPE = EXAMPLE / "recipe.yml"
MODEL = ("--model", f"microsoft/phi-2={EXAMPLE / 'base'}")


def scores(*folders):
    done = subprocess.run([sys.executable, str(EXAMPLE / "train" / "evaluate.py"), *map(str, folders), "--json"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("seed", [42, 1])
def test_both_skills(seed, box):
    done = crucible_merge(RECIPE, box / "merged", *MODEL, "--seed", seed)
    assert "c = 0.81" in done.stderr
    assert loads(box / "merged").config.model_type == "phi"
    crucible("verify", box / "merged")
    result = scores(box / "merged")[str(box / "merged")]
    assert result["addition"] >= 0.9 and result["reversal"] >= 0.9, result


def test_strict_refuses_the_cut_ramp(box):
    done = crucible_merge(RECIPE, box / "merged", *MODEL, "--strict", check=False)
    assert done.returncode == 2 and not (box / "merged").exists()


def test_mergekit_refuses_it(box):
    """With folders in the place of the names, as it would look for microsoft/phi-2 on the Hub."""
    text = RECIPE.read_text().replace("microsoft/phi-2", str(EXAMPLE / "base"))
    for name in ("model_a", "model_b"):
        text = text.replace(f"./{name}", str(EXAMPLE / name))
    (box / "recipe.yml").write_text(text)
    error = mergekit(box / "recipe.yml", box / "mergekit")
    assert isinstance(error, ValueError) and "Epsilon must be chosen such that density" in str(error)
    # With a ramp that it takes, the same recipe runs.
    (box / "recipe.yml").write_text(text.replace("epsilon: 0.3", "epsilon: 0.19"))
    assert mergekit(box / "recipe.yml", box / "mergekit") is None
