"""Runs the program and the cases of a script. A case is a function that takes a Box (a folder of its own) and raises when it fails."""
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

CRUCIBLE = os.environ.get("CRUCIBLE", "")
SOURCE_DIR = os.environ.get("CRUCIBLE_SOURCE_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SANITIZED = bool(os.environ.get("SANITIZED"))
SLOWDOWN = 10 if SANITIZED else 1

METHODS_WITH_BASE = ["task_arithmetic", "ties", "dare_linear", "dare_ties", "della", "della_linear", "breadcrumbs", "breadcrumbs_ties"]
RANDOM_METHODS = ["dare_linear", "dare_ties", "della", "della_linear"]


class Skip(Exception):
    """This machine cannot run the case; the reason is printed."""


class Result:
    def __init__(self, args, code, out, err, seconds):
        self.args, self.code, self.out, self.err, self.seconds = args, code, out, err, seconds

    @property
    def text(self):
        return self.out + self.err

    def describe(self):
        return "$ %s\nexit %s after %.2f s\n--- stdout\n%s--- stderr\n%s" % (" ".join(map(str, self.args)), self.code, self.seconds, self.out, self.err)


def environment(home):
    """Nothing of the user's settings: no cache, no home, no locale of his."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") or k.endswith("SAN_OPTIONS")}
    kept.update(HOME=home, LC_ALL="C.UTF-8")
    return kept


class Box:
    """A folder for one case, and the program run in it."""

    def __init__(self, root, shared):
        self.root, self.shared = root, shared
        self.last = None

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def write(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb" if isinstance(content, bytes) else "w") as f:
            f.write(content)
        return path

    def spawn(self, *args, env=None, cwd=None, program=None, **more):
        full = environment(self.path("home"))
        full.update(env or {})
        return subprocess.Popen([program or CRUCIBLE, *map(str, args)], cwd=cwd or self.root, env=full, **more)

    def run(self, *args, stdin=None, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more):
        start = time.monotonic()
        process = self.spawn(*args, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, **more)
        try:
            out, err = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=timeout * SLOWDOWN)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err = (err or b"") + b"\n[killed: it took too long]\n"
        decode = lambda raw: (raw or b"").decode("utf-8", "replace")
        self.last = Result(args, process.returncode, decode(out), decode(err), time.monotonic() - start)
        return self.last

    def ok(self, *args, **more):
        result = self.run(*args, **more)
        assert result.code == 0, "exit %s, expected 0" % result.code
        return result

    def merge(self, recipe, out="out", *options, **more):
        """Writes the recipe text, merges with the shared models at hand, expects success; the output folder."""
        self.write("recipe.yml", recipe)
        self.ok("merge", "recipe.yml", out, "--threads", "2", *options, **more)
        return self.path(out)

    def left_over(self):
        """Entries of the box that look like a temporary output folder."""
        return [n for _, dirs, files in os.walk(self.root) for n in dirs + files if ".crucible-" in n]


def equal(got, expected, what=""):
    assert got == expected, "%s: got %r, expected %r" % (what or "value", got, expected)


def contains(text, part):
    assert part in text, "not found: %r" % part


class Suite:
    """Cases in the order of their definition. `prepare(root)` makes what they share; they must not change it."""

    def __init__(self, prepare=None):
        self.cases, self.prepare = [], prepare

    def case(self, function):
        self.cases.append((function.__name__, function))
        return function

    def add(self, name, function):
        self.cases.append((name, function))

    def run(self):
        if not CRUCIBLE or not os.path.exists(CRUCIBLE):
            print("set CRUCIBLE to the program's path")
            return 2
        only = sys.argv[1:]
        failed = skipped = ran = 0
        start = time.monotonic()
        root = os.path.realpath(tempfile.mkdtemp(prefix="crucible-test-"))
        try:
            shared = os.path.join(root, "shared")
            os.makedirs(shared)
            if self.prepare:
                self.prepare(shared)
            for i, (name, function) in enumerate(self.cases):
                if only and not any(o in name for o in only):
                    continue
                folder = os.path.join(root, "case%d" % i)
                os.makedirs(os.path.join(folder, "home"))
                box = Box(folder, shared)
                ran += 1
                try:
                    function(box)
                except Skip as why:
                    skipped += 1
                    print("skipped %s: %s" % (name, why))
                except Exception as problem:  # an assertion, or a fault of the test itself: both are failures to show
                    failed += 1
                    where = traceback.extract_tb(problem.__traceback__)[-1]
                    print("FAILED %s (%s:%d): %s: %s" % (name, os.path.basename(where.filename), where.lineno, type(problem).__name__, problem))
                    if box.last:
                        print("  " + box.last.describe().replace("\n", "\n  "))
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        print("%d cases, %d failed, %d skipped, %.1f s" % (ran, failed, skipped, time.monotonic() - start))
        return 1 if failed else 0
