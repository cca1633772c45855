#!/usr/bin/env python3
"""The faults of tests/mutants.toml fit the sources: each text stands in its file exactly once, so that ./dev mutate can plant it."""
import os
import pathlib
import sys
import tomllib

root = pathlib.Path(os.environ["CRUCIBLE_SOURCE_DIR"])
mutants = tomllib.loads((root / "tests/mutants.toml").read_text())["mutant"]
bad = [m for m in mutants if (root / m["file"]).read_text().count(m["old"]) != 1 or m["old"] == m["new"]]
for m in bad:
    print("%s: %s: the text to change does not stand there exactly once: %s" % (m["file"], m["fault"], m["old"]))
print("%d faults, %d do not fit" % (len(mutants), len(bad)))
sys.exit(1 if bad or len(mutants) < 40 else 0)
