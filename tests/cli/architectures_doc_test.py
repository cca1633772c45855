#!/usr/bin/env python3
"""The tables of docs/architectures.md name exactly the families that tests/peers/families builds."""
import os
import sys

ROOT = os.environ.get("CRUCIBLE_SOURCE_DIR", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "tests", "peers", "families"))

from catalogue import FAMILIES, OTHER_SPELLINGS  # noqa: E402
from harness import Suite, equal  # noqa: E402
from table import rows  # noqa: E402

suite = Suite()


def page():
    with open(os.path.join(ROOT, "docs", "architectures.md"), encoding="utf-8") as f:
        return f.read()


@suite.case
def every_family_has_its_row(box):
    found = rows(page(), "family")
    equal([row[:3] for row in found], [(f.name, f.model, f.kind) for f in FAMILIES], "rows")
    equal(len(found) >= 50 and all(len(row) == 7 and all(row) for row in found), True, "at least fifty rows without an empty cell")


@suite.case
def no_family_is_merged_wrong(box):
    for name, _, _, same, linear, *_ in rows(page(), "family"):
        equal((name, same, linear), (name, "same bytes", "right"), "self-merge and linear")


@suite.case
def every_second_spelling_is_listed(box):
    equal(dict(rows(page(), "two spellings")), OTHER_SPELLINGS, "rows")


sys.exit(suite.run())
