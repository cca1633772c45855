"""Runs mergekit on many recipes in one process of its own environment: importing torch takes longer than merging.

Standard input: JSON, a list of [model class, model folder, recipe, output folder]. Standard output: one JSON line each:
  unread   why this version of transformers does not read the model itself, or ""
  refused  what ended mergekit, or ""
  warned   what it warned of
"""
import json
import logging
import sys
import warnings

import transformers

IGNORED = "Failed to copy tokenizer"  # the models have none


class Heard(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def first_line(error):
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"


def unread(model_class, folder):
    try:
        _, info = getattr(transformers, model_class).from_pretrained(folder, output_loading_info=True)
    except Exception as error:  # whatever its own bugs raise
        return first_line(error)
    return "; ".join(f"{len(names)} {what.replace('_', ' ')}" for what, names in info.items() if names)


def merge(recipe, out):
    from mergekit.scripts.run_yaml import main
    heard = Heard()
    logging.getLogger().handlers = [heard]
    try:
        main.main([recipe, out, "--quiet"], standalone_mode=False)
    except Exception as error:
        return first_line(error), heard.texts
    return "", heard.texts


def answer(model_class, folder, recipe, out):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = unread(model_class, folder)
        refused, warned = merge(recipe, out)
    return {"transformers": transformers.__version__, "unread": problem, "refused": refused,
            "warned": [text for text in warned if not text.startswith(IGNORED)]}


transformers.logging.set_verbosity_error()
answers, sys.stdout = sys.stdout, sys.stderr
for job in json.load(sys.stdin):
    print(json.dumps(answer(*job)), file=answers, flush=True)
