"""The deterministic methods: the same recipe through both programs gives the same tensors."""
import pytest
import torch

from compare import LENGTHS, REDUCTIONS, Bounds, assert_exact, compare
from programs import config_of, crucible_merge, dtype_of, layers_of, mergekit, read_tensors, write_recipe

ARCHITECTURES = ["phi", "llama", "qwen2", "gemma2", "mixtral", "gpt2"]


def models(**parameters):
    return [{"model": name, "parameters": p} if p else {"model": name} for name, p in parameters.items()]


def recipe(method, models=None, base=None, slices=None, **parameters):
    made = {"merge_method": method, "dtype": "float32"}
    if base:
        made["base_model"] = base
    if parameters:
        made["parameters"] = {k.rstrip("_"): v for k, v in parameters.items()}
    made["models" if models else "slices"] = models or slices
    return made


def w(weight, **more):
    return dict(weight=weight, **more)


def slices_of(*slices):
    """Each slice: (start, end, {model: parameters}, parameters of the slice)."""
    return [{"sources": [{"model": m, "layer_range": [start, end], **({"parameters": p} if p else {})} for m, p in sources.items()],
             **({"parameters": own} if own else {})}
            for start, end, sources, own in slices]


FILTERED = [{"filter": "mlp", "value": 0.8}, {"filter": "q_proj", "value": [0.2, 0.9, 0.4]}, {"value": 0.45}]
SELF_AND_MLP = [{"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]}, {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]}, {"value": 0.5}]

# Each: case name -> recipe of a model with `n` layers.
CASES = {
    "linear": {
        "halves": lambda n: recipe("linear", models(a=w(0.5), b=w(0.5))),
        "three models, odd weights": lambda n: recipe("linear", models(a=w(0.37), b=w(0.11), c=w(1.9))),
        "not normalised": lambda n: recipe("linear", models(a=w(0.7), b=w(-0.2), c=w(0.6)), normalize=False),
        "one model": lambda n: recipe("linear", models(a=w(0.3))),
        "gradient and filters": lambda n: recipe("linear", models(a=w([0.1, 0.9, 0.4]), b=w(FILTERED), c={}), weight=0.3),
        "base listed": lambda n: recipe("linear", models(base=w(0.6), a=w(0.4)), base="base"),
        "slices": lambda n: recipe("linear", slices=slices_of(
            (0, 1, {"a": w(0.8), "b": w(0.3)}, None), (1, n, {"b": w([0.2, 0.7]), "c": {}}, w(0.5)))),
    },
    "passthrough": {
        "as it is": lambda n: recipe("passthrough", models(a={})),
        "scale": lambda n: recipe("passthrough", models(a=dict(scale=0.7))),
        "gradient of scale": lambda n: recipe("passthrough", models(a=dict(scale=[0.5, 1.5]))),
        "stack": lambda n: recipe("passthrough", slices=slices_of((0, n - 1, {"a": {}}, None), (1, n, {"b": {}}, None))),
        "stack, scaled": lambda n: recipe("passthrough", slices=slices_of(
            (0, n, {"a": {}}, None),
            (0, n, {"a": dict(scale=[{"filter": "o_proj", "value": 0.0}, {"filter": "down_proj", "value": 0.3}, {"value": 1.0}])}, None))),
    },
    "slerp": {
        "straight, t 0.3": lambda n: recipe("slerp", models(b={}), "base", t=0.3),
        "straight, t 0 and 1": lambda n: recipe("slerp", models(b={}), "base", t=[0, 1]),
        "straight, beyond": lambda n: recipe("slerp", models(b={}), "base", t=[-0.4, 1.3]),
        "arc, t 0.3": lambda n: recipe("slerp", models(far={}), "base", t=0.3),
        "arc, t 0 and 1": lambda n: recipe("slerp", models(far={}), "base", t=[0, 1]),
        "arc, beyond": lambda n: recipe("slerp", models(far={}), "base", t=[-0.4, 1.3]),
        "gradients and filters": lambda n: recipe("slerp", base="a", t=SELF_AND_MLP, slices=slices_of((0, n, {"a": {}, "far": {}}, None))),
    },
    "task_arithmetic": {
        "two models": lambda n: recipe("task_arithmetic", models(a=w(0.5), b=w(0.25)), "base"),
        "lambda, negative weight": lambda n: recipe("task_arithmetic", models(a=w(1.3), b=w(-0.6)), "base", lambda_=1.7),
        "normalised, a copy": lambda n: recipe("task_arithmetic", models(a=w(0.3), copy=w(0.5), b=w(0.9)), "base", normalize=True),
        "base listed": lambda n: recipe("task_arithmetic", models(base={}, a=w([0.2, 0.8]), far=w(0.1)), "base"),
        "slices": lambda n: recipe("task_arithmetic", base="base", slices=slices_of(
            (0, n - 1, {"base": {}, "a": w(0.5), "b": w(0.5)}, {"lambda": 0.8}), (1, n, {"base": {}, "c": w(0.7)}, None)), lambda_=1.2),
    },
    "ties": {
        "density 0.5": lambda n: recipe("ties", models(a=w(1.0), b=w(1.0)), "base", density=0.5),
        "three models": lambda n: recipe("ties", models(a=w(0.5, density=0.2), b=w(0.3, density=0.6), c=w(1.1, density=0.9)), "base"),
        "not normalised, lambda": lambda n: recipe("ties", models(a=w(1.0), b=w(0.4)), "base", density=0.4, normalize=False, lambda_=0.7),
        "rescale": lambda n: recipe("ties", models(a=w(0.6), b=w(0.8)), "base", density=0.3, rescale=True),
        "gradient and filters": lambda n: recipe("ties", models(a=w([1, 0.2], density=FILTERED), b=w(FILTERED)), "base", density=[0.3, 0.9, 0.5]),
        "density 1, a copy": lambda n: recipe("ties", models(a=w(0.7), copy=w(0.2), b=w(0.6)), "base"),
    },
    "breadcrumbs": {
        "density 0.9": lambda n: recipe("breadcrumbs", models(a=w(0.5), b=w(0.5)), "base", density=0.9, gamma=0.05),
        "three models": lambda n: recipe("breadcrumbs", models(a=w(0.5, density=0.4, gamma=0.1), b=w(0.3, density=0.6, gamma=0.04), c=w(0.9, density=0.2, gamma=0.3)), "base"),
        "gamma gives way": lambda n: recipe("breadcrumbs", models(a=w(1.0), b=w(1.0)), "base", density=0.95, gamma=0.3, lambda_=0.5),
        "normalised, rescale": lambda n: recipe("breadcrumbs", models(a=w(0.6), b=w(0.9)), "base", density=0.7, gamma=0.05, normalize=True, rescale=True),
    },
    "breadcrumbs_ties": {
        "density 0.9": lambda n: recipe("breadcrumbs_ties", models(a=w(0.5), b=w(0.5)), "base", density=0.9, gamma=0.05),
        "normalised, lambda": lambda n: recipe("breadcrumbs_ties", models(a=w(0.6), b=w(0.9), c=w(0.3)), "base", density=[0.2, 0.8], gamma=0.1, normalize=True, lambda_=1.4),
    },
    "dare_linear": {
        "density 1": lambda n: recipe("dare_linear", models(a=w(0.6), b=w(0.9)), "base", density=1.0),
    },
    "dare_ties": {
        "density 1": lambda n: recipe("dare_ties", models(a=w(0.6), b=w(0.9)), "base", density=1.0, normalize=True),
    },
    "della": {
        "density 1": lambda n: recipe("della", models(a=w(0.6), b=w(0.9), c=w(0.2)), "base", density=1.0, lambda_=1.1),
    },
    "della_linear": {
        "density 1": lambda n: recipe("della_linear", models(a=w(0.6), b=w(0.9)), "base", density=1.0, epsilon=0.1),
    },
    "nuslerp": {
        "whole tensors": lambda n: recipe("nuslerp", models(a=w(0.3), far=w(0.9))),
        "nearly parallel": lambda n: recipe("nuslerp", models(a=w(0.7), b=w(0.2))),
        "task vectors": lambda n: recipe("nuslerp", models(a=w(0.7), b=w(1.1)), "base"),
        "rows": lambda n: recipe("nuslerp", models(a=w(0.7), far=w(0.6)), nuslerp_flatten=False),
        "rows of task vectors": lambda n: recipe("nuslerp", models(a=w(0.3), b=w(0.6)), "base", nuslerp_flatten=False),
        "columns": lambda n: recipe("nuslerp", models(a=w(0.7), far=w(0.6)), nuslerp_flatten=False, nuslerp_row_wise=True),
        "columns of task vectors": lambda n: recipe("nuslerp", models(a=w(1.0), b=w(0.5)), "base", nuslerp_flatten=0, nuslerp_row_wise=1),
        "weights that cancel, beyond": lambda n: recipe("nuslerp", models(far=w([0.5, 1.5]), b=w(-0.5))),
        "gradients and filters": lambda n: recipe("nuslerp", models(a=w([0.2, 0.9]), far=w(FILTERED))),
        "slices": lambda n: recipe("nuslerp", slices=slices_of(
            (0, n - 1, {"a": w(0.4), "far": w(0.6)}, None), (1, n, {"b": {}, "c": w([0.2, 0.7])}, {"weight": 0.5}))),
    },
    "multislerp": {
        "three models": lambda n: recipe("multislerp", models(a=w(0.3), b=w(0.9), far=w(0.5))),
        "task vectors": lambda n: recipe("multislerp", models(a=w(0.3), b=w(0.9), c=w(0.5)), "base"),
        "weights as they are": lambda n: recipe("multislerp", models(a=w(0.3), b=w(0.2), far=w(0.9)), "base", normalize_weights=False),
        "eps": lambda n: recipe("multislerp", models(a=w(0.7), b=w(0.2)), "base", eps=0.01),
        "gradients and filters": lambda n: recipe("multislerp", models(a=w([0.2, 0.9]), b=w(FILTERED), far=w(0.4)), eps=[1e-8, 1e-3]),
        "slices": lambda n: recipe("multislerp", base="base", slices=slices_of(
            (0, n - 1, {"base": {}, "a": w(0.5), "b": w(0.7)}, None), (1, n, {"base": {}, "c": {}, "far": w(0.2)}, {"weight": 0.4}))),
    },
    "karcher": {
        "two models": lambda n: recipe("karcher", models(a={}, b={})),
        "three models": lambda n: recipe("karcher", models(a={}, b={}, far={})),
        "a copy": lambda n: recipe("karcher", models(a={}, copy={}, far={}, base={})),
        "one step": lambda n: recipe("karcher", models(a={}, b={}, far={}), max_iter=1, tol=1e-4),
        "steps by filter": lambda n: recipe("karcher", models(a={}, far={}, c={}), max_iter=[{"filter": "mlp", "value": 2}, {"value": 5}]),
        "slices": lambda n: recipe("karcher", slices=slices_of((0, n - 1, {"a": {}, "b": {}}, None), (1, n, {"c": {}, "far": {}}, None))),
    },
    "model_stock": {
        "two models": lambda n: recipe("model_stock", models(a={}, b={}), "base"),
        "three models": lambda n: recipe("model_stock", models(a={}, b={}, far={}), "base"),
        "a copy": lambda n: recipe("model_stock", models(a={}, b={}, copy={}), "base"),
        # Rows long enough for mergekit's floor under the product of their lengths (D36).
        "rows": lambda n: recipe("model_stock", models(a={}, far={}, wild={}), "base", filter_wise=True),
        "rows by filter": lambda n: recipe("model_stock", models(far={}, wild={}), "base",
                                           filter_wise=[{"filter": "mlp", "value": True}, {"value": False}]),
        "slices": lambda n: recipe("model_stock", base="base", slices=slices_of(
            (0, n - 1, {"base": {}, "a": {}, "b": {}}, None), (1, n, {"base": {}, "c": {}, "far": {}}, None))),
    },
    "nearswap": {
        "t 0.001": lambda n: recipe("nearswap", models(far={}), "base", t=0.001),
        "gradient": lambda n: recipe("nearswap", models(a={}), "base", t=[0.0001, 0.002]),
        "filters": lambda n: recipe("nearswap", models(far={}), "base", t=[{"filter": "mlp", "value": [0.01, 0]}, {"value": 0.003}]),
        "slices": lambda n: recipe("nearswap", base="base", slices=slices_of(
            (0, n - 1, {"base": {}, "a": {}}, {"t": 0.0003}), (1, n, {"base": {}, "far": {}}, None)), t=0.01),
    },
    "sce": {
        "all positions": lambda n: recipe("sce", models(a={}, b={}, far={}), "base"),
        "select_topk 0.37": lambda n: recipe("sce", models(a={}, b={}, far={}), "base", select_topk=0.37),
        "gradients and filters": lambda n: recipe("sce", models(a={}, c={}, far={}), "base",
                                                  select_topk=[{"filter": "mlp", "value": [0.83, 0.21]}, {"value": 0.477}]),
        "slices": lambda n: recipe("sce", base="base", select_topk=0.653, slices=slices_of(
            (0, n - 1, {"base": {}, "a": {}, "far": {}}, {"select_topk": 0.41}), (1, n, {"base": {}, "b": {}, "far": {}}, None))),
    },
    "arcee_fusion": {
        "large moves": lambda n: recipe("arcee_fusion", models(wild={}), "base"),
        "slices": lambda n: recipe("arcee_fusion", base="base", slices=slices_of(
            (0, n - 1, {"base": {}, "wild": {}}, None), (1, n, {"base": {}, "wild": {}}, None))),
    },
}
# What the released mergekit 0.1.4 does not have: against float64 alone.
ALONE = {
    "ram": {
        "three models": lambda n: recipe("ram", models(a={}, b={}, c={}), "base"),
        "epsilon": lambda n: recipe("ram", models(a={}, b={}, far={}), "base", epsilon=[0.0003, 0.002]),
        "filters": lambda n: recipe("ram", models(a={}, far={}), "base", epsilon=[{"filter": "mlp", "value": 0.001}, {"value": 0.0005}]),
        "slices": lambda n: recipe("ram", base="base", slices=slices_of(
            (0, n - 1, {"base": {}, "a": {}, "b": {}}, {"epsilon": 0.0004}), (1, n, {"base": {}, "c": {}, "far": {}}, None))),
    },
    "ramplus_tl": {
        "three models": lambda n: recipe("ramplus_tl", models(a={}, b={}, c={}), "base"),
        "the paper's values": lambda n: recipe("ramplus_tl", models(a={}, b={}, far={}), "base", epsilon=0.002, r=0.2, alpha=1.0),
        "gradients and filters": lambda n: recipe("ramplus_tl", models(a={}, b={}, far={}), "base", epsilon=[0.0005, 0.003],
                                                  r=[{"filter": "mlp", "value": 0.7}, {"value": 0.3}], alpha=[0.1, 0.9]),
    },
}
CASES_ALONE = [(method, case) for method, cases in ALONE.items() for case in cases]
ALL = [pytest.param(method, case, id=f"{method}-{case}".replace(" ", "_").replace(",", "")) for method, cases in CASES.items() for case in cases]
# What also runs on models stored in half precision.
HALF = [p for p in ALL if p.values[1] in ("three models", "three models, odd weights", "arc, t 0.3", "straight, t 0.3", "normalised, a copy", "scale",
                                          "density 0.5", "density 0.9", "density 1", "whole tensors", "rows of task vectors", "task vectors", "rows", "t 0.001",
                                          "all positions", "large moves")]
# No choice hangs on a rounding, or hardly one.
WITHOUT_TIES = ("linear", "slerp", "task_arithmetic", "passthrough", "nuslerp", "multislerp", "karcher", "model_stock", "nearswap", "arcee_fusion")


def bounds_of(method, case):
    if method in ("nuslerp", "multislerp", "karcher"):
        return LENGTHS
    # The order in which mergekit adds in sce is that of a set: another one in each process.
    return REDUCTIONS if method in ("slerp", "sce") or "rescale" in case else Bounds()


def merge_both(recipe, family, box):
    written = write_recipe(recipe, family.folders, box / "recipe.yml")
    ours, theirs = box / "crucible", box / "mergekit"
    crucible_merge(written, ours)
    error = mergekit(written, theirs)
    assert error is None, error
    our_config, their_config = config_of(ours), config_of(theirs)
    assert layers_of(our_config) == layers_of(their_config)
    assert dtype_of(our_config) == dtype_of(their_config) == recipe.get("out_dtype", recipe["dtype"])
    return read_tensors(ours), read_tensors(theirs)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method, case", ALL)
def test_float32(method, case, architecture, family, box, agreement):
    models = family(architecture)
    made = CASES[method][case](models.layers)
    compare(made, models, *merge_both(made, models, box), agreement.row(method, case), bounds_of(method, case),
            most_excluded=0.01 if method == "karcher" else 1e-3)  # norms of layers, whose angles float32 cannot tell from 0


@pytest.mark.parametrize("architecture, dtype", [("phi", "float16"), ("llama", "bfloat16")])
@pytest.mark.parametrize("method, case", HALF)
def test_half_precision_inputs(method, case, architecture, dtype, family, box, agreement):
    """Halves are exact in float32, so the bounds stay. Differences of halves take few values (a bfloat16 fine-tune moves its
    weights by a few units), so cuts go through many equal magnitudes; there Crucible's choice is still held to the reference's."""
    models = family(architecture, dtype)
    made = CASES[method][case](models.layers)
    compare(made, models, *merge_both(made, models, box), agreement.row(method, case + ", halves in"), bounds_of(method, case),
            most_excluded={"float16": 0.05, "bfloat16": 0.25}[dtype])


@pytest.mark.parametrize("architecture, dtype", [("phi", "float16"), ("llama", "bfloat16")])
@pytest.mark.parametrize("method, case", [p for p in HALF if p.values[0] in WITHOUT_TIES])
def test_half_precision_output(method, case, architecture, dtype, family, box, agreement):
    """Both compute in float32 and round once: at most neighbours."""
    models = family(architecture, dtype)
    made = dict(CASES[method][case](models.layers), out_dtype=dtype)
    ours, theirs = merge_both(made, models, box)
    assert {t.dtype for t in ours.values()} == {getattr(torch, dtype)}
    compare(made, models, ours, theirs, agreement.row(method, case + ", halves in and out"), Bounds(element=1.0), out_dtype=dtype)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method, case", CASES_ALONE)
def test_without_mergekit(method, case, architecture, family, box):
    models = family(architecture)
    made = ALONE[method][case](models.layers)
    written = write_recipe(made, models.folders, box / "recipe.yml")
    crucible_merge(written, box / "crucible")
    assert_exact(made, models, read_tensors(box / "crucible"))
    error = mergekit(written, box / "mergekit")
    assert isinstance(error, RuntimeError) and "Unimplemented merge method" in str(error), "mergekit has it now: move the cases to the others"


# --- the same merge, written in other ways: form -> (recipe, text edits) ---

PLAIN = recipe("ties", models(a=w(0.5), b=w([0.2, 0.9])), "base", density=0.5)
FORMS = {
    "modules": (dict({k: v for k, v in PLAIN.items() if k != "models"}, modules={"default": {"models": PLAIN["models"]}}), ()),
    "mapping references": (dict(PLAIN, models=[dict(m, model={"model": {"path": m["model"]}}) for m in PLAIN["models"]]), ()),
    "numbers as text": (PLAIN, [("weight: 0.5", "weight: '5e-1'"), ("density: 0.5", "density: 5e-1")]),
    "conditions that fall through": (dict(PLAIN, parameters={"density": [{"filter": "nowhere", "value": 0.1}, {"filter": "*", "value": 0.5}]}), ()),
    "booleans as numbers": (dict(PLAIN, parameters={"density": 0.5, "normalize": 1, "rescale": 0}), ()),
    "torch.float32": (dict(PLAIN, dtype="torch.float32"), ()),
    "no dtype": ({k: v for k, v in PLAIN.items() if k != "dtype"}, ()),
    "base listed first": (dict(PLAIN, models=[{"model": "base"}, *PLAIN["models"]]), ()),
    "base listed last, with a weight": (dict(PLAIN, models=[*PLAIN["models"], {"model": "base", "parameters": w(0.3)}]), ()),
    "null and empty keys": (dict(PLAIN, slices=None, modules=None, chat_template=None, tokenizer_source=None), ()),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form, family, box, agreement):
    made, edits = FORMS[form]
    models = family("llama")
    written = write_recipe(made, models.folders, box / "recipe.yml")
    text = written.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    written.write_text(text)
    crucible_merge(written, box / "crucible")
    error = mergekit(written, box / "mergekit")
    assert error is None, error
    compare(PLAIN, models, read_tensors(box / "crucible"), read_tensors(box / "mergekit"), agreement.row("ties", "other forms of a recipe"))


def test_models_of_different_types(family, box, agreement):
    """A float32 base, a float16 and a bfloat16 fine-tune of it."""
    stored = {name: family("llama", dtype) for name, dtype in (("base", "float32"), ("a", "float16"), ("b", "bfloat16"))}
    mixed = family("llama").with_models({name: (f.folders[name], f.tensors[name]) for name, f in stored.items()})
    made = CASES["ties"]["density 0.5"](mixed.layers)
    compare(made, mixed, *merge_both(made, mixed, box), agreement.row("ties", "float32, float16 and bfloat16 in"))
