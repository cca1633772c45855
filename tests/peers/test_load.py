"""transformers and the safetensors library load what Crucible writes."""
import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from programs import config_of, crucible_merge, dtype_of, layers_of, read_tensors, write_recipe
from test_agreement import ARCHITECTURES, CASES, models, recipe, w


def loads(folder):
    """Asserts that a folder is a whole model that generates. Returns the model as stored."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not any(info.values()), info  # missing, unexpected and mismatched keys, and error messages
    stored = read_tensors(folder)
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in stored.items())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer("bal dem fin kos rut", return_tensors="pt").input_ids
    assert prompt.shape[1] >= 3 and tokenizer.unk_token_id not in prompt
    model = model.float().eval()
    with torch.no_grad():
        logits = model(prompt).logits
        assert torch.isfinite(logits).all() and torch.equal(logits, model(prompt).logits)
    tokens = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, min_new_tokens=8, do_sample=False, pad_token_id=0)
    assert tokens.shape[1] == prompt.shape[1] + 8 and isinstance(tokenizer.decode(tokens[0]), str)
    return model


RECIPES = {
    "linear": lambda n: recipe("linear", models(a=w(0.6), b=w(0.4))),
    "slerp": lambda n: recipe("slerp", models(far={}), "base", t=[0, 0.5, 1]),
    "stack": CASES["passthrough"]["stack"],
    "dare_ties": lambda n: recipe("dare_ties", models(a=w(0.6), b=w(0.4)), "base", density=0.5),
    "della": lambda n: recipe("della", models(a=w(1.0), b=w(1.0)), "base", density=0.8, epsilon=0.3),
}


@pytest.mark.parametrize("stored, dtype", [("float32", "float32"), ("float32", "bfloat16"), ("float16", "float16"), ("bfloat16", "float32")])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_loads(architecture, stored, dtype, family, box):
    fam = family(architecture, stored)
    for name, make in RECIPES.items():
        made = dict(make(fam.layers), dtype=dtype)
        crucible_merge(write_recipe(made, fam.folders, box / "recipe.yml"), box / name)
        loads(box / name)
        config = config_of(box / name)
        assert dtype_of(config) == dtype and {t.dtype for t in read_tensors(box / name).values()} == {getattr(torch, dtype)}
        assert layers_of(config) == (2 * (fam.layers - 1) if name == "stack" else fam.layers)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shards(architecture, family, box):
    fam = family(architecture)
    written = write_recipe(RECIPES["della"](fam.layers), fam.folders, box / "recipe.yml")
    crucible_merge(written, box / "whole")
    crucible_merge(written, box / "shards", "--out-shard-size", "100K")
    loads(box / "shards")
    whole, parts = read_tensors(box / "whole"), read_tensors(box / "shards")
    assert set(whole) == set(parts) and all(torch.equal(t, parts[n]) for n, t in whole.items())

    index = json.loads((box / "shards" / "model.safetensors.index.json").read_text())
    files = sorted(p.name for p in (box / "shards").glob("*.safetensors"))
    assert files == [f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))] and len(files) > 2
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in parts.values())
    held = {}
    for file in files:
        with safe_open(box / "shards" / file, "pt") as opened:
            assert opened.metadata()["format"] == "pt"
            held.update((name, file) for name in opened.keys())
    assert index["weight_map"] == held


def test_files_beside_the_weights(family, box):
    """What transformers saved beside the base's weights comes along, byte for byte where nothing in it changes."""
    fam = family("phi")
    crucible_merge(write_recipe(RECIPES["della"](fam.layers), fam.folders, box / "recipe.yml"), box / "out")
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        assert (box / "out" / file).read_bytes() == (fam.folders["base"] / file).read_bytes(), file
    # The recipe as it was written, but for the folders that the models lie in.
    recipe = (box / "recipe.yml").read_text()
    for folder in fam.folders.values():
        recipe = recipe.replace(str(folder), folder.name)
    published = (box / "out" / "mergekit_config.yml").read_text()
    assert published.startswith("#") and published.split("\n", 1)[1] == recipe
    assert (box / "out" / "README.md").exists()
