"""Runs the two programs on the same recipe."""
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import yaml
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
CRUCIBLE = Path(os.environ.get("CRUCIBLE", ROOT / "build" / "crucible")).resolve()
PEERS = Path(os.environ.get("CRUCIBLE_PEERS_DIR", ROOT / "build" / "peers")).resolve()
MERGEKIT_YAML = Path(sys.executable).with_name("mergekit-yaml")


def with_paths(value, models):
    """The recipe with model names replaced by folders, wherever a model may stand."""
    if isinstance(value, dict):
        return {k: str(models[v]) if k in ("model", "base_model", "path") and isinstance(v, str) and v in models else with_paths(v, models)
                for k, v in value.items()}
    if isinstance(value, list):
        return [with_paths(v, models) for v in value]
    return value


def write_recipe(recipe, models, path):
    path.write_text(yaml.safe_dump(with_paths(recipe, models), sort_keys=False))
    return path


def crucible(*args, check=True):
    done = subprocess.run([str(CRUCIBLE), *map(str, args)], capture_output=True, text=True, timeout=120)
    if check:
        assert done.returncode == 0, f"crucible {' '.join(map(str, args))}\nexit {done.returncode}\n{done.stderr}{done.stdout}"
    return done


def crucible_merge(recipe, out, *options, **kwargs):
    return crucible("merge", recipe, out, "--threads", 2, *options, **kwargs)


def mergekit(recipe, out, *options):
    """mergekit-yaml's own command, run in this process: importing torch for every merge would take longer than all merges.

    Returns the exception that ended it, or None.
    """
    from mergekit.scripts.run_yaml import main
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main.main([str(recipe), str(out), "--quiet", *map(str, options)], standalone_mode=False)
    except Exception as error:  # whatever its own bugs raise
        return error
    finally:
        logging.disable(logging.NOTSET)
    return None


def read_tensors(folder):
    """All tensors of a model folder, by the safetensors library: name -> torch tensor."""
    folder = Path(folder)
    index = folder / "model.safetensors.index.json"
    files = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    tensors = {}
    for name in files:
        with safe_open(folder / name, "pt") as file:
            for key in file.keys():
                assert key not in tensors, f"{key} is in two files"
                tensors[key] = file.get_tensor(key)
    return tensors


def config_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def layers_of(config):
    return config.get("num_hidden_layers", config.get("n_layer"))


def dtype_of(config):
    # transformers wrote this key as torch_dtype before version 4.56.
    return config.get("dtype", config.get("torch_dtype"))
