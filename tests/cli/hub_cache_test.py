#!/usr/bin/env python3
"""Models named by their id: found in the local Hugging Face cache, where files are links to blobs. Never the network."""
import os
import sys

from harness import Suite, contains, equal
from model_maker import make_llama, read_bytes, read_model, to_hub_cache, write_file

suite = Suite()
RECIPE = "merge_method: passthrough\nmodels:\n- model: org/name\n"
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


def cached(box, cache, model_id="org/name", seed=3, shards=1, **more):
    tensors = make_llama(box.path("made"), seed, shards=shards, mark=str(seed))
    snapshot = to_hub_cache(box.path("made"), cache, model_id, **more)
    return tensors, snapshot


def found_case(variable, place):
    def check(box):
        tensors, _ = cached(box, box.path(*place.split("/")))
        environment = {variable: box.path(place.split("/")[0])} if variable else {}
        out = box.merge(RECIPE, env=environment)
        equal(read_model(out), tensors)
        name = out + "/tokenizer.json"
        assert os.path.isfile(name) and not os.path.islink(name), "companions are copied as files, not as links"
    return check


suite.add("HF_HUB_CACHE", found_case("HF_HUB_CACHE", "hub"))
suite.add("HUGGINGFACE_HUB_CACHE", found_case("HUGGINGFACE_HUB_CACHE", "hub"))
suite.add("HF_HOME", found_case("HF_HOME", "hf/hub"))
suite.add("XDG_CACHE_HOME", found_case("XDG_CACHE_HOME", "xdg/huggingface/hub"))
suite.add("home folder", found_case(None, "home/.cache/huggingface/hub"))


@suite.case
def hub_cache_goes_before_home(box):
    tensors, _ = cached(box, box.path("first"), seed=3)
    cached(box, box.path("hf/hub"), seed=4)
    out = box.merge(RECIPE, env={"HF_HUB_CACHE": box.path("first"), "HF_HOME": box.path("hf")})
    equal(read_model(out), tensors)


@suite.case
def shards_through_links(box):
    tensors, _ = cached(box, box.path("hub"), shards=3)
    equal(read_model(box.merge(RECIPE, env={"HF_HUB_CACHE": box.path("hub")})), tensors)


@suite.case
def revisions(box):
    environment = {"HF_HUB_CACHE": box.path("hub")}
    main, _ = cached(box, box.path("hub"), seed=3)
    branch, _ = cached(box, box.path("hub"), seed=4, revision="v2", commit=COMMIT)
    for name, (suffix, expected) in {"main": ("", main), "branch": ("@v2", branch), "commit": ("@" + COMMIT, branch)}.items():
        equal(read_model(box.merge(RECIPE.replace("org/name", "org/name" + suffix), name, env=environment)), expected, name)
    write_file(box.path("hub/models--org--name/refs/main"), COMMIT + "\n")
    equal(read_model(box.merge(RECIPE, "moved", env=environment)), branch, "a ref that ends in a newline")
    box.write("recipe.yml", RECIPE.replace("org/name", "org/name@v3"))
    equal(box.run("merge", "recipe.yml", "out", env=environment).code, 2)
    contains(box.last.err, "v3")


@suite.case
def folder_beside_the_recipe_goes_before_the_cache(box):
    cached(box, box.path("hub"), seed=3)
    tensors = make_llama(box.path("org/name"), 5)
    equal(read_model(box.merge(RECIPE, env={"HF_HUB_CACHE": box.path("hub")})), tensors)


@suite.case
def model_option_goes_before_the_cache(box):
    cached(box, box.path("hub"), seed=3)
    tensors = make_llama(box.path("mine"), 5)
    equal(read_model(box.merge(RECIPE, "out", "--model", "org/name=mine", env={"HF_HUB_CACHE": box.path("hub")})), tensors)


def broken(box, damage, *parts):
    tensors, snapshot = cached(box, box.path("hub"), shards=2)
    damage(snapshot)
    box.write("recipe.yml", RECIPE)
    result = box.run("merge", "recipe.yml", "out", env={"HF_HUB_CACHE": box.path("hub")})
    equal(result.code, 2, "exit code")
    for part in parts:
        contains(result.err, part)
    assert not os.path.exists(box.path("out"))


@suite.case
def blob_deleted(box):
    shard = "model-00002-of-00002.safetensors"
    broken(box, lambda snapshot: os.remove(os.path.realpath(os.path.join(snapshot, shard))), shard)


@suite.case
def download_was_interrupted(box):
    def damage(snapshot):
        path = os.path.realpath(os.path.join(snapshot, "model-00002-of-00002.safetensors"))
        os.rename(path, path + ".incomplete")
        os.remove(os.path.join(snapshot, "model-00002-of-00002.safetensors"))
    broken(box, damage, "model-00002-of-00002.safetensors")


@suite.case
def snapshot_is_missing(box):
    def damage(snapshot):
        write_file(os.path.join(os.path.dirname(os.path.dirname(snapshot)), "refs", "main"), COMMIT)
    broken(box, damage, "org/name", "recipe.yml:3:10: error:")


@suite.case
def link_out_of_the_cache(box):
    # A shard that points anywhere else would make the merge read what the recipe never named.
    write_file(box.path("secret"), "private\n")
    def damage(snapshot):
        path = os.path.join(snapshot, "model-00001-of-00002.safetensors")
        os.remove(path)
        os.symlink(box.path("secret"), path)
    broken(box, damage, "model-00001-of-00002.safetensors")


@suite.case
def looked_at_by_id(box):
    cached(box, box.path("hub"))
    result = box.ok("inspect", "org/name", env={"HF_HUB_CACHE": box.path("hub")})
    contains(result.out, "layers model.layers: 2")
    contains(box.ok("diff", "org/name", "org/name", env={"HF_HUB_CACHE": box.path("hub")}).out, "identical: equal")
    contains(box.ok("analyze", "org/name", "org/name", env={"HF_HUB_CACHE": box.path("hub")}).out, "[1] is identical to the base")


@suite.case
def inputs_are_never_changed(box):
    _, snapshot = cached(box, box.path("hub"))
    before = {n: (os.readlink(os.path.join(snapshot, n)), read_bytes(os.path.join(snapshot, n))) for n in os.listdir(snapshot)}
    box.merge(RECIPE, env={"HF_HUB_CACHE": box.path("hub")})
    equal({n: (os.readlink(os.path.join(snapshot, n)), read_bytes(os.path.join(snapshot, n))) for n in os.listdir(snapshot)}, before)


sys.exit(suite.run())
