import copy
import os
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import programs
from models import make_family
from programs import PEERS, read_tensors


collect_ignore = ["families"]  # another environment's


def pytest_configure(config):
    # mergekit's own, about numpy: nothing to do about them here.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:mergekit")


@dataclass
class Family:
    """A base and its fine-tunes on disk, and their tensors as float32."""
    architecture: str
    dtype: str
    folders: dict
    tensors: dict = field(default_factory=dict)

    def __post_init__(self):
        for name, folder in self.folders.items():
            self.tensors[name] = {n: t.float().numpy() for n, t in read_tensors(folder).items()}
        self.names = list(self.tensors["base"])
        self.layers = programs.layers_of(programs.config_of(self.folders["base"]))

    def with_models(self, models):
        """The same family with other (folder, tensors) under some names."""
        other = copy.copy(self)
        other.folders = {**self.folders, **{name: folder for name, (folder, _) in models.items()}}
        other.tensors = {**self.tensors, **{name: tensors for name, (_, tensors) in models.items()}}
        return other


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """family("llama", "float32"): made once per session."""
    made = {}

    def get(architecture, dtype="float32"):
        key = architecture, dtype
        if key not in made:
            made[key] = Family(*key, make_family(*key, tmp_path_factory.mktemp(f"{architecture}-{dtype}")))
        return made[key]
    return get


@pytest.fixture(scope="session", autouse=True)
def quiet_machine():
    torch.set_num_threads(1)
    assert os.access(programs.CRUCIBLE, os.X_OK), f"no program at {programs.CRUCIBLE}"
    np.seterr(all="raise", under="ignore")


@pytest.fixture
def box(tmp_path):
    """A folder for one test, gone afterwards: the merges of a whole run would fill a disk."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@dataclass
class Row:
    """What one case showed, over all the models it ran on."""
    runs: int = 0
    elements: int = 0
    excluded: int = 0
    per_tensor: float = 0.0
    crucible_mergekit: float = 0.0
    crucible_exact: float = 0.0
    mergekit_exact: float = 0.0


class Agreement:
    """The table of this run: for each case the largest difference found."""

    def __init__(self):
        self.rows = {}

    def row(self, method, case):
        return self.rows.setdefault((method, case), Row())

    def markdown(self):
        lines = ["| method | case | models | elements | left out | tensor | element | crucible - float64 | mergekit - float64 |",
                 "|---|---|---|---|---|---|---|---|---|"]
        for (method, case), r in self.rows.items():
            left_out = f"{r.excluded / r.elements:.4%}" if r.excluded else "0"
            lines.append(f"| {method} | {case} | {r.runs} | {r.elements} | {left_out} "
                         f"| {r.per_tensor:.2f} | {r.crucible_mergekit:.2f} | {r.crucible_exact:.2f} | {r.mergekit_exact:.2f} |")
        return "\n".join(lines)


AGREEMENT = Agreement()
NOTE = """Largest differences in units in the last place of the output's type: between the programs at the size of
the largest operand of the tensor, then at that of the element, and of each program from float64 by element
(tests/peers/compare.py). Left out where mergekit takes part: elements that a tie decides."""


@pytest.fixture(scope="session")
def agreement():
    return AGREEMENT


def pytest_terminal_summary(terminalreporter):
    if not AGREEMENT.rows:
        return
    terminalreporter.section("agreement with mergekit 0.1.4")
    terminalreporter.write_line(f"{NOTE}\n\n{AGREEMENT.markdown()}")
    if terminalreporter.config.option.keyword:
        return  # a part of the tests does not replace the table of all
    PEERS.mkdir(parents=True, exist_ok=True)
    path = PEERS / "agreement.md"
    path.write_text(f"# Agreement with mergekit 0.1.4\n\n{NOTE}\n\n{AGREEMENT.markdown()}\n")
    terminalreporter.write_line(f"\nwritten to {path}")
