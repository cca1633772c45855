"""The deterministic methods in float64 numpy, and what decides how far two float32 programs may differ.

Written from the formulas; it shares no code with either program. Where methods rank task vectors, these are
x - base rounded once to float32, as in both programs, so that all three rank the same numbers; elsewhere they are not rounded.
"""
import re
from dataclasses import dataclass, replace

import numpy as np

FAMILY = ("task_arithmetic", "ties", "dare_linear", "dare_ties", "della", "della_linear", "breadcrumbs", "breadcrumbs_ties")
ELECTS = ("ties", "dare_ties", "della", "breadcrumbs_ties")
NORMALIZES = ("ties", "della")  # by default
LAYER = re.compile(r"(\.(?:layers|h)\.)(\d+)\.")
LAST = re.compile(r"^(lm_head|model\.norm|model\.final_layernorm|transformer\.ln_f)\b")


# --- the recipe language ---------------------------------------------------------------------------------------------

def evaluate(setting, name, t):
    """A scalar, a gradient over t, or conditions on the tensor's name. None: no value at this level."""
    if isinstance(setting, dict):
        setting = [setting]
    if isinstance(setting, list) and setting and isinstance(setting[0], dict):
        for entry in setting:
            wanted = entry.get("filter")
            if wanted is None or wanted == "*" or wanted in name:
                return evaluate(entry["value"], name, t)
        return None
    if isinstance(setting, list):
        at = t * (len(setting) - 1)
        low = int(at)
        high = min(low + 1, len(setting) - 1)
        return (1 - (at - low)) * setting[low] + (at - low) * setting[high]
    return setting


def first_of(key, levels, name, t, default=None):
    for level in levels:
        if level and key in level:
            value = evaluate(level[key], name, t)
            if value is not None:
                return value
    return default


@dataclass
class Job:
    """One output tensor: which tensors of which models make it, and with what parameters."""
    name: str
    base: str | None            # input tensor name in the base model
    inputs: list                # (model, input tensor name, parameters)
    options: "Lookup"           # parameters that are not per model


class Lookup:
    """Parameters on demand: p("weight"), p("density", 1.0)."""

    def __init__(self, levels, name, t):
        self.levels, self.tensor, self.t = levels, name, t

    def __call__(self, key, default=None):
        return first_of(key, self.levels, self.tensor, self.t, default)


def jobs_of(recipe, names, layer_count):
    """`names`: the tensors of an input model of `layer_count` layers."""
    base = recipe.get("base_model")
    base_is_input = recipe["merge_method"] in ("linear", "passthrough", "karcher")  # there it is a model like the others, where listed
    slices = recipe.get("slices") or [{"sources": [dict(m, layer_range=[0, layer_count]) for m in recipe["models"]]}]
    top = recipe.get("parameters")

    def job(name, out_slice, t, renumber=None, out_index=None):
        to = (lambda index: LAYER.sub(rf"\g<1>{index}.", name)) if renumber is not None else (lambda index: name)
        out_name = to(out_index)
        inputs = []
        for source in out_slice["sources"]:
            read = to(source["layer_range"][0] + renumber) if renumber is not None else name
            levels = [source.get("parameters"), out_slice.get("parameters"), top]
            inputs.append((source["model"], read, Lookup(levels, read, t)))
        base_name = next((read for model, read, _ in inputs if model == base), inputs[0][1]) if base else None
        if not base_is_input:
            inputs = [i for i in inputs if i[0] != base]
        return Job(out_name, base_name, inputs, Lookup([out_slice.get("parameters"), top], out_name, t))

    jobs = []
    for name in names:
        layer = LAYER.search(name)
        if layer is None:
            jobs.append(job(name, slices[-1] if LAST.match(name) else slices[0], 0.0))
        elif int(layer.group(2)) == 0:
            out_index = 0
            for out_slice in slices:
                start, end = out_slice["sources"][0]["layer_range"]
                for k in range(end - start):
                    t = k / (end - start - 1) if end - start > 1 else 1.0
                    jobs.append(job(name, out_slice, t, k, out_index))
                    out_index += 1
    return jobs


# --- the methods -----------------------------------------------------------------------------------------------------

@dataclass
class Expected:
    value: np.ndarray           # float64
    largest: np.ndarray         # magnitude of the largest operand of each element
    magnitude_tie: np.ndarray   # the element's fate hangs on the order of equal magnitudes at a cut, or on another rounding of mergekit
    sign_tie: np.ndarray        # ... or on the sign of a sum that is almost 0


def spacing(magnitude, dtype="float32"):
    """One unit in the last place of numbers of this magnitude."""
    digits, lowest = {"float32": (23, -126), "bfloat16": (7, -126), "float16": (10, -14)}[dtype]
    exponent = np.frexp(magnitude)[1] - 1
    return np.ldexp(1.0, np.maximum(exponent, lowest) - digits)


def band(delta, skip, keep):
    """Keeps `keep` entries after the `skip` largest, equal magnitudes by lower index. Also: which entries a tie decides."""
    magnitude = np.abs(delta)
    order = np.argsort(-magnitude, kind="stable")
    kept = np.zeros(delta.shape)
    chosen = order[skip:skip + keep]
    kept[chosen] = delta[chosen]
    tie = np.zeros(delta.shape, bool)
    for cut in (skip, skip + keep):
        if 0 < cut < len(order) and magnitude[order[cut - 1]] == magnitude[order[cut]] > 0:
            tie |= magnitude == magnitude[order[cut]]
    return kept, tie


def sparsify(method, delta, p):
    density = p("density", 1.0)
    n = delta.size
    nothing = np.zeros(n, bool)
    if method == "task_arithmetic" or density >= 1:
        return delta, nothing
    keep = int(density * n)
    if method == "ties":
        return band(delta, 0, keep)
    if method.startswith("breadcrumbs"):
        return band(delta, min(int(p("gamma", 0.01) * n), n - keep), keep)
    raise AssertionError(f"{method} with a density below 1 is random")


def rescaled(delta, kept):
    before, after = np.abs(delta).sum(), np.abs(kept).sum()
    return kept * (before / after) if before > 0 and after > 0 else kept


def task_arithmetic(method, base, models, options):
    """`models`: (tensor, parameters), both tensors float32 and flat."""
    tie = np.zeros(base.size, bool)
    kept, weights = [], []
    for x, p in models:
        delta = (x - base).astype(np.float64)  # the subtraction is float32's
        mine, mine_tie = sparsify(method, delta, p)
        if options("rescale", method.startswith(("dare", "della"))):
            mine = rescaled(delta, mine)
        tie |= mine_tie
        kept.append(mine)
        weights.append(p("weight"))
    base64 = base.astype(np.float64)
    if not kept:
        return Expected(base64, np.abs(base64), tie, tie)
    weights = np.array(weights, np.float64)[:, None]
    weighted = np.stack(kept) * weights
    total = weighted.sum(0)
    sign_tie = np.zeros(base.size, bool)
    counted = np.ones(weighted.shape, bool)
    if method in ELECTS:
        counted = np.sign(weighted) == np.where(total >= 0, 1, -1)
        both_sides = (weighted > 0).any(0) & (weighted < 0).any(0)
        sign_tie = both_sides & (np.abs(total) <= 4 * spacing(np.abs(weighted).max(0)))
    divisor = np.ones(base.size)
    if options("normalize", method in NORMALIZES):
        divisor = (weights * counted).sum(0)
        divisor = np.where(divisor == 0 if method in ELECTS else np.abs(divisor) < 1e-8, 1.0, divisor)
    factor = options("lambda", 1.0) / divisor
    value = base64 + (weighted * counted).sum(0) * factor
    largest = np.max([np.abs(base64), *(np.abs(x.astype(np.float64)) for x, _ in models), np.abs(value),
                      *np.abs(weighted * factor)], axis=0)
    return Expected(value, largest, tie, sign_tie)


def linear(models, options):
    weights = np.array([p("weight") for _, p in models], np.float64)
    x = np.stack([x.astype(np.float64) for x, _ in models])
    terms = x * weights[:, None] / (weights.sum() if options("normalize", True) else 1.0)
    value = terms.sum(0)
    nothing = np.zeros(value.shape, bool)
    return Expected(value, np.max([*np.abs(x), *np.abs(terms), np.abs(value)], axis=0), nothing, nothing)


def slerp(base, models, options):
    t = options("t")
    v0 = base.astype(np.float64)
    nothing = np.zeros(v0.shape, bool)
    if not models:
        return Expected(v0, np.abs(v0), nothing, nothing)
    v1 = models[0][0].astype(np.float64)
    unit = [v / np.linalg.norm(v) if np.linalg.norm(v) > 1e-8 else v for v in (v0, v1)]
    cosine = float((unit[0] * unit[1]).sum())
    # float32 and float64 must take the same branch for a comparison to mean anything.
    assert abs(abs(cosine) - 0.9995) > 1e-5, "make another model: this one stands at the edge of slerp's branches"
    if abs(cosine) > 0.9995:
        s0, s1 = 1 - t, t
    else:
        angle = np.arccos(cosine)
        s0, s1 = np.sin(angle * (1 - t)) / np.sin(angle), np.sin(angle * t) / np.sin(angle)
    value = s0 * v0 + s1 * v1
    return Expected(value, np.max([np.abs(v0), np.abs(v1), np.abs(s0 * v0), np.abs(s1 * v1), np.abs(value)], axis=0), nothing, nothing)


def passthrough(models):
    x, p = models[0]
    value = x.astype(np.float64) * p("scale", 1.0)
    nothing = np.zeros(value.shape, bool)
    return Expected(value, np.maximum(np.abs(x.astype(np.float64)), np.abs(value)), nothing, nothing)


def undecided(*arrays):
    """Expected without elements that a tie decides; the operands' magnitudes decide the largest."""
    value, operands = arrays[0], [np.abs(a) for a in arrays]
    nothing = np.zeros(value.shape, bool)
    return Expected(value, np.max(operands, axis=0), nothing, nothing)


def norm(x):
    return np.sqrt((x * x).sum(-1, keepdims=True))


def vectors(base, models):
    """Task vectors (not rounded: what is kept of them matters to a twentieth of a unit) where there is a base, else the models; and what to add back."""
    if base is None:
        return [x.astype(np.float64) for x, _ in models], np.zeros(models[0][0].size)
    return [x.astype(np.float64) - base.astype(np.float64) for x, _ in models], base.astype(np.float64)


def nuslerp(base, models, options, shape):
    if len(models) == 1:
        return undecided(models[0][0].astype(np.float64))
    weights = [p("weight") for _, p in models]
    t = 0.5 if abs(sum(weights)) < 1e-6 else weights[1] / sum(weights)
    (x0, x1), back = vectors(base, models)
    if options("nuslerp_flatten", True):
        lines = lambda x: x.reshape(1, -1)
        flat = lambda x: x.ravel()
    elif options("nuslerp_row_wise", False):
        lines = lambda x: np.moveaxis(x.reshape(shape), 0, -1)
        flat = lambda x: np.moveaxis(x, -1, 0).ravel()
    else:
        lines = lambda x: x.reshape(shape)
        flat = lambda x: x.ravel()
    v0, v1 = lines(x0), lines(x1)
    cosine = (v0 / np.maximum(norm(v0), 1e-7) * (v1 / np.maximum(norm(v1), 1e-7))).sum(-1, keepdims=True).clip(-1, 1)
    angle = np.arccos(cosine)
    sine = np.sin(angle)
    straight = sine < 1e-6
    divisor = np.where(straight, 1.0, sine)
    s0 = np.where(straight, 1 - t, np.sin((1 - t) * angle) / divisor)
    s1 = np.where(straight, t, np.sin(t * angle) / divisor)
    terms = flat(s0 * v0), flat(s1 * v1)
    return undecided(back + sum(terms), back, *terms, *(x.astype(np.float64) for x, _ in models))


def multislerp(base, models, options):
    if len(models) == 1:
        return undecided(models[0][0].astype(np.float64))
    x, back = vectors(base, models)
    x = np.stack(x)
    eps = options("eps", 1e-8)
    weights = np.array([p("weight") for _, p in models], np.float64)
    if options("normalize_weights", True):
        weights = weights / weights.sum()
    lengths = norm(x)[:, 0]
    terms = (weights / (lengths + eps))[:, None] * x
    length = norm(terms.sum(0))[0]
    if length < eps:
        terms = weights[:, None] * x
    else:
        terms = terms * (np.cos(eps) * (weights * lengths).sum() / length)
    return undecided(back + terms.sum(0), back, *terms, *(x.astype(np.float64) for x, _ in models))


def karcher(models, options):
    x = np.stack([x.astype(np.float64) for x, _ in models])
    if len(x) == 1:
        return undecided(x[0])
    tol = options("tol", 1e-5)
    lengths = norm(x)[:, 0]
    units = [v / n for v, n in zip(x, lengths) if n > tol]
    if not units:
        return undecided(np.zeros(x[0].size))
    u = sum(units) / len(units)
    u = units[0] if norm(u)[0] < tol else u / norm(u)
    # A cosine so near 1 may be 1 in float32: mergekit then leaves that model out of the step, and another as near not.
    unsure = any(1e-12 < 1 - float(unit @ u) < 16 * 2.0**-24 for unit in units)
    for _ in range(int(options("max_iter", 10))):
        tangent = np.zeros(u.size)
        for unit in units:
            cosine = float(np.clip(u @ unit, -1, 1))
            angle = np.arccos(cosine)
            if angle >= tol and cosine > -1 + 1e-12:
                tangent += angle / np.sin(angle) * (unit - cosine * u) / len(units)
        size = norm(tangent)[0]
        if size < tol:
            break
        u = np.cos(size) * u + np.sin(size) * tangent / size
        u /= norm(u)
    expected = undecided(lengths.mean() * u, *x)
    return replace(expected, magnitude_tie=np.ones(u.shape, bool)) if unsure else expected


def model_stock(base, models, options, shape):
    base64 = base.astype(np.float64)
    if not models:
        return undecided(base64)
    delta, _ = vectors(base, models)
    rows = (lambda d: d.reshape(-1, shape[-1] if shape else 1)) if options("filter_wise", False) else (lambda d: d.reshape(1, -1))
    lines = [rows(d) for d in delta]
    cosines = []
    for i, d in enumerate(lines):
        for e in lines[i + 1:]:
            norms = norm(d) * norm(e)
            cosines.append(np.where(norms > 0, (d * e).sum(-1, keepdims=True) / np.where(norms > 0, norms, 1), 0).clip(-1, 1))
    n, c = len(lines), sum(cosines) / len(cosines)
    t = n * c / (1 + (n - 1) * c)
    terms = [(t / n * d).ravel() for d in lines]
    # mergekit adds t times the mean of the models to (1 - t) times the base.
    factor = np.broadcast_to(np.abs(t) + np.abs(1 - t), lines[0].shape).ravel()
    largest = factor * np.max([np.abs(base64), *(np.abs(x.astype(np.float64)) for x, _ in models)], axis=0)
    return undecided(base64 + sum(terms), base64, *terms, largest)


def nearswap(base, models, options):
    a, b = base.astype(np.float64), models[0][0].astype(np.float64)
    share = (options("t") / np.maximum(np.abs(a - b), 1e-6)).clip(0, 1)
    return undecided(share * b + (1 - share) * a, a, b)


def ram(method, base, models, options):
    base64 = base.astype(np.float64)
    epsilon = options("epsilon", 1e-5)
    if not models:
        return undecided(base64)
    delta = np.stack(vectors(base, models)[0])
    active = np.abs(delta) > epsilon
    count = active.sum(0)
    alone, shared = active & (count == 1), active & (count > 1)
    factor = np.ones(len(models))
    if method == "ramplus_tl":
        overlap = shared.sum(1) / np.maximum(alone.sum(1), epsilon)
        factor = 1 + options("r", 0.1) * overlap.clip(0, options("alpha", 0.2))
    terms = delta * (alone * factor[:, None] + shared / np.maximum(count, 1))
    expected = undecided(base64 + terms.sum(0), base64, *terms, *(x.astype(np.float64) for x, _ in models))
    expected.sign_tie = expected.magnitude_tie = (np.abs(np.abs(delta) - epsilon) <= 1e-6 * epsilon).any(0)
    return expected


def sce(base, models, options):
    base64 = base.astype(np.float64)
    if not models:
        return undecided(base64)
    delta = np.stack(vectors(base, models)[0])
    tie = np.zeros(base.size, bool)
    selected = np.ones(base.size, bool)
    share = options("select_topk", 1.0)
    if share < 1:
        spread = delta.var(0)
        spread[(delta == delta[0]).all(0)] = 0
        keep = int(np.count_nonzero(spread) * share)
        if keep == 0:
            return undecided(base64)
        order = np.argsort(-spread, kind="stable")
        selected[order[keep:]] = False
        above, below = spread[order[keep - 1]], spread[order[keep]]
        if below > above * (1 - 1e-5):  # mergekit's variances are float32's
            tie = (spread >= below * (1 - 1e-5)) & (spread <= above * (1 + 1e-5))
    masked = delta * selected
    energy = (masked**2).mean(1)
    share = energy / energy.sum() if energy.sum() > 0 else np.full(len(delta), 1 / len(delta))
    merged = masked if options("select", "deltas") == "deltas" else delta
    total = merged.sum(0)
    wins = np.sign(merged) == np.where(total >= 0, 1, -1)
    divisor = np.maximum((share[:, None] * wins).sum(0), 1e-6)
    terms = merged * share[:, None] * wins / divisor
    expected = undecided(base64 + terms.sum(0), base64, *terms, *(x.astype(np.float64) for x, _ in models))
    both_sides = (merged > 0).any(0) & (merged < 0).any(0)
    expected.magnitude_tie = tie
    expected.sign_tie = both_sides & (np.abs(total) <= 4 * spacing(np.abs(merged).max(0)))
    return expected


def arcee_fusion(base, models, shape, unsure=1e-6):
    """`unsure`: how far rounding may move a score, relatively."""
    model, _ = models[0]
    x, b = model.astype(np.float64), base.astype(np.float64)

    def softmax(v):
        rows = v.reshape(shape) if shape else v
        e = np.exp(rows - rows.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True) + 1e-8

    p, q = softmax(x), softmax(b)
    divergence = (p * np.log(p / q)).sum(-1, keepdims=True)
    score = (np.abs(model.astype(np.float64) - base.astype(np.float64)).reshape(p.shape) * divergence).ravel()
    ascending = np.sort(score)
    first, second, third = (ascending[int(q * (score.size - 1))] for q in (0.25, 0.5, 0.75))
    threshold = second + 1.5 * (third - first)
    expected = undecided(np.where(score >= threshold, x, b), x, b)
    expected.magnitude_tie = expected.sign_tie = np.abs(score - threshold) <= unsure * (score + second + 1.5 * (third + first))
    return expected


def expected_of(recipe, job, tensors):
    """`tensors`: model name -> tensor name -> float32 numpy array (any shape)."""
    flat = lambda model, name: tensors[model][name].astype(np.float32).ravel()
    models = [(flat(model, name), p) for model, name, p in job.inputs]
    method = recipe["merge_method"]
    base = flat(recipe["base_model"], job.base) if job.base else None
    shape = tensors[job.inputs[0][0] if job.inputs else recipe["base_model"]][job.inputs[0][1] if job.inputs else job.base].shape
    if method in FAMILY:
        return task_arithmetic(method, base, models, job.options)
    one_of = {
        "arcee_fusion": lambda: arcee_fusion(base, models, shape),
        "karcher": lambda: karcher(models, job.options),
        "linear": lambda: linear(models, job.options),
        "model_stock": lambda: model_stock(base, models, job.options, shape),
        "multislerp": lambda: multislerp(base, models, job.options),
        "nearswap": lambda: nearswap(base, models, job.options),
        "nuslerp": lambda: nuslerp(base, models, job.options, shape),
        "passthrough": lambda: passthrough(models),
        "ram": lambda: ram(method, base, models, job.options),
        "ramplus_tl": lambda: ram(method, base, models, job.options),
        "sce": lambda: sce(base, models, job.options),
        "slerp": lambda: slerp(base, models, job.options),
    }
    return one_of[method]()
