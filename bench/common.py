"""What the benchmarks share: one recipe per method, and commands timed with their memory."""
import os
import subprocess
import sys
import time
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.abspath(os.environ.get("CRUCIBLE", os.path.join(ROOT, "build", "crucible")))

# Parameters of each model and of the merge; "one" where the method takes one model beside the base.
RECIPES = {
    "linear": ("weight: 0.5", ""), "passthrough": ("scale: 0.5", "", "one"), "slerp": ("", "t: 0.4", "one"), "nuslerp": ("weight: 0.5", ""),
    "multislerp": ("weight: 0.5", ""), "karcher": ("", ""), "task_arithmetic": ("weight: 0.5", ""), "nearswap": ("", "t: 0.001", "one"),
    "model_stock": ("", ""), "arcee_fusion": ("", "", "one"), "sce": ("", "select_topk: 0.5"), "ram": ("", ""), "ramplus_tl": ("", ""),
    "ties": ("weight: 0.5, density: 0.5", ""), "breadcrumbs": ("weight: 0.5, density: 0.8, gamma: 0.01", ""),
    "breadcrumbs_ties": ("weight: 0.5, density: 0.8, gamma: 0.01", ""), "dare_linear": ("weight: 0.5, density: 0.5", ""),
    "dare_ties": ("weight: 0.5, density: 0.5", ""), "della": ("weight: 0.5, density: 0.7, epsilon: 0.1", ""),
    "della_linear": ("weight: 0.5, density: 0.7, epsilon: 0.1", ""),
}
WITHOUT_BASE = {"linear", "karcher", "multislerp", "nuslerp", "passthrough"}


def models_of(method, models=("a", "b")):
    """The folders that a merge by the method reads: its models, and base where it has one."""
    own = list(models[:1]) if len(RECIPES[method]) > 2 else list(models)
    return own if method in WITHOUT_BASE else ["base", *own]


def recipe(method, models=("a", "b")):
    """A recipe over the folders base, a and b (or the models given)."""
    of_model, of_merge, *_ = RECIPES[method]
    lines = [f"merge_method: {method}"]
    if method not in WITHOUT_BASE:
        lines.append("base_model: base")
    lines.append("models:")
    for model in models_of(method, models):
        if model == "base":
            continue
        lines.append(f"- model: {model}")
        if of_model:
            lines.append(f"  parameters: {{{of_model}}}")
    if of_merge:
        lines.append(f"parameters: {{{of_merge}}}")
    return "\n".join(lines + ["dtype: bfloat16", ""])


def make_models(folder, gigabytes):
    """base, a and b of about that size each, where they are not there yet."""
    command = [sys.executable, os.path.join(ROOT, "bench", "make_models.py"), folder, "--gigabytes", str(gigabytes)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def floor_command(out, size, inputs):
    """Reads the inputs and writes `size` bytes to `out`."""
    return [sys.executable, os.path.join(ROOT, "bench", "floor.py"), out, str(size), *inputs]


def fetch_pages(gigabytes):
    """Has the machine so much memory at hand? A virtual one may have given its free pages back, and then pays for each on its next use,
    which can double the kernel's time of a merge. In a process of its own: a child's peak memory begins with that of its parent."""
    code = "from mmap import *; import sys; mmap(-1, int(float(sys.argv[1]) * (1 << 30)), MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE)"
    subprocess.run([sys.executable, "-c", code, str(gigabytes)], check=True)


def size_of(model):
    """GB of the weights in a model's folder."""
    return os.path.getsize(os.path.join(model, "model.safetensors")) / 1e9


def fetch_for_output(model):
    """fetch_pages for an output as large as this model, and some more."""
    fetch_pages(1.2 * size_of(model))


class Run(NamedTuple):
    wall: float  # seconds
    cpu: float  # seconds, user and system
    system: float  # of them in the kernel
    peak: float  # resident memory, MB


def timed(command, cwd=None, env=None):
    """Runs a command to its end. Leaves the program where it fails."""
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{errors}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_stime, usage.ru_maxrss / 1000)
