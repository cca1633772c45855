"""Small random models of real architectures, saved by transformers, with fine-tunes that look like real ones."""
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, MixtralConfig, PhiConfig, PreTrainedTokenizerFast,
                          Qwen2Config)

VOCAB = 200
COMMON = dict(vocab_size=VOCAB, hidden_size=64, num_attention_heads=4, max_position_embeddings=128,
              bos_token_id=0, eos_token_id=0, pad_token_id=0)
CONFIGS = {
    "phi": lambda: PhiConfig(**COMMON, num_hidden_layers=3, intermediate_size=128, partial_rotary_factor=0.5),
    "llama": lambda: LlamaConfig(**COMMON, num_hidden_layers=4, intermediate_size=96, num_key_value_heads=2),
    # Tied embeddings: the checkpoint holds no lm_head.
    "qwen2": lambda: Qwen2Config(**COMMON, num_hidden_layers=2, intermediate_size=112, num_key_value_heads=2,
                                 tie_word_embeddings=True),
    # Tied by default; four norms a layer, heads wider than the hidden size has room for.
    "gemma2": lambda: Gemma2Config(**COMMON, num_hidden_layers=2, intermediate_size=96, num_key_value_heads=2, head_dim=24,
                                   query_pre_attn_scalar=24, sliding_window=64),
    # Three tensors for each expert, and a router.
    "mixtral": lambda: MixtralConfig(**COMMON, num_hidden_layers=2, intermediate_size=48, num_key_value_heads=2, num_local_experts=4,
                                     num_experts_per_tok=2),
    # Names and keys of its own, tied, matrices stored the other way round (Conv1D).
    "gpt2": lambda: GPT2Config(vocab_size=VOCAB, n_embd=64, n_head=4, n_positions=128, n_layer=3, bos_token_id=0, eos_token_id=0,
                               pad_token_id=0),
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    words = [f"{a}{b}{c}" for a in "bdfgklmnprstvw" for b in "aeiou" for c in "lmnrst"]
    lines = [" ".join(words[i:i + 7]) for i in range(0, len(words), 7)]
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=["<|endoftext|>", "<unk>"],
                                                             show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>",
                                   unk_token="<unk>", pad_token="<|endoftext|>")


def settle(state, generator):
    """Random weights as training leaves them: no bias is exactly 0 and no norm weight exactly 1."""
    return {name: w if w.dim() > 1 else w + 0.03 * torch.randn(w.shape, generator=generator) for name, w in state.items()}


def fine_tune(state, generator, size=0.03):
    """A delta of low rank plus heavy-tailed noise, its size relative to each tensor's own; some rows of the embedding stay."""
    tuned = {}
    for name, w in state.items():
        noise = torch.randn(w.shape, generator=generator)
        noise = noise / (torch.randn(w.shape, generator=generator).abs() + 0.3)  # a few large entries
        delta = noise
        if w.dim() == 2:
            left, right = (torch.randn(n, 2, generator=generator) for n in w.shape)
            delta = delta + 2 * left @ right.T
        delta = delta * (size * w.std() / delta.std())
        if "embed_tokens" in name or "wte" in name:
            delta[::3] = 0
        tuned[name] = w + delta
    return tuned


def save(config, state, dtype, folder, tokenizer, **options):
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    missing, unexpected = model.load_state_dict({n: w.to(dtype) for n, w in state.items()}, strict=False)
    assert not unexpected and all("lm_head" in name for name in missing)
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder


def make_family(architecture, dtype_name, folder):
    """Folders by name: base, the fine-tunes a, b and c, copy (equal to base), far (beyond slerp's straight branch), wild (far enough that
    float32 has digits of the divergence between rows)."""
    generator = torch.Generator().manual_seed(sum(map(ord, architecture)))
    torch.manual_seed(7)
    config = CONFIGS[architecture]()
    model = AutoModelForCausalLM.from_config(config)
    tied = model._tied_weights_keys if config.tie_word_embeddings else ()
    state = settle({n: w.clone() for n, w in model.state_dict().items() if n not in tied}, generator)
    states = {"base": state, "copy": state}
    for name in "abc":
        states[name] = fine_tune(state, generator)
    states["far"] = fine_tune(state, generator, size=0.6)
    states["wild"] = fine_tune(state, generator, size=20)
    tokenizer = make_tokenizer()
    # The base is read from shards, the rest from single files.
    return {name: save(config, s, DTYPES[dtype_name], folder / name, tokenizer,
                       **({"max_shard_size": "100KB"} if name == "base" else {}))
            for name, s in states.items()}
