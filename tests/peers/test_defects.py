"""Where mergekit 0.1.4 is wrong: Crucible gives what the formula says, and mergekit still differs or stops.

Each test is named after the defect's number in the project's list. When a new mergekit release repairs one,
its test fails here and the recipe can move to the agreement tests.
"""
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from compare import assert_exact
from conftest import Family
from models import COMMON, fine_tune, make_tokenizer, save
from programs import crucible, crucible_merge, mergekit, read_tensors, with_paths, write_recipe
from test_agreement import models, recipe, slices_of, w


def ours_and_theirs(made, family, box):
    """Crucible's tensors; mergekit's tensors, or the exception that ended it."""
    written = write_recipe(made, family.folders, box / "recipe.yml")
    crucible_merge(written, box / "crucible")
    error = mergekit(written, box / "mergekit")
    return read_tensors(box / "crucible"), error or read_tensors(box / "mergekit")


def with_model(fam, name, box, make):
    """The family with one model more, of the tensors make(name of the tensor)."""
    tensors = {n: make(n).astype(np.float32) for n in fam.names}
    folder = box / name
    shutil.copytree(fam.folders["a"], folder)
    save_file({n: torch.from_numpy(t) for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    return fam.with_models({name: (folder, tensors)})


def units_apart(fam, ours, theirs, name):
    """In the spacing of float32 at the tensor's largest value."""
    unit = np.abs(ours[name].numpy()).max() * 2.0**-23
    return np.abs(ours[name].double().numpy() - theirs[name].double().numpy()).max() / unit


@pytest.mark.parametrize("method", ["breadcrumbs", "breadcrumbs_ties"])
def test_D2_breadcrumbs_without_outliers(method, family, box):
    fam = family("llama")
    made = recipe(method, models(a=w(0.5), b=w(0.5)), "base", density=0.9, gamma=0.0)
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert all(np.array_equal(t.numpy(), fam.tensors["base"][n]) for n, t in theirs.items()), "mergekit keeps nothing at gamma 0"


def test_D2_breadcrumbs_on_small_tensors(family, box):
    """The default gamma drops 1 %: none of the 64 entries of a norm."""
    fam = family("llama")
    made = recipe("breadcrumbs", models(a=w(0.5), b=w(0.5)), "base", density=0.9)
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    same = lambda n: np.array_equal(theirs[n].numpy(), fam.tensors["base"][n])
    assert same("model.norm.weight") and not same("lm_head.weight")


def test_D3_arcee_fusion_keeps_the_type(family, box):
    fam = family("llama", "bfloat16")
    made = dict(recipe("arcee_fusion", models(wild={}), "base"), dtype="bfloat16")
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert {t.dtype for t in ours.values()} == {torch.bfloat16}
    assert torch.float32 in {t.dtype for t in theirs.values()}, "mergekit's mask makes float32 of it, whatever config.json says"


@pytest.mark.parametrize("select_topk", [0.5, 0.0])
def test_D4_sce_without_variance(select_topk, family, box):
    """One model has no variance over models: nothing is selected."""
    fam = family("llama")
    made = recipe("sce", models(far={}), "base", select_topk=select_topk)
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert all(np.array_equal(t.numpy(), fam.tensors["base"][n]) for n, t in ours.items())
    assert isinstance(theirs, Exception) or any(t.shape != ours[n].shape for n, t in theirs.items())


def test_D5_sce_weighs_small_task_vectors_too(family, box):
    fam = family("llama")
    base = fam.tensors["base"]
    fam = with_model(fam, "faint", box, lambda n: base[n] + 0.25 * (fam.tensors["a"][n] - base[n]))
    made = recipe("sce", models(faint={}, b={}), "base")
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    name = "model.layers.1.mlp.up_proj.weight"
    faint, b = (fam.tensors[m][name].astype(np.float64) - base[name] for m in ("faint", "b"))
    agree = (faint > 0) & (b > 0)
    moved = theirs[name].double().numpy() - base[name]
    assert np.allclose(moved[agree], (faint + b)[agree] / 2, atol=1e-7), "mergekit weighs all the same"
    moved = ours[name].double().numpy() - base[name]
    assert np.corrcoef(moved[agree], b[agree])[0, 1] > 0.99, "the larger task vector has nearly all the weight"


def test_D7_a_single_condition(family, box):
    fam = family("llama")
    made = recipe("passthrough", models(a=dict(scale={"filter": "mlp", "value": 0.5})))
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert isinstance(theirs, RuntimeError) and "Unexpected setting value" in str(theirs)


def test_D9_linear_takes_no_part_of_an_unlisted_base(family, box):
    fam = family("llama")
    made = recipe("linear", models(a=w(0.4), b=w(0.6)), base="base")
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert isinstance(theirs, TypeError), "mergekit adds the base as an input without a weight"


def test_D9_linear_with_one_weight_for_all(family, box):
    fam = family("llama")
    made = recipe("linear", models(a={}, b={}), base="base", weight=0.5)
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    name = "lm_head.weight"
    of_three = sum(fam.tensors[m][name].astype(np.float64) for m in ("a", "b", "base")) / 3
    assert np.allclose(theirs[name].numpy(), of_three, atol=1e-6), "mergekit averages the base in"


def test_D9_passthrough_with_a_base(family, box):
    fam = family("llama")
    made = recipe("passthrough", models(a={}), base="base")
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert isinstance(theirs, RuntimeError) and "exactly one tensor" in str(theirs)


def test_D9_karcher_with_an_unlisted_base(family, box):
    fam = family("llama")
    made = recipe("karcher", models(a={}, far={}), base="base")
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert mergekit(write_recipe(recipe("karcher", models(a={}, far={}, base={})), fam.folders, box / "of_three.yml"), box / "of_three") is None
    of_three = read_tensors(box / "of_three")
    assert all(np.allclose(t.numpy(), of_three[n].numpy(), rtol=1e-4, atol=1e-6) for n, t in theirs.items()), "mergekit averages the base in"
    assert units_apart(fam, ours, theirs, "lm_head.weight") > 1e4


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A model whose down projections are columns: their rows have one element."""
    folder = tmp_path_factory.mktemp("narrow")
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(3)
    config = LlamaConfig(**COMMON, num_hidden_layers=6, intermediate_size=1, num_key_value_heads=2)
    state = {n: x.clone() for n, x in AutoModelForCausalLM.from_config(config).state_dict().items()}
    tokenizer = make_tokenizer()
    return {name: save(config, s, torch.float32, folder / name, tokenizer)
            for name, s in {"base": state, "a": fine_tune(state, generator)}.items()}


@pytest.mark.parametrize("method", ["della", "della_linear"])
def test_D10_rows_of_one_element(method, narrow, box):
    made = recipe(method, models(a=w(1.0)), "base", density=0.6, epsilon=0.3, rescale=False)
    written = write_recipe(made, narrow, box / "recipe.yml")
    crucible_merge(written, box / "crucible")
    ours, base = read_tensors(box / "crucible"), read_tensors(narrow["base"])
    kept = torch.cat([(ours[n] != base[n]).flatten() for n in ours if "down_proj" in n])
    assert kept.numel() == 6 * 64
    assert abs(kept.double().mean() - 0.6) < 5 * (0.6 * 0.4 / kept.numel()) ** 0.5, "kept with probability density"
    error = mergekit(written, box / "mergekit")
    assert isinstance(error, RuntimeError), "NaN probabilities"


def test_D13_tensors_outside_the_architecture(family, box):
    fam = family("llama")
    folders = {}
    extra = {"a": 1.0, "b": 3.0}
    for name, value in extra.items():
        folders[name] = box / name
        crucible_merge(write_recipe(recipe("passthrough", models(a={})), {"a": fam.folders[name]}, box / "copy.yml"), folders[name])
        file = folders[name] / "model.safetensors"
        save_file({**load_file(file), "model.layers.0.mlp.gate_proj.bias": torch.full((96,), value)}, file, {"format": "pt"})
    written = write_recipe(recipe("linear", models(a=w(0.5), b=w(0.5))), folders, box / "recipe.yml")
    crucible_merge(written, box / "crucible")
    assert torch.equal(read_tensors(box / "crucible")["model.layers.0.mlp.gate_proj.bias"], torch.full((96,), 2.0))
    assert mergekit(written, box / "mergekit") is None
    assert "model.layers.0.mlp.gate_proj.bias" not in read_tensors(box / "mergekit"), "mergekit drops it without a word"


def test_D15_one_model_twice_in_a_slice(family, box):
    fam = family("llama")
    made = recipe("linear", slices=[{"sources": [
        {"model": "a", "layer_range": [0, 2], "parameters": w(0.2)},
        {"model": "a", "layer_range": [2, 4], "parameters": w(0.8)}]}])
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    name = "model.layers.0.mlp.up_proj.weight"
    assert np.allclose(theirs[name].numpy(), fam.tensors["a"]["model.layers.2.mlp.up_proj.weight"], atol=1e-6), "mergekit takes the last alone"


def test_D30_nuslerp_of_opposite_vectors(family, box):
    fam = family("llama")
    fam = with_model(fam, "mirror", box, lambda n: -2 * fam.tensors["a"][n])
    made = recipe("nuslerp", models(a=w(3), mirror=w(1)))
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert all(np.allclose(t.numpy(), 0.25 * fam.tensors["a"][n], atol=1e-7) for n, t in ours.items()), "a straight line through zero"
    largest = {n: np.abs(t.numpy()).max() / np.abs(fam.tensors["a"][n]).max() for n, t in theirs.items()}
    assert max(largest.values()) > 1000, "mergekit divides by the sine of pi"


# One weight each where the method has weights.
IN_BFLOAT16 = {
    "linear": recipe("linear", models(a=w(0.3), b=w(0.45), c=w(0.7))),
    "ties": recipe("ties", models(a=w(0.3), b=w(0.45), c=w(0.7)), "base"),
    "nuslerp": recipe("nuslerp", models(a=w(0.3), far=w(0.45)), "base"),
    "multislerp": recipe("multislerp", models(a=w(0.3), b=w(0.45), far=w(0.7))),
    "karcher": recipe("karcher", models(a={}, b={}, far={})),
    "model_stock": recipe("model_stock", models(a={}, b={}, far={}), "base"),
}


@pytest.mark.parametrize("method", IN_BFLOAT16)
def test_D32_bfloat16_is_rounded_once(method, family, box):
    """`dtype: bfloat16` names the output's type; mergekit computes in it."""
    fam = family("llama", "bfloat16")
    made = dict(IN_BFLOAT16[method], dtype="bfloat16")
    ours, theirs = ours_and_theirs(made, fam, box)
    exact = dict(made, dtype="float32")
    crucible_merge(write_recipe(exact, fam.folders, box / "exact.yml"), box / "exact")
    in_float32 = read_tensors(box / "exact")
    assert_exact(exact, fam, in_float32)
    assert all(torch.equal(t, in_float32[n].to(torch.bfloat16)) for n, t in ours.items())
    apart = sum(int((t != theirs[n]).sum()) for n, t in ours.items()) / sum(t.numel() for t in ours.values())
    assert apart > 0.02, "mergekit's bfloat16 arithmetic shows"


@pytest.mark.parametrize("density", [0.01, 0.0])
def test_D35_ties_that_keep_nothing_of_a_small_tensor(density, family, box):
    fam = family("llama")
    made = recipe("ties", models(a=w(1.0), b=w(0.5)), "base", density=density)
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert isinstance(theirs, AssertionError)


def test_D36_model_stock_of_small_task_vectors(family, box):
    """Rows whose lengths multiply to far less than a millionth: mergekit takes them to be at right angles."""
    fam = family("llama")
    base, a, b = (fam.tensors[m] for m in ("base", "a", "b"))
    fam = with_model(fam, "faint", box, lambda n: base[n] + 0.01 * (a[n] - base[n]))
    fam = with_model(fam, "near", box, lambda n: base[n] + 0.01 * (a[n] + 0.5 * b[n] - 1.5 * base[n]))
    made = recipe("model_stock", models(faint={}, near={}), "base", filter_wise=True)
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    name = "model.layers.1.mlp.up_proj.weight"
    # A cosine near 1, so more than half of the way to the mean of the two.
    lengths = [np.linalg.norm(out[name].double().numpy() - base[name]) for out in (ours, theirs)]
    mean = np.linalg.norm((fam.tensors["faint"][name].astype(np.float64) + fam.tensors["near"][name]) / 2 - base[name])
    assert lengths[0] > 0.8 * mean and lengths[1] < 0.1 * mean


def test_D42_no_stale_index(family, box):
    """A sharded result replaced by a single file: an index left behind would win on load."""
    fam = family("llama")
    written = write_recipe(recipe("linear", models(a=w(0.5), b=w(0.5))), fam.folders, box / "recipe.yml")
    again = write_recipe(recipe("passthrough", models(c={})), fam.folders, box / "again.yml")
    crucible_merge(written, box / "crucible", "--out-shard-size", "100K")
    assert (box / "crucible" / "model.safetensors.index.json").exists()
    crucible_merge(again, box / "crucible", "--overwrite")
    assert not list((box / "crucible").glob("model*index*")) and len(list((box / "crucible").glob("*.safetensors"))) == 1
    name = "lm_head.weight"
    loaded = AutoModelForCausalLM.from_pretrained(box / "crucible").state_dict()[name]
    assert np.array_equal(loaded.numpy(), fam.tensors["c"][name])
    assert mergekit(written, box / "mergekit", "--out-shard-size", "100K") is None and mergekit(again, box / "mergekit") is None
    assert (box / "mergekit" / "model.safetensors.index.json").exists()


def test_D51_slices_without_the_base_among_the_sources(family, box):
    fam = family("llama")
    made = recipe("ties", base="base", density=0.5, weight=1.0,
                  slices=slices_of((0, 2, {"a": {}, "b": {}}, None), (1, 4, {"a": {}, "b": {}}, None)))
    ours, theirs = ours_and_theirs(made, fam, box)
    assert_exact(made, fam, ours)
    assert isinstance(theirs, KeyError)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model with tensors of more than a million elements."""
    folder = tmp_path_factory.mktemp("wide")
    generator = torch.Generator().manual_seed(5)
    torch.manual_seed(5)
    config = LlamaConfig(**{**COMMON, "vocab_size": 16000}, num_hidden_layers=1, intermediate_size=64, num_key_value_heads=2)
    state = {n: x.clone() for n, x in AutoModelForCausalLM.from_config(config).state_dict().items()}
    tokenizer = make_tokenizer()
    return Family("llama", "float32", {name: save(config, s, torch.float32, folder / name, tokenizer)
                                       for name, s in {"base": state, "wild": fine_tune(state, generator, size=20)}.items()})


def test_D55_arcee_fusion_ranks_all_elements(wide, box):
    made = recipe("arcee_fusion", models(wild={}), "base")
    written = write_recipe(made, wide.folders, box / "recipe.yml")
    ours, theirs = [], []
    for seed in (1, 2):
        crucible_merge(written, box / f"crucible{seed}", "--seed", seed)
        assert mergekit(written, box / f"mergekit{seed}", "--random-seed", seed) is None
        ours.append(read_tensors(box / f"crucible{seed}"))
        theirs.append(read_tensors(box / f"mergekit{seed}"))
    assert_exact(made, wide, ours[0])
    name = "lm_head.weight"
    assert ours[0][name].numel() > 1_000_000 and torch.equal(ours[0][name], ours[1][name])
    assert not torch.equal(theirs[0][name], theirs[1][name]), "mergekit draws a sample for its quantiles"


# --- recipes that both refuse: Crucible before it reads a byte of data, with the place in the file ---

@pytest.mark.parametrize("made, words", [
    (recipe("slerp", models(a={}, b={}), "base", t=0.5), "slerp"),
    (recipe("linear", models(a=w([]))), "weight"),
    (recipe("ties", models(a={}), "base", density=0.5), "weight"),
    (dict(recipe("linear", models(a=w(1.0))), merge_method="liner"), "linear"),
    (recipe("nearswap", models(a={}, b={}), "base", t=0.1), "nearswap"),
    (recipe("model_stock", models(a={}), "base"), "model_stock"),
    (recipe("multislerp", models(a={}, b={})), "weight"),
    (recipe("nuslerp", models(a=w(1), b=w(1), c=w(1))), "nuslerp"),
], ids=["slerp of three", "empty gradient", "no weight", "unknown method", "nearswap of three", "model stock of one", "multislerp without weights",
        "nuslerp of three"])
def test_refused_by_both(made, words, family, box):
    fam = family("llama")
    written = write_recipe(made, fam.folders, box / "recipe.yml")
    done = crucible("merge", written, box / "crucible", check=False)
    assert done.returncode == 2 and words in done.stderr and "recipe.yml:" in done.stderr, done.stderr
    assert not (box / "crucible").exists()
    assert mergekit(written, box / "mergekit") is not None
