"""Models of several parts, saved by transformers and safetensors: what Crucible makes of them loads, and is what torch makes of them."""
import json
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertModel, CLIPTextConfig, CLIPTextModel

from checks import CRUCIBLE

TINY = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=40, max_position_embeddings=32)


def crucible(*args):
    done = subprocess.run([str(CRUCIBLE), *map(str, args)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout


def linear(folder, models, command="merge"):
    (folder / "recipe.yml").write_text("merge_method: linear\nmodels:\n" + "".join(f"- model: {folder / m}\n  parameters: {{weight: {w}}}\n" for m, w in models))
    crucible(command, folder / "recipe.yml", folder / "out")
    crucible("verify", folder / "out", "--all")
    return folder / "out"


def average(one, other):
    return {n: ((one[n].double() + 3 * other[n].double()) / 4).float() for n in one}


def same(got, expected):
    assert set(got) == set(expected)
    return all(torch.equal(got[n], expected[n]) for n in got)


def save_sentence(folder, seed):
    torch.manual_seed(seed)
    BertModel(BertConfig(**TINY)).save_pretrained(folder)
    dense = torch.nn.Linear(16, 4)
    (folder / "2_Dense").mkdir()
    save_file({"linear." + n: t.detach() for n, t in dense.named_parameters()}, folder / "2_Dense" / "model.safetensors", {"format": "pt"})
    (folder / "2_Dense" / "config.json").write_text(json.dumps({"in_features": 16, "out_features": 4, "bias": True}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps([{"idx": i, "path": p} for i, p in enumerate(["", "1_Pooling", "2_Dense"])]))
    return BertModel.from_pretrained(folder).state_dict(), load_file(folder / "2_Dense" / "model.safetensors")


def test_sentence_transformer(tmp_path):
    one, other = save_sentence(tmp_path / "a", 1), save_sentence(tmp_path / "b", 2)
    out = linear(tmp_path, [("a", 1), ("b", 3)])
    model, info = AutoModel.from_pretrained(out, output_loading_info=True)
    assert not any(info.values()), info
    floats = {n: t for n, t in one[0].items() if t.is_floating_point()}
    assert same({n: model.state_dict()[n] for n in floats}, average(floats, other[0]))
    dense = load_file(out / "2_Dense" / "model.safetensors")
    assert same(dense, average(one[1], other[1]))
    layer = torch.nn.Linear(**json.loads((out / "2_Dense" / "config.json").read_text()))
    layer.load_state_dict({n.removeprefix("linear."): t for n, t in dense.items()})
    pooled = model(torch.arange(8)[None]).last_hidden_state.mean(1)
    assert torch.isfinite(layer(pooled)).all()


@pytest.mark.parametrize("shards", ["50GB", "8KB"])
def test_text_encoder_of_a_pipeline(tmp_path, shards):
    kept = {}
    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        model = CLIPTextModel(CLIPTextConfig(projection_dim=16, **TINY))
        model.save_pretrained(tmp_path / name / "text_encoder", max_shard_size=shards)
        save_file({"conv_in.weight": torch.randn(4, 3, 3, 3)}, tmp_path / name / "diffusion.tmp", {"format": "pt"})
        (tmp_path / name / "unet").mkdir()
        (tmp_path / name / "diffusion.tmp").rename(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors")
        (tmp_path / name / "model_index.json").write_text(json.dumps({"text_encoder": ["transformers", "CLIPTextModel"], "unet": ["diffusers", "UNet2DConditionModel"]}))
        kept[name] = (model.state_dict(), load_file(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors"))
    out = linear(tmp_path, [("a", 1), ("b", 3)], "raw")
    model, info = CLIPTextModel.from_pretrained(out / "text_encoder", output_loading_info=True)
    assert not any(info.values()), info
    floats = {n: t for n, t in kept["a"][0].items() if t.is_floating_point()}
    assert same({n: model.state_dict()[n] for n in floats}, average(floats, kept["b"][0]))
    assert same(load_file(out / "unet" / "diffusion_pytorch_model.safetensors"), average(kept["a"][1], kept["b"][1]))
