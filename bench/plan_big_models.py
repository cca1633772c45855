#!/usr/bin/env python3
"""Time and peak memory of planning merges of models in the shape of big public ones (tests/cli/big_models.py: headers, no data).

usage: bench/plan_big_models.py [RUNS] [MODEL ...]     runs of each, the fastest counts (default 5); models (default all)
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.path.abspath(os.environ.get("CRUCIBLE", ROOT / "build" / "crucible"))
sys.path.insert(0, str(ROOT / "tests" / "cli"))
from big_models import MODELS  # noqa: E402

MAKER = ROOT / "tests" / "cli" / "big_models.py"

RECIPES = {
    "linear": "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 0.4}}\n- {model: b, parameters: {weight: 0.6}}\n",
    "ties": "merge_method: ties\nbase_model: base\nmodels:\n- {model: a, parameters: {weight: 0.4, density: [0.4, 0.6]}}\n"
            "- {model: b, parameters: {weight: 0.6, density: 0.5}}\ndtype: bfloat16\n",
    "stack": "merge_method: passthrough\nmodules:\n  STACK:\n    slices:\n    - sources:\n      - {model: a, layer_range: [0, 20]}\n"
             "    - sources:\n      - {model: b, layer_range: [10, COUNT]}\n  default:\n    models:\n    - model: a\n",
}


def measure(work, recipe):
    """-> seconds, processor seconds, peak bytes of one `crucible plan`."""
    started = time.monotonic()
    with open(os.devnull, "w") as nowhere:
        child = subprocess.Popen([PROGRAM, "plan", "--quiet", recipe], cwd=work, stdout=nowhere)
        _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{recipe}: no plan")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("| model | weights | tensors | recipe | models | seconds | CPU seconds | peak MB |\n|---|---|---|---|---|---|---|---|")
    for name in sys.argv[2:] or MODELS:
        with tempfile.TemporaryDirectory(prefix="crucible-plan-") as work:
            for folder in ("base", "a", "b"):
                # In a process of its own: a child counts the memory that its parent held when it was made.
                make = [sys.executable, str(MAKER), name, os.path.join(work, folder)]
                tensors, size = map(int, subprocess.run(make, capture_output=True, check=True).stdout.split())
            for method, recipe in RECIPES.items():
                recipe = recipe.replace("STACK", MODELS[name][3]).replace("COUNT", str(MODELS[name][2]))
                pathlib.Path(work, f"{method}.yml").write_text(recipe)
                best = [min(column) for column in zip(*(measure(work, f"{method}.yml") for _ in range(runs)))]
                models = 3 if method == "ties" else 2
                print(f"| {name} | {size / 1e9:.0f} GB | {tensors} | {method} | {models} | {best[0]:.2f} | {best[1]:.2f} "
                      f"| {best[2] / 1e6:.0f} |", flush=True)


main()
