"""Records of merges that never ran: crucible.json, version 2, of any size, with numbers that agree with each other. Deterministic."""
import json
import math
import os
import random
import subprocess

LAYER_TENSORS = [("self_attn.q_proj", "attention", 4), ("self_attn.k_proj", "attention", 1), ("self_attn.v_proj", "attention", 1),
                 ("self_attn.o_proj", "attention", 4), ("mlp.gate_proj", "mlp", 11), ("mlp.up_proj", "mlp", 11), ("mlp.down_proj", "mlp", 11),
                 ("input_layernorm", "norm", 0), ("post_attention_layernorm", "norm", 0)]

RECIPE = """\
models:
- model: ./model_a
  parameters:
    weight: 1.0
- model: ./model_b
  parameters:
    weight: [0.2, 0.8]
merge_method: della
base_model: microsoft/phi-2
parameters:
  density: 0.8
  epsilon: 0.3
  normalize: true
dtype: float16
"""


def ramp(density, epsilon):
    """Keep probability of each tenth: clamped to [0, 1], with the density as mean."""
    at = lambda c: [min(1.0, max(0.0, c + 2 * epsilon * (d - 4.5) / 10)) for d in range(10)]
    low, high = -1.0, 2.0
    for _ in range(60):
        c = (low + high) / 2
        low, high = (c, high) if sum(at(c)) < 10 * density else (low, c)
    return at(high)


def record(layers=6, models=2, hidden=64, experts=0, density=0.8, epsilon=0.3, ignore_epsilon_of=None, sparse=True, seed=1, names=None):
    """`ignore_epsilon_of`: number of a model (1, 2, ...) whose keep rates are flat. `experts`: per layer, three tensors each."""
    rng = random.Random(seed)
    names = names or ["./model_" + "abcdefgh"[i] for i in range(models)]
    inputs = [{"model": n, "id": n, "path": "../" + n.strip("./"), "base": False,
               "files": [{"name": "model.safetensors", "bytes": 123456789, "header_hash": "%032x" % rng.getrandbits(128)}]} for n in names]
    inputs.append({"model": "microsoft/phi-2", "id": "microsoft/phi-2", "path": "../base", "base": True,
                   "files": [{"name": "model.safetensors", "bytes": 123456789, "header_hash": "%032x" % rng.getrandbits(128)}]})
    base = models
    fields = {"normalize": {"help": "divide by the sum of the weights", "symbol": "", "type": "bool"},
              "lambda": {"help": "scale of the merged task vector", "symbol": "\u03bb", "type": "number"},
              "weight": {"help": "weight of the model", "symbol": "w_i", "type": "number"}}
    if sparse:
        fields["density"] = {"help": "share of the task vector that is kept", "symbol": "d_i", "type": "number in [0, 1]"}
        fields["epsilon"] = {"help": "half the range of the keep probabilities", "symbol": "\u03b5_i", "type": "number in [0, 1]"}
    sets = [{"normalize": {"value": True, "shown": "true", "from": "global", "line": 13, "column": 14},
             "lambda": {"value": 1.0, "shown": "1", "from": "default"}}]

    known = {}

    def set_of(model, layer):
        if model == 0:
            weight = {"value": 1.0, "shown": "1", "from": "model", "line": 4, "column": 13}
        else:
            t = (layer if layer is not None else 0) / max(1, layers - 1)
            w = round(0.2 + 0.6 * t, 4)
            weight = {"value": w, "shown": str(w), "from": "model", "line": 7, "column": 13, "t": t}
        s = {"weight": weight}
        if sparse:
            s["density"] = {"value": density, "shown": str(density), "from": "global", "line": 11, "column": 12}
            s["epsilon"] = {"value": epsilon, "shown": str(epsilon), "from": "global", "line": 12, "column": 12}
        key = (model, weight["shown"])
        if key not in known:
            known[key] = len(sets)
            sets.append(s)
        return known[key]

    totals = [{"input": i, "model": names[i]} for i in range(models)]
    if sparse:
        for t in totals:
            t.update(entries=0, kept=0, planned=0.0, variance=0.0, l1_before=0.0, l1_after=0.0, votes=0, votes_lost=0,
                     deciles=[{"entries": 0, "kept": 0, "planned": 0.0, "variance": 0.0} for _ in range(10)])
    sums = {"elements": 0, "conflicts": 0, "square": [0.0] * models, "dot": [0.0] * models, "out": 0.0, "bytes": 0}
    tensors = []
    asked_ramp, flat = ramp(density, epsilon), ramp(density, 0)

    def tensor(name, shape, role, layer=None):
        n = math.prod(shape)
        depth = (layer or 0) / max(1, layers - 1)
        one = {"name": name, "dtype": "F16", "shape": shape, "role": role, "file": 0, "hash": "%032x" % rng.getrandbits(128), "hash_chunk": 1 << 20}
        if layer is not None:
            one.update(layer=layer, stack="model.layers")
        one.update(t=round(depth, 6), **{"global": 0})
        one["models"] = []
        out = 0.0
        for i in range(models):
            norm = math.sqrt(n) * 2e-3 * (1 + 0.5 * i) * (1 + 0.6 * depth) * rng.uniform(0.9, 1.1) * (0.4 if role == "norm" else 1)
            m = {"input": i, "parameters": set_of(i, layer)}
            if sparse:
                planned = kept = variance = 0.0
                for d, (asked, used) in enumerate(zip(asked_ramp, flat if ignore_epsilon_of == i + 1 else asked_ramp)):
                    e = n * (d + 1) // 10 - n * d // 10
                    k = min(e, max(0, round(rng.gauss(e * used, math.sqrt(e * used * (1 - used))))))
                    t = totals[i]["deciles"][d]
                    t["entries"] += e
                    t["kept"] += k
                    t["planned"] += e * asked
                    t["variance"] += e * asked * (1 - asked)
                    planned, kept, variance = planned + e * asked, kept + k, variance + e * asked * (1 - asked)
                votes, l1 = int(kept), norm * math.sqrt(n) * 0.8
                lost = int(votes * (0.18 + 0.06 * i + 0.05 * depth))
                m.update(entries=n, kept=int(kept), planned=planned, l1_before=l1, l1_after=l1 * rng.uniform(0.999, 1.001), votes=votes, votes_lost=lost)
                t = totals[i]
                t["entries"] += n
                t["kept"] += int(kept)
                t["planned"] += planned
                t["variance"] += variance
                t["l1_before"] += m["l1_before"]
                t["l1_after"] += m["l1_after"]
                t["votes"] += votes
                t["votes_lost"] += lost
            m.update(norm=norm, cosine=round(0.75 - 0.15 * i + 0.05 * math.sin(6 * depth) + rng.uniform(-0.02, 0.02), 6))
            one["models"].append(m)
            out += norm * norm
            sums["square"][i] += norm * norm
        one["out_norm"] = 0.7 * math.sqrt(out / models)
        for i, m in enumerate(one["models"]):
            sums["dot"][i] += m["cosine"] * m["norm"] * one["out_norm"]
        one["base_norm"] = math.sqrt(n) * 0.03
        one["cosine_base"] = 0.01
        if models > 1:
            one["sign_conflicts"] = int(n * (0.30 + 0.12 * depth + (0.06 if role == "mlp" else 0)))
            sums["conflicts"] += one["sign_conflicts"]
        one.update(nonfinite=0, saturated=0)
        sums["elements"] += n
        sums["out"] += one["out_norm"] ** 2
        sums["bytes"] += 2 * n
        tensors.append(one)

    tensor("lm_head.weight", [hidden * 8, hidden], "head")
    tensor("model.embed_tokens.weight", [hidden * 8, hidden], "embedding")
    for layer in range(layers):
        for suffix, role, wide in LAYER_TENSORS:
            if experts and role == "mlp":
                continue
            shape = [hidden] if wide == 0 else [hidden * wide // 4 or 1, hidden]
            tensor("model.layers.%d.%s.weight" % (layer, suffix), shape, role, layer)
        for e in range(experts):
            for part in ("gate_proj", "up_proj", "down_proj"):
                tensor("model.layers.%d.mlp.experts.%d.%s.weight" % (layer, e, part), [hidden, hidden], "expert", layer)
        if experts:
            tensor("model.layers.%d.mlp.gate.weight" % layer, [experts, hidden], "router", layer)
    tensor("model.norm.weight", [hidden], "norm")
    # One buffer that is no weight.
    tensors.append({"name": "model.rotary.inv_freq", "dtype": "I64", "shape": [32], "role": "other", "file": 0, "hash": "0" * 32,
                    "hash_chunk": 1 << 20, "copied_from": "microsoft/phi-2", "reason": "integers are not averaged"})

    for i, t in enumerate(totals):
        t["norm"] = math.sqrt(sums["square"][i])
        t["cosine"] = sums["dot"][i] / (t["norm"] * math.sqrt(sums["out"]))
        t["angle_degrees"] = math.degrees(math.acos(t["cosine"]))
    expectations = []
    checks = 0
    if sparse:
        for i, t in enumerate(totals):
            z = (t["kept"] - t["planned"]) / math.sqrt(t["variance"])
            expectations.append({"parameter": "density", "model": names[i], "what": "share kept", "measured": t["kept"] / t["entries"],
                                 "planned": t["planned"] / t["entries"], "sigmas": z, "count": len(tensors), "ok": abs(z) < 7})
            for d, x in enumerate(t["deciles"]):
                z = (x["kept"] - x["planned"]) / math.sqrt(x["variance"]) if x["variance"] else 0.0
                expectations.append({"parameter": "epsilon", "model": names[i], "tensor": tensors[d % len(tensors)]["name"],
                                     "what": "keep rate of magnitude tenth %d" % (d + 1), "measured": x["kept"] / x["entries"],
                                     "planned": x["planned"] / x["entries"], "sigmas": z, "tolerance": 7.0, "count": len(tensors), "ok": abs(z) < 7})
            expectations.append({"parameter": "density", "model": names[i], "what": "L1 norm after rescaling", "measured": 1.0003, "planned": 1.0,
                                 "tolerance": 0.01, "count": len(tensors), "ok": True})
        checks = sum(e["count"] for e in expectations)

    def bell(peak, width, total, zeros=0):
        counts = [int(total * math.exp(-((e - peak) / width) ** 2 / 2) * (1 if e < peak + 3 * width else 0)) for e in range(-30, 4)]
        return {"first_exponent": -30, "counts": counts, "zeros": zeros}

    sampled = min(sums["elements"], 4_000_000)
    histograms = [{"of": "task vector", "input": i, **bell(-10 + 0.6 * i, 1.6, sampled / 4, 0)} for i in range(models)]
    if sparse:
        histograms += [{"of": "kept", "input": i, **bell(-9.5 + 0.6 * i, 1.5, sampled / 5, int(sampled * 0.2))} for i in range(models)]
    histograms += [{"of": "result minus base", **bell(-10.2, 1.7, sampled / 4, int(sampled * 0.05))}, {"of": "result", **bell(-6, 1.5, sampled / 4, 12)}]
    return {
        "format": "crucible-record", "version": 2, "program": "0.1.0", "recipe_file": "recipe.yml", "recipe": RECIPE,
        "canonical_recipe": RECIPE, "method": "della" if sparse else "linear", "method_title": "DELLA" if sparse else "Linear",
        "formula": "out = base + \u03bb \u03a3 w_i \u03b4_i" + ("\n\u03b4_i kept with p(r), mean density" if sparse else ""),
        "seed": 42, "shard_bytes": 5000000000, "plan_digest": "%032x" % rng.getrandbits(128), "inputs": inputs,
        "files": [{"name": "model.safetensors", "bytes": sums["bytes"], "header_hash": "%032x" % rng.getrandbits(128)}],
        "companions": [{"name": "config.json", "bytes": 734, "hash": "%032x" % rng.getrandbits(128)}],
        "notices": [{"text": "`weight` of ./model_b changes with the layer", "line": 7, "column": 13}], "unused_parameters": [],
        "layer_map": ["%d <- %s %d" % (i, n, i) for i in range(min(layers, 8)) for n in names],
        "fields": fields, "parameters": sets, "tensors": tensors,
        "measured": {"elements": sums["elements"], "sampled": sampled, "sign_conflicts": sums["conflicts"], "nonfinite": 0, "saturated": 0,
                     "out_norm": math.sqrt(sums["out"]), "base_norm": math.sqrt(sums["elements"]) * 0.03, "cosine_base": 0.01,
                     "remarks": [], "models": totals, "histograms": histograms},
        "expectations": expectations, "audit": {"on": True, "checks": checks, "false_alarm": 1e-9},
        "run": {"seconds": 12.34, "bytes_read": sums["bytes"] * (models + 1), "bytes_written": sums["bytes"], "peak_bytes": 812345678,
                "predicted_peak_bytes": 900000000, "workers": 8, "cpu_level": "AVX2"},
    }


def write_record(folder, value):
    """The record as the program would have written it, checksum included."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "crucible.json")
    with open(path, "w") as f:
        json.dump(value, f)
    subprocess.run([os.environ["SEAL_RECORD"], path], check=True)
    return folder


if __name__ == "__main__":
    import sys
    where = sys.argv[1]
    write_record(where + "/small", record())
    write_record(where + "/failed", record(ignore_epsilon_of=2))
    write_record(where + "/linear", record(sparse=False))
    write_record(where + "/large", record(layers=80, models=4, hidden=512))
    write_record(where + "/moe", record(layers=60, models=3, experts=256))
