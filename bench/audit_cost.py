#!/usr/bin/env python3
"""What the audit costs: CPU seconds of whole merges with it and with --no-audit, in alternation, inputs and output in memory (a disk
would hide the difference).

usage: bench/audit_cost.py [GIGABYTES] [RUNS]     model size (default 0.5), runs of each (default 7)
"""
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("CRUCIBLE", str(ROOT / "build" / "crucible"))
TASK = "base_model: base\nmodels:\n- {model: a, parameters: {%s}}\n- {model: b, parameters: {%s}}\ndtype: bfloat16\n"
RECIPES = {
    "linear": "merge_method: linear\n" + TASK.replace("base_model: base\n", "") % (("weight: 0.5",) * 2),
    "task_arithmetic": "merge_method: task_arithmetic\n" + TASK % (("weight: 0.5",) * 2),
    "ties": "merge_method: ties\n" + TASK % (("weight: 0.5, density: 0.5",) * 2),
    "dare_ties": "merge_method: dare_ties\n" + TASK % (("weight: 0.5, density: 0.5",) * 2),
    "della": "merge_method: della\n" + TASK % (("weight: 0.5, density: 0.7, epsilon: 0.1",) * 2),
}


def cpu_seconds(work, method, *options):
    shutil.rmtree(work / "out", ignore_errors=True)
    child = subprocess.Popen([PROGRAM, "merge", f"{method}.yml", "out", "-q", "--threads", "1", *options], cwd=work)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{method}: the merge failed")
    return usage.ru_utime + usage.ru_stime


def main():
    size, runs = (sys.argv[1:] + ["0.5", "7"][len(sys.argv) - 1:])[:2]
    work = pathlib.Path(tempfile.mkdtemp(prefix="crucible-audit-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        subprocess.run([sys.executable, str(ROOT / "bench/make_models.py"), str(work), "--gigabytes", size], check=True, stdout=subprocess.DEVNULL)
        print("| method | CPU s, --no-audit | CPU s, audited | ratio of medians | of minima |\n|---|---|---|---|---|")
        for method, recipe in RECIPES.items():
            (work / f"{method}.yml").write_text(recipe)
            off, on = [], []
            for _ in range(int(runs)):
                off.append(cpu_seconds(work, method, "--no-audit"))
                on.append(cpu_seconds(work, method))
            middle = statistics.median
            print(f"| {method} | {middle(off):.2f} | {middle(on):.2f} | {middle(on) / middle(off):.3f} | {min(on) / min(off):.3f} |", flush=True)
    finally:
        shutil.rmtree(work)


main()
