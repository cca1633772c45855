"""Merges model_a and model_b with Crucible and prints the skill table of the merges.

    python merge_with_crucible.py [--program build/crucible] [--seeds N]
"""
import argparse
import subprocess
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluate import scores

EXAMPLE = Path(__file__).resolve().parent.parent
ROOT = EXAMPLE.parent.parent


def recipe(method, weight=1.0, **parameters):
    lines = [f"merge_method: {method}", "dtype: float16", f"base_model: {EXAMPLE / 'base'}", "models:"]
    for name in ("model_a", "model_b"):
        lines += [f"- model: {EXAMPLE / name}", f"  parameters: {{weight: {weight}}}"]
    lines += ["parameters:", *(f"  {key}: {value}" for key, value in parameters.items())] if parameters else []
    return "\n".join(lines) + "\n"


# name, recipe, whether it draws at random
MERGES = [
    ("linear 0.5 / 0.5", recipe("linear", weight=0.5), False),
    ("TIES, density 0.5", recipe("ties", density=0.5), False),
    ("DARE-TIES, density 0.8", recipe("dare_ties", density=0.8), True),
    ("DARE-linear, density 0.8", recipe("dare_linear", density=0.8), True),
    ("DELLA, founding recipe", None, True),
]


def merge(program, text, seed, folder):
    """Merges by a recipe's text, or by the founding recipe as it stands."""
    file = EXAMPLE / "recipe.yml"
    if text is not None:
        file = folder / "recipe.yml"
        file.write_text(text)
    subprocess.run([program, "merge", file, folder / "merged", "--seed", str(seed), "--overwrite", "--quiet",
                    "--model", f"microsoft/phi-2={EXAMPLE / 'base'}"], check=True)
    # float16 is stored, but CPUs compute float32 faster.
    model = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32)
    return scores(model, AutoTokenizer.from_pretrained(folder / "merged"))


def cell(rows, key, form, worst):
    """The mean and, of several seeds, the worst."""
    values = [row[key] for row in rows]
    mean = format(sum(values) / len(values), form)
    return mean if len(values) == 1 else f"{mean} ({format(worst(values), form)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "crucible", help="the crucible program")
    parser.add_argument("--seeds", type=int, default=8, help="seeds per random method")
    args = parser.parse_args()
    torch.set_num_threads(1)

    print("| model | addition | reversal | text loss |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, text, random in MERGES:
            rows = [merge(args.program.resolve(), text, seed, Path(folder)) for seed in range(args.seeds if random else 1)]
            print(f"| {name} | {cell(rows, 'addition', '.1%', min)} | {cell(rows, 'reversal', '.1%', min)} "
                  f"| {cell(rows, 'text_loss', '.3f', max)} |", flush=True)


if __name__ == "__main__":
    main()
