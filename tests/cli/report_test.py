#!/usr/bin/env python3
"""crucible report and crucible_report.html: every form, every kind of record, hostile names, sizes, damage."""
import html.parser
import json
import os
import re
import sys

from harness import SANITIZED, Suite, contains, equal
from model_maker import llama_shapes, make_tensors, make_trio, write_model
from record_maker import record, write_record

suite = Suite(prepare=lambda root: make_trio(root, exact=False))

DELLA = """\
merge_method: della
base_model: ./base
models:
- model: ./a
  parameters: {weight: 1, density: 0.7, epsilon: 0.2}
- model: ./b
  parameters: {weight: [0.2, 0.8], density: 0.5, epsilon: 0.1}
"""

HOSTILE = "x</script><img src=q onerror=alert(1)>\"'`|*&amp;<b>"


class Page(html.parser.HTMLParser):
    """Elements of a page: is it well formed, and what is in it?"""
    VOID = {"meta", "link", "br", "img", "input"}

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text, self.problems = [], [], "", []
        self.feed(text)
        if self.open:
            self.problems.append("not closed: %s" % self.open)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append("</%s> at %s" % (tag, self.getpos()))

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def link(box):
    for name in os.listdir(box.shared):
        os.symlink(os.path.join(box.shared, name), box.path(name))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def page_of(box, folder):
    page = Page(box.ok("report", folder).out)
    equal(page.problems, [], "HTML of " + folder)
    return page


def sections(page):
    return [a["id"] for tag, a in page.elements if tag == "section"]


# --- a real merge ----------------------------------------------------------------------------------------------------------------

@suite.case
def every_merge_writes_the_report_and_the_command_renders_it_again(box):
    link(box)
    out = box.merge(DELLA)
    written = read(out + "/crucible_report.html")
    equal(box.ok("report", "out").out, written, "rendered again")
    box.ok("report", "out", "--format", "html", "--output", "again.html")
    equal(read(box.path("again.html")), written, "into a file")
    page = Page(written)
    equal(page.problems, [])
    for word in ("./a", "./b", "DELLA", "epsilon", "recipe.yml:5"):
        contains(page.text, word)
    for section in ("verdict", "recipe", "keep-rate", "density", "norms", "parameters", "tensors", "files", "cost"):
        assert section in sections(page), section


@suite.case
def the_report_of_every_method(box):
    link(box)
    ran = 0
    for method in json.loads(box.ok("methods", "--json").out):
        base = "" if method["base"] == "only when listed" else "base_model: ./base\n"
        if method["name"] == "slerp":
            base = "base_model: ./a\n"
        models = ["./a"] if method["name"] == "passthrough" else ["./a", "./b"]
        if method["name"] == "nearswap":
            base, models = "base_model: ./a\n", ["./b"]
        recipe = "merge_method: %s\n%smodels:\n" % (method["name"], base)
        for m in models:
            recipe += "- model: %s\n  parameters: {weight: 0.5}\n" % m if "weight" in json.dumps(method) else "- model: %s\n" % m
        if '"t"' in json.dumps(method):
            recipe += "parameters: {t: 0.5}\n"
        box.write("r.yml", recipe)
        if box.run("merge", "r.yml", method["name"], "--quiet", "--allow-unused").code != 0:
            continue
        ran += 1
        equal(Page(read(box.path(method["name"], "crucible_report.html"))).problems, [], method["name"])
        contains(box.ok("report", method["name"], "--format", "md").out, method["title"])
    assert ran >= 16, "only %d methods were merged" % ran


@suite.case
def json_is_the_record_and_a_verdict(box):
    link(box)
    out = box.merge(DELLA)
    answer = json.loads(box.ok("report", "out", "--format", "json").out)
    verdict = answer.pop("verdict")
    equal(answer, json.loads(read(out + "/crucible.json")), "the record")
    equal(sorted(verdict), ["checks", "contradicted", "headline", "not_measured", "remedies", "verdict"])


@suite.case
def hostile_names_stay_text(box):
    tensors = make_tensors(llama_shapes(1))
    name = "model.layers.0." + HOSTILE + "\u202e.weight"
    for m in ("base", "m<b>&'\"|`*x"):
        write_model(box.path(m), {**tensors, name: tensors["model.norm.weight"]})
    recipe = ("# %s\nmerge_method: ties\nbase_model: ./base\nmodels:\n- model: \"./m<b>&'\\\"|`*x\"\n  parameters:\n    density: 0.5\n    weight:\n"
              "    - {filter: \"</table><script>\", value: 0.5}\n    - value: 1\n") % HOSTILE
    out = box.merge(recipe)
    text = read(out + "/crucible_report.html")
    page = Page(text)
    equal(page.problems, [])
    tags = [tag for tag, _ in page.elements]
    equal([tags.count(t) for t in ("script", "img", "b")], [1, 0, 0], "elements")
    for _, attributes in page.elements:
        assert not any(a.startswith("on") for a in attributes), attributes
    contains(page.text, HOSTILE)
    contains(page.text, "./m<b>&'\"|`*x")
    md = box.ok("report", "out", "--format", "md").out
    for line in md.split("\n"):
        if line.startswith("|"):
            cells = re.sub(r"\\.", "", line)
            assert cells.count("|") >= 3 and cells.endswith("|"), line
    outside = re.sub(r"(?s)(?<!`)(`+)(?!`)(.*?[^`])\1(?!`)", "", md.replace("\\`", ""))
    assert "<img" not in outside and "<script" not in outside, "markup in Markdown"


# --- records of all kinds ----------------------------------------------------------------------------------------------------------

@suite.case
def a_contradiction_comes_first(box):
    write_record(box.path("r"), record(ignore_epsilon_of=2))
    page = page_of(box, "r")
    heading = page.text[:page.text.index("Recipe, and where")]
    for words in ("The measurements contradict epsilon", "./model_b", "recipe.yml:12:12", "crucible plan recipe.yml --explain-parameter epsilon"):
        contains(heading, words)
    verdict = json.loads(box.ok("report", "r", "--format", "json").out)["verdict"]
    equal((verdict["verdict"], verdict["contradicted"]), ("contradicted", ["epsilon"]))
    contains(box.ok("report", "r", "--format", "md").out, "# The measurements contradict epsilon")


@suite.case
def what_passed_and_what_was_not_measured_is_said(box):
    value = record()
    write_record(box.path("r"), value)
    page = page_of(box, "r")
    contains(page.text, "All %s checks passed" % format(value["audit"]["checks"], ","))
    contains(page.text, "Not measured: normalize, lambda and weight")
    assert "What to do" not in page.text
    write_record(box.path("off"), dict(value, audit={"on": False}, expectations=[]))
    contains(page_of(box, "off").text, "Not judged: measuring was switched off")


@suite.case
def what_is_off_has_a_remedy(box):
    value = record()
    value["unused_parameters"] = [{"name": "gamma", "line": 13}]
    value["measured"].update(nonfinite=3, saturated=7)
    value["tensors"][1]["nonfinite"] = 3
    write_record(box.path("r"), value)
    text = page_of(box, "r").text
    for words in ("gamma (recipe.yml:13) has no effect", "3 values of the output are not finite, first in model.embed_tokens.weight",
                  "7 values are the largest", "dtype: bfloat16"):
        contains(text, words)


@suite.case
def the_recipe_says_where_values_went(box):
    write_record(box.path("r"), record(layers=6))
    page = page_of(box, "r")
    for words in ("density = 0.8 \u2192 57 tensors \u00d7 2 models", "weight = 0.2 \u2026 0.8, 6 values \u2192 57 tensors \u00d7 1 model"):
        contains(page.text, words)


@suite.case
def every_optional_key_may_be_absent(box):
    full = record(layers=2)
    for key in list(full):
        if key in ("format", "version", "program", "recipe_file", "recipe", "method", "seed", "shard_bytes", "plan_digest", "inputs", "files",
                   "companions", "tensors"):
            continue
        value = record(layers=2)
        del value[key]
        if key == "parameters":
            for t in value["tensors"]:
                t.pop("global", None)
                for m in t.get("models", []):
                    m.pop("parameters", None)
        write_record(box.path("r"), value)
        page_of(box, "r")
        box.ok("report", "r", "--format", "md")
    for key in full["measured"]:
        value = record(layers=2)
        del value["measured"][key]
        write_record(box.path("r"), value)
        page_of(box, "r")
    keep = {"name", "dtype", "shape", "file", "hash", "hash_chunk"}
    value = record(layers=2)
    value["tensors"] = [{k: v for k, v in t.items() if k in keep} for t in value["tensors"]]
    write_record(box.path("r"), value)
    page_of(box, "r")
    value["tensors"] = []
    write_record(box.path("r"), value)
    page_of(box, "r")
    value = record(layers=2)
    value["measured"]["models"][0].update(norm=None, cosine=None)
    value["expectations"][0].update(measured=None, sigmas=None, planned=None)
    write_record(box.path("r"), value)
    page_of(box, "r")


@suite.case
def large_models_stay_small_pages(box):
    kinds = {"70B": dict(layers=80, models=4, hidden=128), "experts": dict(layers=60, models=3, hidden=32, experts=24 if SANITIZED else 256)}
    for name, shape in kinds.items():
        value = record(**shape)
        write_record(box.path(name), value)
        box.ok("report", name, "-o", "page.html", timeout=60)
        size = os.path.getsize(box.path("page.html"))
        assert size < 2_000_000, "%s: %d bytes" % (name, size)
        page = Page(read(box.path("page.html")))
        equal(page.problems, [])
        contains(page.text, "%s" % format(len(value["tensors"]), ","))
    box.ok("report", "70B", "--format", "md", "-o", "page.md")
    assert os.path.getsize(box.path("page.md")) < 1_000_000


@suite.case
def equal_records_give_equal_bytes(box):
    value = record(layers=3)
    for name in ("one", "two"):
        write_record(box.path(name), value)
    for form in ("html", "md", "json"):
        equal(box.ok("report", "one", "--format", form).out, box.ok("report", "two", "--format", form).out, form)


# --- what is wrong ---------------------------------------------------------------------------------------------------------------

def refused(box, *args, words=()):
    result = box.run("report", *args)
    equal(result.code, 2, "exit code")
    equal(result.out, "", "stdout")
    for w in words:
        contains(result.err, w)


@suite.case
def records_that_cannot_be_read(box):
    refused(box, "nowhere", words=["nowhere"])
    os.mkdir(box.path("empty"))
    refused(box, "empty", words=["crucible.json"])
    refused(box, "empty", "--format", "pdf", words=["pdf"])
    good = record(layers=1)
    text = json.dumps(good)
    box.write("cut/crucible.json", text[:2000])
    refused(box, "cut", words=["cut off"])
    box.write("edited/crucible.json", json.dumps(dict(good, checksum="0" * 32)))
    refused(box, "edited", words=["edited"])
    for number, (change, words) in enumerate([
            (lambda v: v.update(version=1), "version 1"),
            (lambda v: v["tensors"][0]["models"][0].update(input=9), "tensors[0].models[0].input"),
            (lambda v: v["tensors"][0]["models"][0].update(parameters=-1), "tensors[0].models[0].parameters"),
            (lambda v: v["tensors"][0].update({"global": 999}), "tensors[0].global"),
            (lambda v: v["measured"].update(models={}), "measured.models"),
            (lambda v: v["measured"]["models"][0].update(kept="many"), "measured.models[0].kept"),
            (lambda v: v["measured"]["histograms"][0].update(first_exponent=1e99), "first_exponent"),
            (lambda v: v["expectations"][0].pop("ok"), "expectations[0]"),
            (lambda v: v.update(run=[]), "run"),
            (lambda v: v.update(parameters=[[]]), "parameters[0]")]):
        value = record(layers=1)
        change(value)
        write_record(box.path("bad%d" % number), value)
        refused(box, "bad%d" % number, words=[words])


@suite.case
def a_file_that_cannot_be_written(box):
    write_record(box.path("r"), record(layers=1))
    result = box.run("report", "r", "--output", "no/such/folder/page.html")
    equal(result.code, 3)
    contains(result.err, "no/such/folder/page.html")


if __name__ == "__main__":
    sys.exit(suite.run())
