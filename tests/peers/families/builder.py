"""Builds, saves, loads and runs a family's models."""
import sys
from pathlib import Path

import torch
import transformers
import transformers.modeling_outputs

from catalogue import SMALL
from inputs import make_inputs

sys.path.append(str(Path(__file__).parents[1]))  # what both parts of the peers share
from programs import read_tensors  # noqa: E402


# Llama 4's class for images asks the output of its text model for a field that it lacks (transformers 5.24).
transformers.modeling_outputs.MoeCausalLMOutputWithPast.image_outputs = None


def small_config(config_class, overrides):
    """The config class with the sizes of SMALL wherever it has such a key, and `overrides` above them; the same for configs within it."""
    default = config_class()

    def takes(key):
        computed = isinstance(getattr(config_class, key, None), property)
        return not computed and isinstance(getattr(default, key, ""), (int, float, type(None)))

    values = {key: value for key, value in SMALL.items() if takes(key)} | overrides
    for key in getattr(config_class, "sub_configs", {}):
        inner = dict(overrides.get(key, {}))
        given = getattr(default, key, None)
        if given is None and not inner:
            continue
        inner_class = type(transformers.AutoConfig.for_model(inner.pop("model_type")) if "model_type" in inner else given)
        values[key] = small_config(inner_class, inner)
    return config_class(**values)


def class_of(family):
    return getattr(transformers, family.model)


def make_config(family):
    return small_config(class_of(family).config_class, family.config)


def make_model(family, config, seed):
    """Random everywhere: no bias is exactly 0 and no norm weight exactly 1, and nothing is left as the memory was."""
    torch.manual_seed(seed)
    model = class_of(family)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.1)
            else:
                parameter.nan_to_num_().clamp_(-8, 8).add_(0.05 * torch.randn_like(parameter))
    return model


def save_model(family, seed, folder, **options):
    if not folder.exists():
        make_model(family, make_config(family), seed).save_pretrained(folder, **options)
    return folder


def save_models(family, folder):
    """Folders a (in several files) and b, saved by transformers."""
    return {"a": save_model(family, 1, folder / "a", max_shard_size="60KB"), "b": save_model(family, 2, folder / "b")}


def load(family, folder):
    """The model and what was wrong with loading it, in words."""
    model, info = class_of(family).from_pretrained(folder, dtype="auto", output_loading_info=True)
    wrong = []
    for what, names in info.items():
        if names:
            shown = sorted(map(str, names))
            wrong.append(f"{len(shown)} {what.replace('_', ' ')} ({', '.join(shown[:2])}{', ...' if len(shown) > 2 else ''})")
    return model.eval(), "; ".join(wrong)


def run(family, model):
    """All floating-point outputs for the family's fixed inputs."""
    with torch.no_grad():
        out = model(**make_inputs(family, model.config))
    values = out if isinstance(out, tuple) else out.values()
    return [value for value in values if torch.is_tensor(value) and value.is_floating_point()]


def average(state_a, state_b, weight_a, weight_b):
    """Floating-point tensors in float64, rounded once; the rest must agree."""
    def mean(name, a, b):
        if not a.is_floating_point():
            assert torch.equal(a, b), f"{name} differs and has no average"
            return a
        return (a.double() * weight_a + b.double() * weight_b).to(a.dtype)
    return {name: mean(name, tensor, state_b[name]) for name, tensor in state_a.items()}


def same_bytes(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
