#!/usr/bin/env python3
"""The HTML report in a real browser: no error on the console, no request, charts that show the record's numbers, a filter that filters, and no
page wider than its screen."""
import json
import os
import sys

from browser import Browser
from harness import SLOWDOWN, Suite, contains, equal
from model_maker import make_trio
from record_maker import record, write_record

SHAPES = {"small": dict(), "contradicted": dict(ignore_epsilon_of=2), "sums": dict(sparse=False), "large": dict(layers=80, models=4, hidden=128),
          "experts": dict(layers=8, models=3, hidden=32, experts=24),
          "names": dict(layers=3, names=["./" + "a-very-long-folder-name-without-any-space" * 4, "x</script><img src=q onerror=alert(1)>\"'"])}


def prepare(root):
    make_trio(root, exact=False)
    for name, shape in SHAPES.items():
        write_record(os.path.join(root, name), record(**shape))


suite = Suite(prepare=prepare)


def page_of(box, name):
    box.ok("report", os.path.join(box.shared, name), "-o", name + ".html")
    return box.path(name + ".html")


def record_of(box, name):
    with open(os.path.join(box.shared, name, "crucible.json")) as f:
        return json.load(f)


def browser():
    return Browser(timeout=60 * SLOWDOWN)


def close(got, expected, what, by=1e-9):
    assert abs(got - expected) <= by * max(1, abs(expected)), "%s: %r, expected %r" % (what, got, expected)


@suite.case
def no_error_and_no_request(box):
    with browser() as b:
        for name in SHAPES:
            equal(b.open(page_of(box, name)), [], "console of " + name)
            equal([r for r in b.requests() if not r.startswith(("file://" + box.root, "data:"))], [], "requests of " + name)
            equal(b.run("document.images.length"), 0, "images")
            assert b.run("document.querySelectorAll('section').length") >= 7
            equal(b.run("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size == document.querySelectorAll('[id]').length"), True)
            equal(b.run("[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.getAttribute('href'))).length"), 0, "dead links")


@suite.case
def a_real_merge_renders(box):
    for name in ("base", "a", "b"):
        os.symlink(os.path.join(box.shared, name), box.path(name))
    out = box.merge("merge_method: della\nbase_model: ./base\nmodels:\n- model: ./a\n  parameters: {weight: 1}\n- model: ./b\n  parameters: {weight: 1}\n"
                    "parameters: {density: 0.6, epsilon: 0.2}\n")
    with browser() as b:
        equal(b.open(out + "/crucible_report.html"), [])
        equal(b.run("document.querySelectorAll('svg.rate .k').length"), 20)


@suite.case
def the_browser_of_this_test_sees_errors(box):
    box.write("bad.html", "<!DOCTYPE html><meta http-equiv=Content-Security-Policy content=\"script-src 'sha256-aaaa'\"><script>1</script>"
                          "<div style='width:2000px'>x</div>")
    with browser() as b:
        b.resize(360)
        assert b.open(box.path("bad.html")), "a blocked script goes unnoticed"
        assert b.run("document.scrollingElement.scrollWidth > innerWidth"), "a wide page goes unnoticed"


@suite.case
def points_are_the_numbers_of_the_record(box):
    """Each marker lies where its number belongs on the axes, and its number is the record's."""
    marks = """[...document.querySelectorAll('svg.%s')].map(s => ({x: s.dataset.x.split(' ').map(Number), y: s.dataset.y.split(' ').map(Number),
      plot: s.dataset.plot.split(' ').map(Number),
      marks: [...s.querySelectorAll('.k')].map(k => { const r = k.lastElementChild.getBBox(); return {...k.dataset, cx: r.x + r.width / 2, cy: r.y + r.height / 2} })}))"""

    def check(chart, mark, x, y):
        left, right, top, bottom = chart["plot"]
        (x0, x1), (y0, y1) = chart["x"], chart["y"]
        px, py = left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top)
        close(float(mark["px"]), px, "x of a marker", 0.06)
        close(float(mark["py"]), py, "y of a marker", 0.06)
        assert abs(mark["cx"] - px) < 0.2 and abs(mark["cy"] - py) < 1.5, (mark, px, py)  # a triangle's box is not centred on its point

    with browser() as b:
        for name in ("small", "contradicted", "large"):
            value = record_of(box, name)
            equal(b.open(page_of(box, name)), [])
            models = value["measured"]["models"]
            charts = b.run(marks % "rate")
            equal(len(charts), len(models), "charts of keep rates")
            for chart, model in zip(charts, models):
                equal(len(chart["marks"]), 10)
                for i, (mark, d) in enumerate(zip(chart["marks"], model["deciles"])):
                    equal((int(mark["tenth"]), int(mark["entries"]), int(mark["kept"])), (i + 1, d["entries"], d["kept"]))
                    close(float(mark["planned"]), d["planned"], "planned")
                    check(chart, mark, i + 1, d["kept"] / d["entries"])
            for chart, model in zip(b.run(marks % "sigma"), models):
                equal(len(chart["marks"]), 10)
                for i, (mark, d) in enumerate(zip(chart["marks"], model["deciles"])):
                    if d["variance"] > 0:
                        z = (d["kept"] - d["planned"]) / d["variance"] ** 0.5
                        close(float(mark["sigmas"]), z, "sigmas", 1e-6)
                        check(chart, mark, i + 1, max(chart["y"][0], min(chart["y"][1], z)))
            if name != "small":
                continue
            norms, cosines = b.run(marks % "layers")
            tensors = [t for t in value["tensors"] if "layer" in t]
            for i in range(len(models)):
                for layer in range(6):
                    those = [t for t in tensors if t["layer"] == layer]
                    square = sum(t["models"][i]["norm"] ** 2 for t in those)
                    mark = norms["marks"][i * 6 + layer]
                    equal(int(mark["layer"]), layer)
                    close(float(mark["value"]), square ** 0.5, "norm")
                    check(norms, mark, layer, square ** 0.5)
                    dot = sum(t["models"][i]["cosine"] * t["models"][i]["norm"] * t["out_norm"] for t in those)
                    cosine = dot / (square * sum(t["out_norm"] ** 2 for t in those)) ** 0.5
                    mark = cosines["marks"][i * 6 + layer]
                    close(float(mark["value"]), cosine, "cosine")
                    check(cosines, mark, layer, cosine)


@suite.case
def the_heatmap_holds_the_records_densities(box):
    value = record_of(box, "small")
    with browser() as b:
        b.open(page_of(box, "small"))
        rows = b.run("[...document.querySelectorAll('#density tbody tr')].map(r => [...r.cells].map(c => c.firstChild ? c.firstChild.textContent : ''))")
        colours = b.run("new Set([...document.querySelectorAll('#density tbody td')].map(c => getComputedStyle(c).backgroundColor)).size")
    for layer in range(6):
        for i in range(2):
            for column, role in enumerate((None, "attention", "mlp", "norm")):
                those = [t["models"][i] for t in value["tensors"] if t.get("layer") == layer and role in (None, t["role"])]
                share = 100 * sum(m["kept"] for m in those) / sum(m["entries"] for m in those)
                equal(rows[layer][1 + 4 * i + column], "%.2f" % share, "layer %d, %s" % (layer, role))
    assert colours > 1, "no colours"


@suite.case
def the_filter_filters(box):
    rows = "[...document.querySelectorAll('table.parameters tbody tr')].filter(r => r.offsetParent !== null).map(r => r.textContent)"
    ask = "(() => { const i = document.querySelector('#parameters input'); i.value = %s; i.dispatchEvent(new Event('input')); })()"
    with browser() as b:
        b.open(page_of(box, "small"))
        everything = b.run(rows)
        equal(len(everything), 8)
        for words in ("epsilon", "EPSILON model_b", "recipe.yml:12", "nothing is like this", ""):
            b.run(ask % json.dumps(words))
            expected = [r for r in everything if all(w in r.lower() for w in words.lower().split())]
            equal(b.run(rows), expected, "rows for " + words)
            contains(b.run("document.querySelector('#parameters output').textContent"), "%d of 8" % len(expected))
        b.without_script()
        b.open(page_of(box, "small"))
        equal(b.call("DOM.getDocument", depth=0)["root"]["nodeName"], "#document")
        root = b.call("DOM.getDocument", depth=0)["root"]["nodeId"]
        equal(len(b.call("DOM.querySelectorAll", nodeId=root, selector="table.parameters tbody tr")["nodeIds"]), 8, "rows without script")
        equal(b.call("DOM.querySelectorAll", nodeId=root, selector="input")["nodeIds"], [], "a text box that cannot work")


@suite.case
def no_page_is_wider_than_its_screen(box):
    wide = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1)
      .map(e => e.tagName + '.' + e.className).slice(0, 5)"""
    with browser() as b:
        for name in SHAPES:
            page = page_of(box, name)
            for width in (320, 360, 768, 1280):
                b.resize(width)
                b.open(page)
                b.run("document.querySelectorAll('details').forEach(d => d.open = true)")
                equal(b.run("document.scrollingElement.scrollWidth <= innerWidth"), True, "%s at %d pixels: %s" % (name, width, b.run(wide)))
                equal(b.run("innerWidth"), width, "the width itself")
            equal(b.run("[...document.querySelectorAll('table')].every(t => t.closest('.scroll'))"), True, "tables in boxes that scroll")


@suite.case
def text_can_be_read_in_light_and_dark(box):
    """WCAG AA: contrast 4.5 of every text with what is behind it."""
    worst = """(() => {
      const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
      const parse = s => { const n = s.match(/[\\d.]+/g).map(Number); return [n[0] / 255, n[1] / 255, n[2] / 255, n.length > 3 ? n[3] : 1]; };
      const over = (a, b) => a.slice(0, 3).map((c, i) => c * a[3] + b[i] * (1 - a[3]));
      const behind = e => { const stack = []; for (; e; e = e.parentElement) stack.push(parse(getComputedStyle(e).backgroundColor));
        return stack.reverse().reduce((under, c) => over(c, under), [1, 1, 1]); };
      let worst = [99, ''];
      for (const e of document.querySelectorAll('body *')) {
        const style = getComputedStyle(e), is_svg = e instanceof SVGElement;
        if (is_svg ? e.tagName != 'text' : ![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || e.tagName == 'SCRIPT') continue;
        const back = behind(is_svg ? e.closest('figure') : e), front = parse(is_svg ? style.fill : style.color);
        const opacity = Number(style.opacity), a = light(over([...front.slice(0, 3), front[3] * opacity], back)), c = light(back);
        const contrast = (Math.max(a, c) + 0.05) / (Math.min(a, c) + 0.05);
        if (contrast < worst[0]) worst = [contrast, e.tagName + '.' + (e.className.baseVal ?? e.className) + ' ' + e.textContent.slice(0, 40)];
      }
      return worst; })()"""
    with browser() as b:
        for scheme in ("light", "dark"):
            b.scheme(scheme)
            backgrounds = set()
            for name in ("small", "contradicted"):
                b.open(page_of(box, name))
                contrast, where = b.run(worst)
                assert contrast >= 4.5, "%s, %s: contrast %.2f of %s" % (name, scheme, contrast, where)
                backgrounds.add(b.run("getComputedStyle(document.body).backgroundColor"))
            equal(len(backgrounds), 1)
            dark = sum(map(int, backgrounds.pop()[4:-1].split(","))) < 200
            equal(dark, scheme == "dark", "background in the scheme " + scheme)


@suite.case
def charts_have_words(box):
    with browser() as b:
        b.open(page_of(box, "small"))
        equal(b.run("[...document.querySelectorAll('figure svg[role=img]')].filter(s => !s.getAttribute('aria-label')).length"), 0, "charts without a label")
        assert b.run("document.querySelectorAll('figure svg[role=img]').length") >= 9
        for section in ("keep-rate", "distributions", "norms"):
            assert b.run("document.querySelectorAll('#%s details table').length" % section) >= 1, "no table of the numbers in " + section
        b.pdf(box.path("page.pdf"))
        assert os.path.getsize(box.path("page.pdf")) > 20_000


if __name__ == "__main__":
    sys.exit(suite.run())
