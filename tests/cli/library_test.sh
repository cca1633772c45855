#!/usr/bin/env bash
# Installs into an empty prefix, builds examples/library against that, and merges two tiny models with it and with the installed program.
set -euo pipefail
if [ -n "${SANITIZED:-}" ]; then
  echo "skipped: a program without sanitizers cannot use a library built with them"
  exit 0
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "$*"; }; }

quietly cmake --install "$CRUCIBLE_BUILD_DIR" --prefix "$work/prefix"
for file in bin/crucible bin/mergekit-yaml include/crucible/crucible.h; do
  [ -e "$work/prefix/$file" ] || fail "not installed: $file"
done
for link in mergekit-yaml mergekit-legacy mergekit-layershuffle mergekit-multi mergekit-pytorch bakllama; do
  [ "$(readlink "$work/prefix/bin/$link")" = crucible ] || fail "bin/$link is no link to the program beside it"
done
"$work/prefix/bin/mergekit-yaml" --help | grep -q -- --lazy-unpickle || fail "bin/mergekit-yaml is not mergekit's command"
for header in "$work"/prefix/include/crucible/*.h; do
  ! grep -q "$CRUCIBLE_SOURCE_DIR" "$header" || fail "$header names the source folder"
done
# An installed package that points back into a build or source folder works on this machine only.
! grep -rq -e "$CRUCIBLE_SOURCE_DIR" -e "$CRUCIBLE_BUILD_DIR" "$work"/prefix/lib*/ --include=*.cmake || fail "the CMake package names the source or build folder"

quietly cmake -G Ninja -S "$CRUCIBLE_SOURCE_DIR/examples/library" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release
quietly cmake --build "$work/build"

mkdir "$work/models"
cd "$work/models"
PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 python3 -c '
from model_maker import make_llama
make_llama("a", 1)
make_llama("b", 2)'
"$work/build/merge_two" a b out >"$work/summary" || fail "merge_two"
grep -q "tensors merged by Linear" "$work/summary" || fail "the summary: $(cat "$work/summary")"
printf 'merge_method: linear\nmodels:\n- model: ./a\n- model: ./b\nparameters: {weight: 0.5}\n' >recipe.yml
quietly "$work/prefix/bin/crucible" merge recipe.yml same --quiet
cmp out/model.safetensors same/model.safetensors || fail "the library and the program disagree"
code=0
"$work/build/merge_two" a nowhere never 2>"$work/errors" || code=$?
[ "$code" = 2 ] || fail "exit $code for a model that is not there"
grep -q nowhere "$work/errors" || fail "the message: $(cat "$work/errors")"
[ ! -e never ] || fail "an output folder is left"
echo "the installed library works"
