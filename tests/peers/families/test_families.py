"""Families of transformers 5, built tiny: what Crucible makes of them loads, and is what torch makes of them."""
import checks


def test_sources(case):
    """transformers loads what it saved: without that the other tests mean nothing."""
    assert not case.expected.source_problem


def test_self_merge(case, note):
    note(case.family, "self-merge", checks.check_self_merge(case.folders, case.folder / "self"), "same bytes")


def test_linear(case, note):
    out = case.folder / "linear"
    note(case.family, "linear", checks.merge(checks.linear_recipe(case.folders), out) or checks.check_loads(case.expected, out))


def test_stack(case, note):
    if case.family.no_stack:
        note(case.family, "stack", "", f"- ({case.family.no_stack})")
    else:
        note(case.family, "stack", checks.check_stack(case.expected, case.folders, case.folder / "stack"))
