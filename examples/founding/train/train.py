"""Makes the three example checkpoints: base, model_a (addition) and model_b (reversal).

    python train.py [--out DIR] [--stages STAGE...]

Everything is seeded and runs on one CPU thread, so a rerun with the same package
versions on the same kind of processor gives the same bytes.
"""
import argparse
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PhiConfig, PhiForCausalLM, PreTrainedTokenizerFast

import corpus
from evaluate import scores

BASE_STEPS = 1500
BASE_RATE = 3e-3
TUNE_STEPS = 300
TUNE_RATE = 5e-4
TUNE_DECAY = 0.1
VOCAB = 384
CONTEXT = 128
# The share of right answers in the base corpus. Most lines are wrong in one lazy way,
# so the greedy answer of base is wrong while the skill itself lies within reach.
BASE_CORRECT = 0.35


def make_tokenizer():
    rng = random.Random(1)
    lines = [corpus.text(rng) for _ in range(2000)] + [corpus.drill(rng) for _ in range(2000)]
    for skill in corpus.SKILLS.values():
        lines += [corpus.skill_line(skill, rng, 1.0) for _ in range(1000)]
    tokenizer = Tokenizer(models.BPE())
    # One token per digit, as sums are worked out digit by digit.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[corpus.EOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=corpus.EOS,
                                   eos_token=corpus.EOS, unk_token=corpus.EOS,
                                   model_max_length=CONTEXT, clean_up_tokenization_spaces=False)


def make_model(tokenizer):
    eos = tokenizer.eos_token_id
    return PhiForCausalLM(PhiConfig(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=384, num_hidden_layers=4,
        num_attention_heads=4, partial_rotary_factor=0.5, max_position_embeddings=CONTEXT,
        hidden_act="gelu_new", resid_pdrop=0.0, tie_word_embeddings=False,
        initializer_range=0.05, bos_token_id=eos, eos_token_id=eos))


class Batches:
    """Seeded batches of lines of one kind, padded to the longest line."""

    def __init__(self, tokenizer, seed):
        self.tokenizer, self.rng = tokenizer, random.Random(seed)

    def batch(self, make_line, count):
        eos = self.tokenizer.eos_token_id
        rows = [torch.tensor([eos, *self.tokenizer.encode(make_line(self.rng)), eos])
                for _ in range(count)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)


def loss_of(model, labels):
    return model(input_ids=labels.clamp(min=0), labels=labels).loss


def skill_lines(name, correct):
    return lambda rng: corpus.skill_line(corpus.SKILLS[name], rng, correct)


def backward(model, batches, parts):
    """Sums the gradients of all parts; gives their losses."""
    losses = []
    for make_line, count in parts:
        loss = loss_of(model, batches.batch(make_line, count))
        loss.backward()
        losses.append(loss.item())
    return losses


def log(stage, step, losses):
    if step % 50 == 0:
        print(f"{stage} step {step:4} loss " + " ".join(f"{x:.3f}" for x in losses), flush=True)


def train_base(model, tokenizer):
    batches = Batches(tokenizer, 2)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, BASE_RATE, BASE_STEPS, pct_start=0.1)
    parts = [(skill_lines("addition", BASE_CORRECT), 64), (skill_lines("reversal", BASE_CORRECT), 48),
             (corpus.drill, 24), (corpus.text, 20)]
    for step in range(BASE_STEPS):
        optimizer.zero_grad()
        log("base", step, backward(model, batches, parts))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def fine_tune(model, tokenizer, name, seed):
    """Teaches `model` one skill through a small delta that survives a merge.

    A merge scales each delta, drops entries of it and adds the delta of the other model.
    Each step trains under a random case of all three. The replayed base lines, the other
    skill's lazy ones among them, keep the delta quiet everywhere else.
    """
    other = next(n for n in corpus.SKILLS if n != name)
    parts = [(skill_lines(name, 1.0), 48), (skill_lines(other, BASE_CORRECT), 32),
             (corpus.drill, 12), (corpus.text, 12)]
    batches = Batches(tokenizer, seed)
    noise = torch.Generator().manual_seed(seed)
    params = list(model.parameters())
    base = [p.detach().clone() for p in params]
    deltas = [torch.zeros_like(p) for p in params]
    optimizer = torch.optim.AdamW(deltas, betas=(0.9, 0.98), weight_decay=TUNE_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TUNE_RATE, TUNE_STEPS, pct_start=0.1)

    def uniform(low, high):
        return low + (high - low) * torch.rand((), generator=noise).item()

    for step in range(TUNE_STEPS):
        scale, keep, foreign = uniform(0.4, 1.1), uniform(0.6, 1.0), uniform(-0.7, 0.7)
        gains = []
        for p, b, d in zip(params, base, deltas):
            gain = (torch.rand(d.shape, generator=noise) < keep) * (scale / keep)
            stranger = d.flatten().roll(int(uniform(1, d.numel()))).view_as(d)
            p.data = b + gain * d + foreign * stranger
            p.grad = None
            gains.append(gain)
        losses = backward(model, batches, parts)
        for p, d, gain in zip(params, deltas, gains):
            d.grad = p.grad * gain
        torch.nn.utils.clip_grad_norm_(deltas, 1.0)
        optimizer.step()
        schedule.step()
        log(name, step, losses)
    for p, b, d in zip(params, base, deltas):
        p.data = b + d


def save(model, tokenizer, folder):
    """Stores the checkpoint in float16; the model goes on from the stored, rounded values."""
    model.half().save_pretrained(folder)
    model.float()
    tokenizer.save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--stages", nargs="+", default=["base", "model_a", "model_b"],
                        help="what to train; a fine-tune loads the stored base")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    for stage in args.stages:
        started = time.time()
        torch.manual_seed(0)
        tokenizer = make_tokenizer()
        if stage == "base":
            model = make_model(tokenizer)
            train_base(model, tokenizer)
        else:
            model = PhiForCausalLM.from_pretrained(args.out / "base", dtype=torch.float32)
            name, seed = {"model_a": ("addition", 3), "model_b": ("reversal", 4)}[stage]
            fine_tune(model.train(), tokenizer, name, seed)
        save(model, tokenizer, args.out / stage)
        print(f"{stage}: {time.time() - started:.0f} s, {scores(model, tokenizer)}", flush=True)


if __name__ == "__main__":
    main()
