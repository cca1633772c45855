"""One model under two spellings of its tensors: merged in either order it is what torch makes of the two, or it is refused; never wrong."""
import shutil

import pytest

import checks
from builder import read_tensors, save_model
from catalogue import FAMILIES, OTHER_SPELLINGS
from table import SPELLINGS

# Families that transformers saves in the spelling of their first release, or in its own.
BY_NAME = {family.name: family for family in FAMILIES}


@pytest.fixture(params=OTHER_SPELLINGS)
def spelled(request, root):
    """The family, its model a as first released, and b in transformers' own spelling."""
    family = BY_NAME[request.param]
    folder = root / (family.name + "-spelled")
    yield family, {"a": save_model(family, 1, folder / "a"), "b": save_model(family, 2, folder / "b", save_original_format=False)}, folder
    shutil.rmtree(folder, ignore_errors=True)


def test_spellings(spelled):
    family, folders, folder = spelled
    assert set(read_tensors(folders["a"])) != set(read_tensors(folders["b"])), "one spelling only: not a case"
    refused = ""
    SPELLINGS[family.name] = "wrong"
    for names in ("ab", "ba"):
        out = folder / f"out-{names}"
        ordered = {name: folders[name] for name in names}
        problem = checks.merge(checks.linear_recipe(folders, names), out)
        if problem:
            assert problem.startswith("exit 2: "), problem
            refused = problem
            continue
        assert set(read_tensors(out)) == set(read_tensors(folders[names[0]])), "not in the spelling of the first model"
        problem = checks.check_loads(checks.Expected(family, ordered), out)
        assert not problem, f"{family.name}, {names}: {problem}"
    SPELLINGS[family.name] = "refused" if refused else "right"
    assert SPELLINGS[family.name] == OTHER_SPELLINGS[family.name], f"{family.name}: {refused or 'merged'}"
