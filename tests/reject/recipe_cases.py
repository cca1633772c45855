"""Wrong recipes: (name, recipe text, line:column of the message or "", what the output must match). Exit code 2 for all of them.

The folders ./base, ./a and ./b exist: two-layer models of one shape.
"""

TIES = """\
merge_method: ties
base_model: ./base
models:
- model: ./a
  parameters:
    weight: 1.0
    density: 0.5
- model: ./b
  parameters:
    weight: 0.5
dtype: float16
"""

SLICES = """\
merge_method: passthrough
slices:
- sources:
  - model: ./a
    layer_range: [0, 2]
- sources:
  - model: ./b
    layer_range: [1, 2]
dtype: float16
"""

DELLA = """\
models:
- model: ./a
  parameters: {weight: 1.0}
merge_method: della
base_model: ./base
parameters:
  density: 0.8
  epsilon: 0.1
"""


def ties(old, new):
    assert TIES.count(old) >= 1, old
    return TIES.replace(old, new, 1)


def slices(old, new):
    assert SLICES.count(old) >= 1, old
    return SLICES.replace(old, new, 1)


def bomb(levels=12, width=10):
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    for i in range(1, levels):
        lines.append("x%d: &x%d [%s]" % (i, i, ", ".join(["*x%d" % (i - 1)] * width)))
    return "\n".join(lines) + "\n" + TIES


KEYS = [
    ("unknown key at the top", ties("dtype: float16", "dype: float16"), "11:1", r"unknown key `dype` at the top level.*\n(.*\n)*.*did you mean `dtype`\?"),
    ("unknown key of a model", ties("  parameters:", "  paramters:"), "5:3", r"unknown key `paramters`(.*\n)*.*did you mean `parameters`\?"),
    ("parameter outside of parameters", ties("  parameters:\n    weight: 0.5", "  weight: 0.5"), "9:3", r"`weight` stands outside of `parameters:`"),
    ("key at the wrong level", ties("dtype:", "layer_range: [0, 1]\ndtype:"), "11:1", r"`layer_range` does not belong at the top level: its place is"),
    ("key of a slice in models", ties("- model: ./b", "- model: ./b\n  layer_range: [0, 1]"), "9:3", r"`layer_range` does not belong in an entry of `models`"),
    ("old name of a filter", ties("density: 0.5", "density: [{pattern: mlp, value: 0.5}, {value: 1}]"), "7:16", r"unknown key `pattern`(.*\n)*.*`filter`"),
    ("revision beside model", ties("- model: ./b", "- model: ./b\n  revision: v2"), "9:3", r"unknown key `revision`(.*\n)*.*write `model: ./b@v2`"),
    ("name of a multi-merge document", "name: x\n" + TIES, "1:1", r"crucible multi"),
    ("residual_weight", slices("- sources:", "- residual_weight: 0.5\n  sources:"), "3:3", r"`residual_weight` has no meaning"),
    ("seed in the recipe", ties("dtype:", "seed: 3\ndtype:"), "11:1", r"the seed is an option of the command"),
    ("duplicate key at the top", TIES + "dtype: bfloat16\n", "12:1", r"duplicate key `dtype`, first given at 11:1"),
    ("duplicate parameter", ties("density: 0.5", "weight: 0.5"), "7:5", r"duplicate key `weight`, first given at 6:5"),
    ("empty key", ties("dtype:", ": 3\ndtype:"), "11:1", r"key"),
    ("key that is a list", ties("dtype:", "? [a, b]\n: 3\ndtype:"), "11:3", r"a key must be a single text"),
]

METHODS = [
    ("method with a hyphen", ties("ties", "dare-ties"), "1:15", r"unknown merge method `dare-ties`(.*\n)*.*did you mean `dare_ties`\?"),
    ("unknown method", ties("ties", "frankenmerge"), "1:15", r"unknown merge method `frankenmerge`(.*\n)*.*methods: .*della"),
    ("method missing", ties("merge_method: ties\n", ""), "1:1", r"`merge_method` is missing"),
    ("method is a list", ties("ties", "[ties]"), "1:15", r"`merge_method` must be the name of a method, not a list"),
    ("base model missing", ties("base_model: ./base\n", ""), "1:15", r"`ties` needs a `base_model`"),
    ("slerp of three", ties("ties", "slerp"), "4:10", r"`slerp` needs exactly 1 model besides the base model.* has 2"),
    ("slerp without t", "merge_method: slerp\nbase_model: ./base\nmodels:\n- model: ./a\n", "1:15", r"`t` is missing: `slerp` needs it"),
    ("passthrough of two", "merge_method: passthrough\nmodels:\n- model: ./a\n- model: ./b\n", "3:10", r"`passthrough` needs exactly 1 model"),
    ("epsilon and window", DELLA + "  window: 0.2\n", "4:15", r"both epsilon and window"),
    ("weights sum to zero", "merge_method: linear\nmodels:\n- model: ./a\n  parameters: {weight: 1}\n- model: ./b\n  parameters: {weight: -1}\n", "1:15",
     r"the weights sum to zero(.*\n)*.*normalize: false"),
]

VALUES = [
    ("unknown parameter", ties("density", "densty"), "7:5", r"unknown parameter `densty`(.*\n)*.*did you mean `density`\?"),
    ("parameter of another method", ties("density: 0.5", "epsilon: 0.1"), "7:5", r"`epsilon` is not used by the method `ties`(.*\n)*.*--allow-unused"),
    ("parameter of a method to come", ties("density: 0.5", "select_topk: 0.1"), "7:5", r"`select_topk` is not used by the method `ties`"),
    ("weight of passthrough", slices("[0, 2]", "[0, 2]\n    parameters: {weight: 1}"), "6:18", r"`weight` is not used by the method `passthrough`"),
    ("global parameter at a model", ties("density: 0.5", "normalize: true"), "7:5", r"`normalize` applies to the whole merge"),
    ("weight missing", ties("  parameters:\n    weight: 0.5\n", ""), "8:10", r"`weight` is missing for `./b`"),
    ("weight is a word", ties("weight: 1.0", "weight: high"), "6:13", r"`weight` is `high`, allowed is any number"),
    ("weight with a comma", ties("weight: 1.0", "weight: 0,5"), "6:13", r"write a decimal point"),
    ("weight in per cent", ties("weight: 1.0", "weight: 50%"), "6:13", r"not a percentage"),
    ("weight with a leading zero", ties("weight: 1.0", "weight: 010"), "6:13", r"leading zero"),
    ("weight not a number", ties("weight: 1.0", "weight: .nan"), "6:13", r"it must be finite"),
    ("weight infinite", ties("weight: 1.0", "weight: -.inf"), "6:13", r"it must be finite"),
    ("weight too large", ties("weight: 1.0", "weight: 1e400"), "6:13", r"too large"),
    ("weight without value", ties("weight: 1.0", "weight:"), "7:5", r"`weight` has no value"),
    ("density above 1", ties("density: 0.5", "density: 1.5"), "7:14", r"`density` is 1.5, allowed is a number in \[0, 1\]"),
    ("density below 0", ties("density: 0.5", "density: -0.1"), "7:14", r"`density` is -0.1, allowed"),
    ("flag that is none", TIES + "parameters:\n  normalize: maybe\n", "13:14", r"`normalize` is `maybe`, allowed is true or false"),
    ("choice that is none", DELLA + "  rescale: l2\n", "9:12", r"`rescale` is `l2`, allowed is one of l1, none, per_element"),
    ("parameters is a list", ties("    weight: 0.5", "  - weight: 0.5"), "10:3", r"`parameters` must be a mapping"),
    ("empty gradient", ties("density: 0.5", "density: []"), "7:14", r"`density` is an empty list"),
    ("word in a gradient", ties("density: 0.5", "density: [0.5, much]"), "7:20", r"`density` is `much`"),
    ("gradient point out of range", ties("density: 0.5", "density: [0.5, 2]"), "7:20", r"`density` is 2, allowed"),
    ("list in a gradient", ties("density: 0.5", "density: [0.5, [1]]"), "7:20", r"inside a list"),
    ("gradient of a flag", TIES + "parameters:\n  normalize: [true, false]\n", "13:14", r"`normalize` cannot change over the layers"),
    ("condition without value", ties("density: 0.5", "density: [{filter: mlp}]"), "7:15", r"`value` is missing in a condition of `density`"),
    ("filter is a list", ties("density: 0.5", "density: [{filter: [mlp], value: 1}]"), "7:24", r"`filter` must be one text"),
    ("conditions beside numbers", ties("density: 0.5", "density: [{filter: mlp, value: 1}, 0.5]"), "7:40", r"`density` mixes conditions with"),
    ("condition in a condition", ties("density: 0.5", "density: {value: {value: 1}}"), "7:22", r"a condition inside a condition"),
    ("filter leaves tensors without value", ties("weight: 0.5", "weight: [{filter: mlp, value: 0.5}]"), "1:15", r"`weight` of ./b; tensor \S+ has none"),
    ("dtype of another program", ties("float16", "fp16"), "11:8", r"`dtype` is `fp16`.*(.*\n)*.*did you mean `float16`\?"),
    ("dtype misspelt", ties("float16", "flot16"), "11:8", r"`dtype` is `flot16`.*(.*\n)*.*did you mean `float16`\?"),
    ("dtype of integers", ties("float16", "int8"), "11:8", r"never averaged as int8"),
    ("dtype is a list", ties("float16", "[float16]"), "11:8", r"`dtype` must be the name of a dtype"),
    ("out_dtype unknown", TIES + "out_dtype: q4\n", "12:12", r"`out_dtype` is `q4`"),
]

STRUCTURE = [
    ("models and slices", TIES + "slices:\n- sources:\n  - model: ./a\n    layer_range: [0, 1]\n", "13:1", r"`models` and `slices` are given, allowed is one"),
    ("nothing to merge", "merge_method: ties\nbase_model: ./base\n", "1:1", r"nothing to merge"),
    ("models is empty", "merge_method: ties\nbase_model: ./base\nmodels: []\n", "1:1", r"nothing to merge"),
    ("models is a text", "merge_method: ties\nbase_model: ./base\nmodels: ./a\n", "3:9", r"`models` must be a list"),
    ("entry is a text", ties("- model: ./b\n  parameters:\n    weight: 0.5", "- ./b"), "8:3", r"an entry of `models` must be a mapping(.*\n)*.*write `- model: ./b`"),
    ("entry without model", ties("- model: ./b\n  parameters", "- parameters"), "8:3", r"`model` is missing in this entry"),
    ("model is a list", ties("- model: ./b", "- model: [./b]"), "8:10", r"a model reference must be a text or a mapping"),
    ("model without path", ties("- model: ./b", '- model: ""'), "8:10", r"the path of a model is empty"),
    ("layer range negative", slices("[0, 2]", "[-1, 2]"), "5:18", r"`layer_range` \[-1, 2\] holds no layers"),
    ("layer range empty", slices("[0, 2]", "[1, 1]"), "5:18", r"`layer_range` \[1, 1\] holds no layers"),
    ("layer range backwards", slices("[0, 2]", "[2, 0]"), "5:18", r"holds no layers"),
    ("layer range of three", slices("[0, 2]", "[0, 1, 2]"), "5:18", r"must be two integers, not a list of 3"),
    ("layer range of words", slices("[0, 2]", "[0, last]"), "5:22", r"a layer number must be an integer, not `last`"),
    ("layer range is a number", slices("[0, 2]", "2"), "5:18", r"`layer_range` must be two integers"),
    ("layer range past the end", slices("[0, 2]", "[0, 3]"), "5:18", r"reaches past the last layer: ./a has 2 layers"),
    ("layer range missing", slices("    layer_range: [0, 2]\n", ""), "4:5", r"`layer_range` is missing"),
    ("slices of two lengths", "merge_method: linear\nparameters: {weight: 1}\nslices:\n- sources:\n  - model: ./a\n    layer_range: [0, 2]\n"
     "  - model: ./b\n    layer_range: [0, 1]\n", "8:18", r"same number of layers: this one has 1, the first one 2"),
    ("slice without sources", "merge_method: passthrough\nslices:\n- parameters: {scale: 2}\n", "3:3", r"`sources` is missing"),
    ("module without models", "merge_method: passthrough\nmodules:\n  mlp: {}\n", "3:3", r"the module `mlp` has neither"),
    ("module of no tensor", "merge_method: passthrough\nmodules:\n  vision:\n    models: [{model: ./a}]\n  default:\n    models: [{model: ./b}]\n", "3:3",
     r"no tensor belongs to module `vision`"),
    ("modules that leave tensors out", "merge_method: passthrough\nmodules:\n  mlp:\n    models: [{model: ./a}]\n", "3:3", r"no module covers .*embed_tokens"),
]

LATER = [
    ("LoRA reference", ties("- model: ./b", "- model: ./b+./lora"), "8:10", r"not supported yet: LoRA adapters"),
    ("two adapters", ties("- model: ./b", "- model: ./b+x+y"), "8:10", r"more than one `\+`"),
    ("two revisions", ties("- model: ./b", "- model: ./b@x@y"), "8:10", r"more than one `@`"),
    ("empty revision", ties("- model: ./b", "- model: ./b@"), "8:10", r"no revision after its `@`"),
    ("reference with an unknown key", ties("- model: ./b", "- model: {model: {path: ./b, revison: x}}"), "8:30", r"unknown key `revison`(.*\n)*.*did you mean `revision`\?"),
    ("override_architecture", ties("- model: ./b", "- model: {model: {path: ./b}, override_architecture: X}"), "8:10", r"not supported yet: `override_architecture`"),
    ("tokenizer_source union", TIES + "tokenizer_source: union\n", "12:1", r"not supported yet: building a tokenizer"),
    ("tokenizer with an unknown key", TIES + "tokenizer: {source: base, token: {}}\n", "12:27", r"unknown key `token` in `tokenizer`"),
    ("tokenizer twice", TIES + "tokenizer: {source: base}\ntokenizer_source: base\n", "13:19", r"allowed is one of them"),
    ("chat_template", TIES + "chat_template: chatml\n", "12:1", r"not supported yet: setting a chat template"),
    ("several documents", TIES + "---\n" + TIES, "13:1", r"the file holds several merges; one is wanted here"),
]

YAML = [
    ("alias bomb", bomb(), "", r"recipe.yml:\d+:\d+: error: the file is too large: with its aliases expanded"),
    ("alias to itself", "a: &x [*x]\n" + TIES, "1:8", r"an alias inside the value that it stands for"),
    ("unknown alias", ties("- model: ./b", "- model: *nowhere"), "8:10", r"an alias without its anchor"),
    ("nested brackets", "x: " + "[" * 5000 + "]" * 5000 + "\n" + TIES, "", r"recipe.yml:1:\d+: error: nested too deeply"),
    ("nested block", "".join(" " * i + "a:\n" for i in range(300)), "", r"nested too deeply"),
    ("unclosed brackets", "x: " + "[" * 600000, "", r"recipe.yml.*(nested too deeply|too long|not closed)"),
    ("python tag", ties("- model: ./b", "- model: !!python/object/apply:os.system [id]"), "", r"recipe.yml:8:\d+: error: the tag `python/object/apply:os.system` is not allowed"),
    ("own tag", ties("weight: 1.0", "weight: !secret 1.0"), "", r"recipe.yml:6:\d+: error: the tag `!secret` is not allowed"),
    ("invalid UTF-8", ties("- model: ./b", "- model: ./b\udcff"), "8:13", r"not valid UTF-8: byte 0xff"),
    ("UTF-16", b"\xff\xfe" + TIES.encode("utf-16-le"), "", r"recipe.yml.*the file is in UTF-16"),
    ("indented with a tab", ties("    density", "\tdensity"), "7:1", r"a tab is used for indentation"),
    ("NUL byte", ties("- model: ./b", "- model: ./b\0"), "8:13", r"a control character"),
    ("too large", TIES + "#" * (17 << 20), "", r"recipe.yml: error: .*(at most|more than the)"),
    ("empty", "", "", r"recipe.yml: error: the recipe is empty"),
    ("only a comment", "# nothing\n---\n", "", r"recipe.yml: error: the recipe is empty"),
    ("a text", "merge these please\n", "1:1", r"a recipe is a mapping"),
    ("a list", "- merge_method: ties\n", "1:1", r"a recipe is a mapping.*not a list"),
    ("no space after the colon", "merge_method:ties\nmodels:\n- model: ./a\n", "", r"recipe.yml:\d+"),
    ("unclosed quote", ties("- model: ./b", '- model: "./b'), "8:10", r"the quote that opens here is never closed"),
    ("unclosed list", ties("density: 0.5", "density: [0.5, 1"), "", r"recipe.yml:\d+:\d+: error: .*(list in brackets is not closed|not allowed here)"),
    ("wrong indentation", ties("    density", "   density"), "", r"recipe.yml:\d+:\d+: error: .*(does not fit|not allowed here)"),
    ("Windows path in double quotes", ties("- model: ./b", '- model: "C:\\models\\b"'), "", r"recipe.yml:8:\d+: error: unknown escape(.*\n)*.*forward slashes"),
]

ALL = KEYS + METHODS + VALUES + STRUCTURE + LATER + YAML

# Five mistakes of five kinds; all are told in one run.
FIVE = """\
merge_method: dare-ties
base_model: ./base
models:
- model: ./a
  parameters:
    weight: heavy
    densty: 0.5
- model: ./b
  weigth: 1
  parameters:
    density: 3
dype: float16
"""
FIVE_MESSAGES = [r":1:15: error: unknown merge method `dare-ties`", r":6:13: error: `weight` is `heavy`", r":7:5: error: unknown parameter `densty`",
                 r":9:3: error: unknown key `weigth`", r":11:14: error: `density` is 3", r":12:1: error: unknown key `dype`"]
