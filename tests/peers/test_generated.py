"""Generated recipes: parameters of every form at every level, slices of any layers, through both programs."""
import random

import pytest

from compare import REDUCTIONS, compare
from test_agreement import ARCHITECTURES, merge_both, recipe

FILTERS = ["mlp", "self_attn", "layers.1.", "weight", "o_proj", "norm", "*", "nowhere"]
# Ranges in which mergekit keeps at least one entry of each tensor and drops at least one outlier (D2, D35).
RANGES = {"weight": (0.1, 1.5), "density": (0.1, 0.93), "gamma": (0.05, 0.2), "lambda": (0.3, 1.5)}
PER_MODEL = {"linear": ["weight"], "task_arithmetic": ["weight"], "ties": ["weight", "density"],
             "breadcrumbs": ["weight", "density", "gamma"], "breadcrumbs_ties": ["weight", "density", "gamma"]}


def value(rng, key):
    number = lambda: round(rng.uniform(*RANGES[key]), rng.choice((1, 2, 6)))
    return number() if rng.random() < 0.5 else [number() for _ in range(rng.randint(1, 5))]


def setting(rng, key):
    if rng.random() < 0.5:
        return value(rng, key)
    entries = []
    for _ in range(rng.randint(1, 3)):
        entry = {"value": value(rng, key)}
        if rng.random() < 0.8:
            entry["filter"] = rng.choice(FILTERS)
        entries.append(entry)
    return entries


def some(rng, keys, share):
    return {key: setting(rng, key) for key in keys if rng.random() < share}


def generate(seed, layers):
    rng = random.Random(seed)
    method = rng.choice(list(PER_MODEL))
    keys = PER_MODEL[method]
    names = rng.sample("abc", rng.randint(1, 3))
    base = None if method == "linear" else "base"
    # The last word on each parameter is a number, so that each tensor has a value in the allowed range.
    top = {key: some(rng, [key], 1)[key] for key in keys}
    for key in keys:
        if isinstance(top[key], list) and isinstance(top[key][0], dict):
            top[key].append({"value": value(rng, key)})
    overall = ["lambda"] if base else []
    top.update(some(rng, overall, 0.5))
    for key in ("normalize", "rescale") if method not in ("linear", "task_arithmetic") else ("normalize",):
        if rng.random() < 0.5:
            top[key] = rng.random() < 0.5
    if rng.random() < 0.5:
        return recipe(method, [{"model": name, "parameters": some(rng, keys, 0.4)} for name in names], base, **top)
    slices = []
    for _ in range(rng.randint(1, 3)):
        count = rng.randint(1, layers)
        sources = [{"model": name, "layer_range": [start, start + count], "parameters": some(rng, keys, 0.4)}
                   for name in [*([base] if base else []), *names] for start in [rng.randint(0, layers - count)]]
        slices.append({"sources": sources, "parameters": some(rng, keys + overall, 0.3)})
    return recipe(method, None, base, slices, **top)


@pytest.mark.parametrize("seed", range(40))
def test_generated(seed, family, box, agreement):
    models = family(ARCHITECTURES[seed % len(ARCHITECTURES)])
    made = generate(seed, models.layers)
    # Slices may pair any layers: task vectors as large as the weights, and mergekit's roundings of them add up to more.
    compare(made, models, *merge_both(made, models, box), agreement.row(made["merge_method"], "generated recipes"),
            REDUCTIONS)
