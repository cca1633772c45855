"""The same linear merges by mergekit 0.1.4 in its own environment, for the table: not a test of Crucible."""
import json
import re
import subprocess

import pytest

import checks
from builder import save_models
from catalogue import FAMILIES
from checks import PEERS
from table import CELLS

pytestmark = pytest.mark.mergekit
RUNNER = checks.Path(__file__).with_name("mergekit_runner.py")


def run_mergekit(jobs):
    """One answer for each (class, recipe, output folder)."""
    python = PEERS / "mergekit-env" / "bin" / "python"
    # Its choice of a module or a tensor to complain about follows the order of sets of names.
    environment = {**checks.os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([python, RUNNER], input=json.dumps(jobs), env=environment, capture_output=True, text=True, timeout=900)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(jobs), done.stderr[-2000:]
    return answers


def verdict(family, answer, folders, out):
    if answer["refused"] and answer["unread"]:
        return f"not read by transformers {answer['transformers']}: {answer['unread']}"
    if answer["refused"]:
        return f"refuses: {answer['refused']}"
    problem = checks.check_loads(checks.Expected(family, folders), out)
    return f"wrong: {problem}" if problem else "right" + (", warns" if answer["warned"] else "")


def test_mergekit(root):
    jobs, folders = [], {}
    for family in FAMILIES:
        folder = root / family.name
        folder.mkdir(exist_ok=True)
        folders[family.name] = save_models(family, folder)
        recipe = checks.write_recipe(checks.linear_recipe(folders[family.name]), folder / "mergekit.yml")
        jobs.append([family.model, str(folders[family.name]["a"]), str(recipe), str(folder / "mergekit")])
    for family, answer in zip(FAMILIES, run_mergekit(jobs)):
        text = verdict(family, answer, folders[family.name], root / family.name / "mergekit")
        CELLS.setdefault(family.name, {})["mergekit"] = checks.brief(re.sub(r"(/[\w.-]+){3,}", "MODEL", text), 110)
    assert len({name for name, row in CELLS.items() if "mergekit" in row}) == len(FAMILIES)
