#!/usr/bin/env python3
"""The model card: front matter that the Hub accepts, only what is proven, and no absolute path in anything that is published."""
import json
import os
import sys

from harness import Suite, contains, equal
from model_maker import make_llama, make_trio, read_bytes, to_hub_cache, write_file

suite = Suite()
TASKS = "merge_method: task_arithmetic\nbase_model: %s\nmodels:\n- model: %s\n- model: %s\nparameters: {weight: 0.5}\n"


def absent(text, part):
    assert part not in text, "found: %r" % part


def scalar(text):
    return json.loads(text) if text.startswith('"') else text


def front_matter(card):
    """The subset of YAML that a card of ours uses: keys, scalars, lists of scalars."""
    lines = card.split("\n")
    assert lines[0] == "---", "no front matter"
    out, key = {}, None
    for line in lines[1:lines.index("---", 1)]:
        if line.startswith("- "):
            out[key].append(scalar(line[2:]))
        elif line.endswith(":"):
            key = line[:-1]
            out[key] = []
        else:
            key, value = line.split(": ", 1)
            out[key] = scalar(value)
    return out


def card_of(out):
    return read_bytes(os.path.join(out, "README.md")).decode()


def put_cards(box, *texts):
    for name, text in zip(("base", "a", "b"), texts):
        if text is not None:
            write_file(box.path(name, "README.md"), text)


LOCAL = TASKS % ("./base", "./a", "./b")


@suite.case
def the_plain_card(box):
    make_trio(box.root)
    recipe = "# ours\n" + LOCAL
    out = box.merge(recipe, "out/")
    card = card_of(out)
    equal(front_matter(card), {"library_name": "transformers", "tags": ["merge", "crucible", "mergekit", "task_arithmetic"]})
    contains(card, "# out\n")
    contains(card, "```yaml\n" + recipe + "```\n")
    contains(card, "- `./a`\n- `./b`\n")
    contains(card, "with `./base` as the base")
    contains(card, "(https://arxiv.org/abs/2212.04089)")
    contains(card, "checks of the measured data against the plan, all kept")
    contains(card, "`crucible verify .`")
    contains(card, "- `./base`: not known")
    equal(read_bytes(os.path.join(out, "mergekit_config.yml")).decode(), recipe, "the recipe, byte for byte")


@suite.case
def ids_are_named_where_they_are_proven(box):
    hub = box.path("hub")
    make_llama(box.path("made"), 3)
    snapshot = to_hub_cache(box.path("made"), hub, "org/from-cache")
    make_llama(box.path("models/plain"), 4)          # looks like an id, and is a folder
    make_llama(box.path("Known-7b"), 5)
    config = json.loads(read_bytes(box.path("Known-7b/config.json")))
    write_file(box.path("Known-7b/config.json"), json.dumps(dict(config, _name_or_path="some-org/Known-7b")))
    make_llama(box.path("tuned"), 6)
    write_file(box.path("tuned/config.json"), json.dumps(dict(config, _name_or_path="some-org/parent-of-tuned")))
    make_llama(box.path("Shown"), 7)
    write_file(box.path("Shown/README.md"), "# Shown\n`AutoModel.from_pretrained(\"their.org/Shown\")`, not huggingface.co/other/Shown-GGUF, models/Shown nor huggingface.co/Shown\n")
    make_llama(box.path("mapped"), 8)
    models = ["org/from-cache", "models/plain", "./Known-7b", "./tuned", "./Shown", "org/mapped", snapshot]
    recipe = "merge_method: linear\nmodels:\n" + "".join("- {model: %s, parameters: {weight: 1}}\n" % m for m in models)
    out = box.merge(recipe, "out", "--model", "org/mapped=mapped", env={"HF_HUB_CACHE": hub})
    card = card_of(out)
    front = front_matter(card)
    equal(front["base_model"], ["org/from-cache", "some-org/Known-7b", "their.org/Shown", "org/mapped"])
    equal(front["base_model_relation"], "merge")
    contains(card, "- [org/from-cache](https://huggingface.co/org/from-cache)\n")
    contains(card, "- `models/plain`\n")
    contains(card, "- `./tuned`\n")
    absent(card, box.root)


@suite.case
def licence_language_and_task_when_all_agree(box):
    make_trio(box.root)
    head = "---\nlicense: apache-2.0\nlanguage:\n- en\n- de\npipeline_tag: text-generation\ntags: [x]\n---\n# Model\n"
    put_cards(box, head, head.replace("- en\n- de", "- de\n- en"), "\ufeff" + head.replace("\n", "\r\n"))
    card = card_of(box.merge(LOCAL))
    front = front_matter(card)
    equal((front["license"], front["language"], front["pipeline_tag"]), ("apache-2.0", ["de", "en"], "text-generation"))
    absent(card, "Licence")
    put_cards(box, head, head.replace("apache-2.0", "mit"), head.replace("text-generation", "fill-mask").replace("- de\n", ""))
    card = card_of(box.merge(LOCAL, "two"))
    front = front_matter(card)
    equal([k for k in ("license", "language", "pipeline_tag") if k in front], [])
    contains(card, "- `./base`: `apache-2.0`\n- `./a`: `mit`\n- `./b`: `apache-2.0`\n")


@suite.case
def unusual_licences(box):
    make_trio(box.root)
    named = "---\nlicense: other\nlicense_name: \"a: name\"\nlicense_link: https://example.com/terms\n---\n"
    put_cards(box, named, named, named)
    front = front_matter(card_of(box.merge(LOCAL)))
    equal((front["license"], front["license_name"], front["license_link"]), ("other", "a: name", "https://example.com/terms"))
    put_cards(box, named, named.replace("a: name", "another"), named)
    absent(str(front_matter(card_of(box.merge(LOCAL, "two")))), "license")
    for i, broken in enumerate(("---\nlicense: [mit\n---\n", "---\nlicense: mit\n", "license: mit\n", "---\n- mit\n---\n", "---\nlicense: {a: b}\n---\n", "")):
        put_cards(box, named, broken, named)
        absent(str(front_matter(card_of(box.merge(LOCAL, "broken%d" % i)))), "license")


def published(box, out):
    texts = {n: read_bytes(os.path.join(out, n)).decode() for n in ("README.md", "mergekit_config.yml", "crucible_report.html")}
    texts["report.md"] = box.ok("report", out, "--format", "md").out
    texts["report.html"] = box.ok("report", out, "--format", "html").out
    return texts


@suite.case
def no_absolute_path_is_published(box):
    make_trio(box.path("x"))
    make_llama(box.path("y/a"), 5)
    recipe = "# from %s and 1/2 of https://example.com/x/y\n%s- {model: '%s', parameters: {weight: 0.5}}\n" % (
        box.path("notes/today.txt"), TASKS.replace("parameters: {weight: 0.5}\n", "  parameters: {weight: [0.5, 1]}\n").replace("%s\n- model: %s", "%s\n  parameters: {weight: 0.5}\n- model: %s") % (box.path("x/base"), box.path("x/a"), box.path("x/b/")), box.path("y/a"))
    out = box.merge(recipe)
    texts = published(box, out)
    for name, text in texts.items():
        absent(text, box.root)
        absent(text, box.root.split("/")[1] + "/")
    text = texts["mergekit_config.yml"]
    contains(text, "# Folders are named without the paths to them.\n")
    contains(text, "# from today.txt and 1/2 of https://example.com/x/y\n")
    contains(text, "base_model: base\n")
    contains(text, "- model: x/a\n")
    contains(text, "- {model: 'y/a', parameters: {weight: 0.5}}\n")
    contains(texts["README.md"], text)
    contains(texts["README.md"], "- `x/a`\n- `b`\n- `y/a`\n")
    contains(texts["report.md"], "`x/a`")
    # It is a recipe, and makes the same.
    os.mkdir(box.path("again"))
    for name, folder in (("base", "x/base"), ("x/a", "x/a"), ("b", "x/b"), ("y/a", "y/a")):
        os.makedirs(os.path.dirname(box.path("again", name)), exist_ok=True)
        os.symlink(box.path(folder), box.path("again", name))
    write_file(box.path("again/r.yml"), text)
    box.ok("merge", "again/r.yml", "second")
    equal(read_bytes(box.path("second/model.safetensors")), read_bytes(out + "/model.safetensors"))
    box.ok("verify", "out")
    record = json.loads(read_bytes(out + "/crucible.json"))
    equal(record["recipe"], recipe, "the record keeps it")
    equal([i["path"] for i in record["inputs"]], ["../x/base", "../x/a", "../x/b", "../y/a"])


@suite.case
def escaped_paths_and_random_methods(box):
    make_trio(box.path("d\u00e9p\u00f4t"))
    path = box.path("d\u00e9p\u00f4t")
    escaped = path.replace("\u00e9", "\\u00e9").replace("\u00f4", "\\xf4")
    recipe = "merge_method: dare_linear\nbase_model: \"%s/base\"\nmodels: [{model: \"%s/a\", parameters: {weight: 1, density: 0.5}}]\n" % (escaped, escaped)
    out = box.merge(recipe)
    for text in published(box, out).values():
        absent(text, box.root)
        absent(text, "/base")
    text = read_bytes(out + "/mergekit_config.yml").decode()
    contains(text, "Random choices depend on a model's name: crucible.json has the names that were used.")
    contains(text, "base_model: \"base\"\n")
    box.ok("verify", "out")


@suite.case
def markup_is_escaped(box):
    names = ["x: y", "it's \"quoted\"", "`back`", "<b>", "@at", "a|b"]
    for i, name in enumerate(names):
        make_llama(box.path(name), i)
    models = "".join("- {model: {model: {path: %s}}, parameters: {weight: 1}}\n" % json.dumps("./" + n) for n in names)
    recipe = "# ```\nmerge_method: linear\nmodels:\n" + models
    out = box.merge(recipe, "out #1: `x` <i>")
    card = card_of(out)
    contains(card, "````yaml\n" + recipe + "````\n")
    contains(card, "# out #1: \\`x\\` &lt;i>\n")
    for shown in ("- `./x: y`\n", "- `` ./`back` ``\n", "- `./<b>`\n"):
        contains(card, shown)
    equal(front_matter(card)["tags"], ["merge", "crucible", "mergekit", "linear"])


sys.exit(suite.run())
