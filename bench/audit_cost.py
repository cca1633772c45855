#!/usr/bin/env python3
"""What the audit costs: CPU seconds of whole merges with it and with --no-audit, in alternation, inputs and output in memory (a disk
would hide the difference).

usage: bench/audit_cost.py [GIGABYTES] [RUNS]     model size (default 0.5), runs of each (default 7)
"""
import os
import shutil
import statistics
import sys
import tempfile

from common import PROGRAM, make_models, recipe, timed

METHODS = ("linear", "nuslerp", "karcher", "task_arithmetic", "ties", "breadcrumbs", "dare_linear", "dare_ties", "della")


def cpu_seconds(work, method, *options):
    shutil.rmtree(os.path.join(work, "out"), ignore_errors=True)
    return timed([PROGRAM, "merge", f"{method}.yml", "out", "-q", "--threads", "1", *options], cwd=work).cpu


def main():
    size, runs = (sys.argv[1:] + ["0.5", "7"][len(sys.argv) - 1:])[:2]
    work = tempfile.mkdtemp(prefix="crucible-audit-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        make_models(work, size)
        print("| method | CPU s, --no-audit | CPU s, audited | ratio of medians | of minima |\n|---|---|---|---|---|")
        for method in METHODS:
            with open(os.path.join(work, f"{method}.yml"), "w") as f:
                f.write(recipe(method))
            off, on = [], []
            for _ in range(int(runs)):
                off.append(cpu_seconds(work, method, "--no-audit"))
                on.append(cpu_seconds(work, method))
            middle = statistics.median
            print(f"| {method} | {middle(off):.2f} | {middle(on):.2f} | {middle(on) / middle(off):.3f} | {min(on) / min(off):.3f} |", flush=True)
    finally:
        shutil.rmtree(work)


main()
