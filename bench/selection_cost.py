#!/usr/bin/env python3
"""What selecting elements costs beside what no merge of the method can do without: in memory and in alternation, the floor (read the
inputs once, write the output: bench/floor.py), the method where it keeps everything, and the method as it is benched.

usage: bench/selection_cost.py [GIGABYTES] [RUNS]     model size (default 1), runs of each (default 3)
"""
import os
import re
import shutil
import statistics
import sys
import tempfile

from common import PROGRAM, ROOT, fetch_for_output, make_models, models_of, recipe, timed

METHODS = ("ties", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della", "della_linear", "sce")


def without_selection(text):
    text = re.sub(r", (gamma|epsilon): [0-9.]+", "", text)
    return re.sub(r"(density|select_topk): [0-9.]+", r"\1: 1", text)


def middle(times, what):
    return statistics.median(getattr(t, what) for t in times)


def remove(out):
    """The folder of a merge or the file of the floor."""
    if os.path.isdir(out):
        shutil.rmtree(out)
    elif os.path.exists(out):
        os.remove(out)


def main():
    size, runs = (sys.argv[1:] + ["1", "3"][len(sys.argv) - 1:])[:2]
    work = tempfile.mkdtemp(prefix="crucible-selection-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        make_models(work, size)
        print("| method | floor s, CPU s | keeps everything: s, CPU s | as benched: s, CPU s |\n|---|---|---|---|")
        for method in METHODS:
            inputs = [os.path.join(work, model, "model.safetensors") for model in models_of(method)]
            commands = [[sys.executable, os.path.join(ROOT, "bench", "floor.py"), "out", str(os.path.getsize(inputs[0])), *inputs]]
            for name, text in (("all", without_selection(recipe(method))), ("benched", recipe(method))):
                with open(os.path.join(work, f"{name}.yml"), "w") as f:
                    f.write(text)
                commands.append([PROGRAM, "merge", f"{name}.yml", "out", "-q"])
            taken = [[] for _ in commands]
            for _ in range(int(runs)):
                for command, times in zip(commands, taken):
                    remove(os.path.join(work, "out"))
                    fetch_for_output(os.path.join(work, "a"))
                    times.append(timed(command, cwd=work))
            print(f"| {method} | " + " | ".join(f"{middle(t, 'wall'):.2f}, {middle(t, 'cpu'):.2f}" for t in taken) + " |", flush=True)
    finally:
        shutil.rmtree(work)


main()
