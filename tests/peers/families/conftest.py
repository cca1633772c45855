import os
import shutil
from dataclasses import dataclass, field

import pytest
import torch
import transformers

import checks
from builder import save_models
from catalogue import FAMILIES, OTHER_SPELLINGS
from checks import PEERS
from table import CELLS, COLUMNS, SPELLINGS, families_table, spellings_table


def pytest_configure(config):
    config.addinivalue_line("markers", "mergekit: runs mergekit too (two minutes)")


@pytest.fixture(scope="session", autouse=True)
def quiet_machine():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    assert os.access(checks.CRUCIBLE, os.X_OK), f"no program at {checks.CRUCIBLE}"


@dataclass
class Case:
    """A family, its two models on disk, and what transformers and torch make of them."""
    family: object
    folder: object
    folders: dict = field(init=False)
    expected: object = None

    def __post_init__(self):
        self.folders = save_models(self.family, self.folder)

    def prepare(self):
        self.expected = self.expected or checks.Expected(self.family, self.folders)
        return self


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def case(request, root):
    """One family; its merges are gone when the next begins, its models stay for mergekit's turn."""
    folder = root / request.param.name
    folder.mkdir(exist_ok=True)
    yield Case(request.param, folder).prepare()
    for made in ("self", "linear", "stack"):
        shutil.rmtree(folder / made, ignore_errors=True)


@pytest.fixture
def note():
    """Writes one cell of the table and fails the test where it is not what is hoped for."""
    def write(family, column, problem, good="right"):
        CELLS.setdefault(family.name, {})[column] = problem and f"wrong: {checks.brief(problem, 90)}" or good
        assert not problem, f"{family.name}: {problem}"
    return write


def pytest_terminal_summary(terminalreporter):
    if not CELLS and not SPELLINGS:
        return
    text = f"{families_table(FAMILIES)}\n\n{spellings_table(OTHER_SPELLINGS)}\n"
    terminalreporter.section(f"{len(CELLS)} families, {len(SPELLINGS)} with two spellings")
    terminalreporter.write_line(text)
    complete = len(CELLS) == len(FAMILIES) and all(set(row) == set(COLUMNS) for row in CELLS.values())
    if complete and len(SPELLINGS) == len(OTHER_SPELLINGS):  # a part of the tests does not replace the tables of all
        PEERS.mkdir(parents=True, exist_ok=True)
        (PEERS / "families.md").write_text(text)
        terminalreporter.write_line(f"written to {PEERS / 'families.md'}")
