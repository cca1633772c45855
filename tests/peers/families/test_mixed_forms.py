"""Models of one network saved in different forms: without the prefix of their head's class, tied or not, with names of old."""
import dataclasses

import pytest
from safetensors.torch import load_file, save_file

import checks
from builder import make_config, make_model, read_tensors
from catalogue import FAMILIES

BY_NAME = {family.name: family for family in FAMILIES}


def merged(family, folders, out, config=None):
    """Merges a and b in the order of `folders`, and checks what transformers loads."""
    problem = checks.merge(checks.linear_recipe(folders, folders), out)
    assert not problem, problem
    problem = checks.check_loads(checks.Expected(family, folders, config), out)
    assert not problem, problem
    return read_tensors(out)


@pytest.mark.parametrize("first", "ab")
@pytest.mark.parametrize("name", ["qwen2", "gpt2", "gemma2", "bloom"])
def test_body_without_head(name, first, tmp_path):
    """Tied embeddings: the body alone is the whole model, and its names lack the prefix."""
    family = BY_NAME[name]
    make_model(family, make_config(family), 1).save_pretrained(tmp_path / "a")
    make_model(family, make_config(family), 2).base_model.save_pretrained(tmp_path / "b")
    assert not set(read_tensors(tmp_path / "a")) & set(read_tensors(tmp_path / "b"))
    folders = {key: tmp_path / key for key in ("ab" if first == "a" else "ba")}
    assert set(merged(family, folders, tmp_path / "out")) == set(read_tensors(tmp_path / first))


@pytest.mark.parametrize("name", ["llama", "qwen3", "mixtral"])
@pytest.mark.parametrize("ties", [(False, True), (True, False), (True, True), (False, False)])
def test_tied_and_untied(name, ties, tmp_path):
    """The output has a head of its own where one of the models has."""
    family = BY_NAME[name]
    for seed, (key, tied) in enumerate(zip("ab", ties), 1):
        with_tie = dataclasses.replace(family, config={**family.config, "tie_word_embeddings": tied})
        make_model(family, make_config(with_tie), seed).save_pretrained(tmp_path / key)
        assert ("lm_head.weight" in read_tensors(tmp_path / key)) != tied
    folders = {key: tmp_path / key for key in "ab"}
    config = make_config(family)
    config.tie_word_embeddings = all(ties)
    tensors = merged(family, folders, tmp_path / "out", config)
    assert ("lm_head.weight" in tensors) != all(ties)


@pytest.mark.parametrize("first", "ab")
def test_names_of_old(first, tmp_path):
    """LayerNorm.gamma and LayerNorm.beta, as the first BERT checkpoints have them."""
    family = BY_NAME["bert"]
    folders = {key: tmp_path / key for key in ("ab" if first == "a" else "ba")}
    for seed, key in enumerate("ab", 1):
        make_model(family, make_config(family), seed).save_pretrained(tmp_path / key)
    path = tmp_path / "b" / "model.safetensors"
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
           for name, tensor in load_file(path).items()}
    save_file(old, path, {"format": "pt"})
    merged(family, folders, tmp_path / "out")
