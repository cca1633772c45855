"""Prints the exact match on both skills and the base-text loss of model folders.

    python evaluate.py ../base ../model_a ../model_b [--json]
"""
import argparse
import json
from collections import defaultdict

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corpus import EOS, SKILLS, held_out_text


@torch.no_grad()
def exact_match(model, tokenizer, skill):
    """The share of held-out items whose greedy answer is right to the last token."""
    eos = tokenizer.eos_token_id
    groups = defaultdict(list)
    for item in skill.held_out:
        prompt = tokenizer.encode(EOS + skill.prompt(item))
        answer = tokenizer.encode(skill.answer(item)) + [eos]
        groups[len(prompt)].append((prompt, answer))
    right = 0
    for pairs in groups.values():  # equal prompt lengths need no padding
        prompts = torch.tensor([prompt for prompt, _ in pairs])
        longest = max(len(answer) for _, answer in pairs)
        out = model.generate(prompts, attention_mask=torch.ones_like(prompts), do_sample=False,
                             max_new_tokens=longest, eos_token_id=eos, pad_token_id=eos)
        for row, (prompt, answer) in zip(out.tolist(), pairs):
            right += row[len(prompt):len(prompt) + len(answer)] == answer
    return right / len(skill.held_out)


@torch.no_grad()
def text_loss(model, tokenizer):
    """Mean next-token loss (nats) on text lines that follow the base corpus."""
    lines = [torch.tensor(tokenizer.encode(EOS + line + EOS)) for line in held_out_text()]
    labels = torch.nn.utils.rnn.pad_sequence(lines, batch_first=True, padding_value=-100)
    return model(input_ids=labels.clamp(min=0), labels=labels).loss.item()


def scores(model, tokenizer):
    model.eval()
    result = {name: exact_match(model, tokenizer, skill) for name, skill in SKILLS.items()}
    result["text_loss"] = text_loss(model, tokenizer)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    args = parser.parse_args()
    torch.set_num_threads(1)

    results = {}
    for folder in args.folders:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        # float16 is stored, but CPUs compute float32 faster.
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        results[folder] = scores(model, tokenizer)

    if args.json:
        print(json.dumps(results, indent=2))
        return
    width = max(map(len, results))
    print(f"{'model':{width}}  addition  reversal  text loss")
    for folder, row in results.items():
        print(f"{folder:{width}}  {row['addition']:8.1%}  {row['reversal']:8.1%}  {row['text_loss']:9.3f}")


if __name__ == "__main__":
    main()
