"""What is asked of a merge of a family. Each check returns "" or what is wrong."""
import os
import re
import subprocess
from pathlib import Path

import torch
import yaml

from builder import average, class_of, load, read_tensors, run, same_bytes, save_models

ROOT = Path(__file__).resolve().parents[3]
CRUCIBLE = Path(os.environ.get("CRUCIBLE", ROOT / "build" / "crucible")).resolve()
PEERS = Path(os.environ.get("CRUCIBLE_PEERS_DIR", ROOT / "build" / "peers")).resolve()
WEIGHTS = {"a": 0.3, "b": 0.7}


def write_recipe(recipe, path):
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def linear_recipe(folders, names="ab"):
    models = [{"model": str(folders[name]), "parameters": {"weight": weight}} for name, weight in zip(names, WEIGHTS.values())]
    return {"merge_method": "linear", "models": models}


def merge(recipe, out):
    """"" or why Crucible refused."""
    path = write_recipe(recipe, out.with_name(out.name + ".yml"))
    done = subprocess.run([CRUCIBLE, "merge", path, out, "--threads", "2"], capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()}"


def check_self_merge(folders, out):
    """The merge of a model with itself has the same tensors, byte for byte."""
    refused = merge(linear_recipe(folders, "aa"), out)
    if refused:
        return refused
    before, after = read_tensors(folders["a"]), read_tensors(out)
    if set(before) != set(after):
        return f"lost {sorted(set(before) - set(after))}, gained {sorted(set(after) - set(before))}"
    changed = [name for name, tensor in before.items() if not same_bytes(tensor, after[name])]
    return f"{len(changed)} tensors changed ({changed[0]}, ...)" if changed else ""


class Expected:
    """The models as transformers loads them, and the average of their state dicts by torch."""

    def __init__(self, family, folders, config=None):
        self.family = family
        models = {name: load(family, folder) for name, folder in folders.items()}
        self.source_problem = models["a"][1]
        self.models = {name: model for name, (model, _) in models.items()}
        states = [model.state_dict() for model in self.models.values()]  # in the order of the recipe's models
        self.state = average(*states, *WEIGHTS.values())
        model = class_of(family)(config or self.models["a"].config).eval()
        model.load_state_dict(self.state)
        self.outputs = run(family, model)


def check_loads(expected, folder):
    """transformers loads the folder with nothing missing, unexpected or mismatched, and it is the average."""
    model, wrong = load(expected.family, folder)
    if wrong:
        return f"loaded with {wrong}"
    state = model.state_dict()
    off = [name for name, tensor in expected.state.items() if not torch.allclose(state[name], tensor, rtol=1e-6, atol=1e-8, equal_nan=True)]
    if off:
        return f"{len(off)} tensors are not the average ({off[0]}, ...)"
    first, second = run(expected.family, model), run(expected.family, model)
    if not all(torch.isfinite(value).all() for value in first):
        return "outputs are not finite"
    if not all(map(torch.equal, first, second)):
        return "outputs differ from run to run"
    distance = max((value - other).abs().max().item() / other.abs().max().item() for value, other in zip(first, expected.outputs))
    return "" if distance < 1e-5 and len(first) == len(expected.outputs) else f"outputs differ by {distance:.1e}"


OTHER_TOWERS = re.compile(r"vision|visual|audio|encoder(?!.*decoder)")


def longest_stack(counts):
    """Of {name: layers} the stack that a user would slice: the text model's, or the decoder's where an encoder is beside it."""
    fit = {name: count for name, count in counts.items() if not OTHER_TOWERS.search(name)} or counts
    return max(fit.items(), key=lambda item: (item[1], -len(item[0])))


def layers_in(names):
    """{stack: layers} by the first index in each tensor name."""
    counts = {}
    for match in filter(None, (re.match(r"(.*?)\.(\d+)\.", name) for name in names)):
        counts[match[1]] = max(counts.get(match[1], 0), int(match[2]) + 1)
    return counts


def stack_recipe(folders):
    """All layers and then all but the first again; the stack is named where the model has several."""
    model = str(folders["a"])
    counts = layers_in(read_tensors(folders["a"]))
    name, count = longest_stack(counts)
    slices = [{"sources": [{"model": model, "layer_range": [begin, count]}]} for begin in (0, 1)]
    if len(counts) == 1:
        return {"merge_method": "passthrough", "slices": slices}
    return {"merge_method": "passthrough", "modules": {name: {"slices": slices}, "default": {"models": [{"model": model}]}}}


def check_stack(expected, folders, out):
    """It loads, runs, and each layer is the one that it was made of; the rest is as before."""
    family, source = expected.family, expected.models["a"]
    refused = merge(stack_recipe(folders), out)
    if refused:
        return refused
    try:
        model, wrong = load(family, out)
    except Exception as error:  # of its config's validation, of shapes
        return f"{type(error).__name__}: {error}"
    if wrong:
        return f"loaded with {wrong}"
    path, count = longest_stack({name: len(module) for name, module in source.named_modules() if isinstance(module, torch.nn.ModuleList)})
    before, after = source.get_submodule(path), model.get_submodule(path)
    origins = [*range(count), *range(1, count)]
    if len(after) != len(origins):
        return f"{len(after)} layers instead of {len(origins)}"
    for layer, origin in zip(after, origins):
        want, have = before[origin].state_dict(), layer.state_dict()
        if set(want) != set(have) or not all(torch.equal(want[name], have[name]) for name in want):
            return f"a layer differs from layer {origin} of its source"
    state = model.state_dict()
    if not all(torch.equal(tensor, state[name]) for name, tensor in source.state_dict().items() if not name.startswith(path + ".")):
        return "a tensor outside of the layers differs"
    return "" if all(torch.isfinite(value).all() for value in run(family, model)) else "outputs are not finite"


def brief(problem, length=160):
    return re.sub(r"\s+", " ", problem)[:length]
