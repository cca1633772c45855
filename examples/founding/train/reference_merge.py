"""A plain merge of base, model_a and model_b, written from the methods' formulas.

    python reference_merge.py [--dir DIR] [--seeds N]

It prints the skill table of the three models and of their merges. It shares no code
with Crucible, so the two can be held against each other.
"""
import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluate import scores


def della_probabilities(n, density, epsilon):
    """Keep probability by rank (ascending): density +- epsilon, with mean density after clamping."""
    rho = torch.arange(n, dtype=torch.float64) / max(n - 1, 1)
    if n == 1:
        rho += 0.5
    spread = epsilon * (2 * rho - 1)
    low, high = -1.0 - epsilon, 2.0 + epsilon
    for _ in range(100):  # the mean grows with the centre, so bisection finds it
        centre = (low + high) / 2
        if (centre + spread).clamp(0, 1).mean() < density:
            low = centre
        else:
            high = centre
    return (high + spread).clamp(0, 1)


def rescale_l1(delta, kept):
    norm = kept.abs().sum()
    return kept * (delta.abs().sum() / norm) if norm > 0 else kept


def della_drop(delta, density, generator, epsilon):
    rows = delta.reshape(-1, delta.shape[-1])
    order = rows.abs().argsort(dim=-1, stable=True)
    by_rank = della_probabilities(rows.shape[-1], density, epsilon).expand(rows.shape)
    keep = torch.empty(rows.shape, dtype=torch.float64).scatter_(-1, order, by_rank)
    mask = torch.rand(rows.shape, generator=generator, dtype=torch.float64) < keep
    return rescale_l1(delta, delta * mask.reshape(delta.shape))


def dare_drop(delta, density, generator):
    mask = torch.rand(delta.shape, generator=generator, dtype=torch.float64) < density
    return rescale_l1(delta, delta * mask)


def top_share(delta, density, generator):
    flat = delta.flatten()
    order = flat.abs().argsort(stable=True, descending=True)
    kept = torch.zeros_like(flat)
    top = order[:int(density * flat.numel())]
    kept[top] = flat[top]
    return kept.reshape(delta.shape)


def merge_tensor(base, tuned, weights, generator, drop=None, elect=False, normalize=False, lam=1.0, **options):
    deltas = [t - base for t in tuned]
    if drop:
        deltas = [drop(d, generator=generator, **options) for d in deltas]
    weighted = torch.stack([w * d for w, d in zip(weights, deltas)])
    kept = weighted != 0 if drop else torch.ones_like(weighted, dtype=torch.bool)
    if elect:
        sign = torch.where(weighted.sum(0) >= 0, 1.0, -1.0)
        kept = weighted.sign() == sign
    mixed = (weighted * kept).sum(0)
    if normalize:
        total = (torch.tensor(weights).view(-1, *[1] * base.dim()) * kept).sum(0)
        mixed = mixed / torch.where(total == 0, 1.0, total)
    return base + lam * mixed


# `weights` are those of model_a and model_b. Linear is the weighted mean of the models,
# which equals base plus the weighted mean of the deltas.
METHODS = {
    "linear 0.5 / 0.5": dict(weights=(0.5, 0.5), normalize=True),
    "TIES, density 0.5": dict(weights=(1.0, 1.0), drop=top_share, density=0.5, elect=True, normalize=True),
    "DARE-TIES, density 0.8": dict(weights=(1.0, 1.0), drop=dare_drop, density=0.8, elect=True),
    "DARE-linear, density 0.8": dict(weights=(1.0, 1.0), drop=dare_drop, density=0.8),
    "DELLA, founding recipe": dict(weights=(1.0, 1.0), drop=della_drop, density=0.8, epsilon=0.3,
                                   elect=True, normalize=True),
}


def merge(base, tuned, seed, weights, **options):
    """Merges state dicts in float32; the result has the float16 of the recipe."""
    generator = torch.Generator().manual_seed(seed)
    return {name: merge_tensor(tensor.float(), [t[name].float() for t in tuned], weights, generator, **options).half()
            for name, tensor in base.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path(__file__).resolve().parent.parent,
                        help="the folder that holds base, model_a and model_b")
    parser.add_argument("--seeds", type=int, default=5, help="seeds per random method")
    args = parser.parse_args()
    torch.set_num_threads(1)

    names = ["base", "model_a", "model_b"]
    tokenizer = AutoTokenizer.from_pretrained(args.dir / "base")
    model = AutoModelForCausalLM.from_pretrained(args.dir / "base", dtype=torch.float32)
    weights = {name: AutoModelForCausalLM.from_pretrained(args.dir / name, dtype=torch.float16).state_dict()
               for name in names}

    def measure(state):
        model.load_state_dict(state)
        return scores(model, tokenizer)

    def print_row(name, rows):
        def cell(key, form, worst):
            values = [row[key] for row in rows]
            mean = format(sum(values) / len(values), form)
            return mean if len(values) == 1 else f"{mean} ({format(worst(values), form)})"
        print(f"| {name} | {cell('addition', '.1%', min)} | {cell('reversal', '.1%', min)} "
              f"| {cell('text_loss', '.3f', max)} |", flush=True)

    print("| model | addition | reversal | text loss |\n|---|---|---|---|")
    for name in names:
        print_row(name, [measure(weights[name])])
    tuned = [weights["model_a"], weights["model_b"]]
    for name, options in METHODS.items():
        random = options.get("drop") in (dare_drop, della_drop)
        print_row(name, [measure(merge(weights["base"], tuned, seed, **options))
                         for seed in range(args.seeds if random else 1)])


if __name__ == "__main__":
    main()
