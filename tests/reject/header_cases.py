"""Damaged safetensors files: (name, content of model.safetensors, what the message must match). Each row of the reference's table of attacks."""
import json
import struct

from model_maker import encode, raw_safetensors

DATA = encode("F16", [0.25, 0.5, 0.75, 1.0, 1.25, 1.5])  # t: 2 x 2, u: 2
T = '"t":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}'
U = '"u":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}'
GOOD = raw_safetensors("{%s,%s}" % (T, U), DATA)


def header(text, data=DATA):
    return raw_safetensors(text, data)


def one(dtype='"F16"', shape="[2,2]", offsets="[0,8]", data=DATA[:8]):
    return header('{"t":{"dtype":%s,"shape":%s,"data_offsets":%s}}' % (dtype, shape, offsets), data)


def many_on_one_range(n):
    entries = ",".join('"t%06d":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}' % i for i in range(n))
    return header("{%s}" % entries, DATA[:8])


LENGTHS = [
    ("no byte", b"", r"0 bytes|empty"),
    ("seven bytes", b"\0" * 7, r"7 bytes"),
    ("length 2^64 - 1", struct.pack("<Q", 2**64 - 1) + b"{}", r"header of 18446744073709551615 bytes"),
    ("length 2^63", struct.pack("<Q", 2**63) + b"{}", r"header of 9223372036854775808 bytes"),
    ("length above the limit", struct.pack("<Q", 100000001) + b"{}", r"header of 100000001 bytes"),
    ("length above the file", struct.pack("<Q", 100000000) + b"{}", r"header of 100000000 bytes.*the file has 10"),
    ("length one too large", struct.pack("<Q", len(GOOD) - 7) + GOOD[8:], r"a header of %d bytes is claimed" % (len(GOOD) - 7)),
    ("one byte short", GOOD[:-1], r"12 bytes.*1 byte short"),
    ("half the file", GOOD[:len(GOOD) // 2], r"is claimed|short"),
    ("one byte too many", GOOD + b"\0", r"1 byte after the last tensor"),
    ("a polyglot tail", GOOD + b"PK\5\6" + b"\0" * 18, r"22 bytes after the last tensor"),
]

TEXT = [
    ("an open brace only", header("{", b""), r"not valid JSON"),
    ("byte 0xff", header(b'{"\xff":1}', b""), r"not valid JSON"),
    ("byte order mark", header(b"\xef\xbb\xbf{%s,%s}" % (T.encode(), U.encode())), r"byte-order mark"),
    ("lone surrogate", header('{"\\ud800":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}', DATA[:8]), r"not valid JSON"),
    ("raw control byte", header('{"a\nb":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}', DATA[:8]), r"not valid JSON"),
    ("trailing value", header("{%s,%s} 1" % (T, U)), r"not valid JSON"),
    ("trailing NULs", header("{%s,%s}\0\0" % (T, U)), r"NUL byte"),
    ("trailing form feed", header("{%s,%s}\f" % (T, U)), r"not valid JSON"),
    ("comment", header("{/* x */%s,%s}" % (T, U)), r"not valid JSON"),
    ("trailing comma", header("{%s,%s,}" % (T, U)), r"not valid JSON"),
    ("NaN", header('{%s,%s,"__metadata__":{"x":NaN}}' % (T, U)), r"not valid JSON"),
    ("top level is a list", header("[%s]" % T.replace('"t":', ""), DATA[:8]), r"JSON object|is a list|an array"),
    ("top level is a number", header("7", b""), r"not a JSON object"),
    ("header of blanks", header(" " * 64, b""), r"its header is empty"),
    ("no header", header("", b""), r"its header is empty|zeros at its start"),
    ("nested 200 deep in an unknown field", header('{%s,"u":{"dtype":"F16","shape":[2],"data_offsets":[8,12],"x":%s}}' % (T, "[" * 200 + "]" * 200)),
     r"nested deeper than"),
    ("1e400 in an unknown field", header('{%s,"u":{"dtype":"F16","shape":[2],"data_offsets":[8,12],"x":1e400}}' % T), r"not valid JSON"),
]

REPEATS = [
    ("one name twice", header("{%s,%s}" % (T, T), DATA[:8]), r"duplicate name: tensor \"t\""),
    ("one name twice by an escape", header("{%s,%s}" % (T, T.replace('"t"', '"\\u0074"')), DATA[:8]), r"duplicate name: tensor \"t\""),
    ("one name twice on two ranges", header("{%s,%s}" % (T, U.replace('"u"', '"t"'))), r"duplicate name: tensor \"t\""),
    ("metadata twice", header('{"__metadata__":{},"__metadata__":{},%s,%s}' % (T, U)), r"__metadata__ stands there twice"),
    ("one metadata key twice", header('{"__metadata__":{"a":"1","a":"2"},%s,%s}' % (T, U)), r"__metadata__ has the key \"a\" twice"),
    ("metadata value is a number", header('{"__metadata__":{"a":1},%s,%s}' % (T, U)), r"__metadata__ \"a\" is a number, not a string"),
    ("metadata is a text", header('{"__metadata__":"x",%s,%s}' % (T, U)), r"__metadata__ is a string, not an object"),
    ("one field twice", one(shape='[2,2],"shape":[2,2]'), r"tensor \"t\": the field \"shape\" stands there twice"),
]

ENTRIES = [
    ("field missing", header('{"t":{"dtype":"F16","data_offsets":[0,8]}}', DATA[:8]), r"tensor \"t\": the field \"shape\" is missing"),
    ("entry is a list", header('{"t":["F16",[2,2],[0,8]]}', DATA[:8]), r"tensor \"t\": its entry is an array, not an object"),
    ("dtype is an object", one(dtype='{"F16":null}'), r"tensor \"t\": dtype is an object"),
    ("dtype in lower case", one(dtype='"f16"'), r"tensor \"t\": unknown dtype \"f16\""),
    ("dtype unknown", one(dtype='"Q4_0"'), r"tensor \"t\": unknown dtype \"Q4_0\""),
    ("shape with a float", one(shape="[2.0,2]"), r"tensor \"t\": shape holds 2.0"),
    ("shape negative", one(shape="[-2,2]"), r"tensor \"t\": shape holds a negative number"),
    ("shape with minus zero", one(shape="[-0,2]"), r"tensor \"t\": shape holds|not valid JSON"),
    ("shape with a leading zero", one(shape="[02,2]"), r"not valid JSON"),
    ("shape with a text", one(shape='["2",2]'), r"tensor \"t\": shape holds a string"),
    ("shape with 2^64", one(shape="[18446744073709551616,2]"), r"tensor \"t\": shape holds 18446744073709551616"),
    ("huge dimension beside a zero", one(shape="[0,18446744073709551615]", offsets="[0,0]", data=b""), r"tensor \"t\": dimension 18446744073709551615"),
    ("product overflows", one(shape="[281474976710656,281474976710656]"), r"tensor \"t\": shape .* is larger than any file"),
    ("product overflows, zero last", one(shape="[281474976710656,281474976710656,0]", offsets="[0,0]", data=b""), r"tensor \"t\": .*larger than any file"),
    ("rank 1000", one(shape="[%s]" % ",".join(["1"] * 1000), offsets="[0,2]", data=DATA[:2]), r"tensor \"t\": has more than 64 dimensions"),
    ("shape needs more than the offsets give", one(shape="[2,3]"), r"tensor \"t\": shape \[2, 3\] of F16 needs 12 bytes, data_offsets give 8"),
    ("half a byte", one(dtype='"F4"', shape="[3]", offsets="[0,2]", data=DATA[:2]), r"tensor \"t\": shape \[3\] of F4 does not fill whole bytes"),
    ("name with NUL", header('{"a\\u0000b":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}', DATA[:8]), r"tensor \"a\\x00b\": a NUL byte in the name"),
    ("name of 1 MB", header('{"%s":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}' % ("x" * 1000000), DATA[:8]), r"a name of 1000000 bytes"),
]

OFFSETS = [
    ("offsets as floats", one(offsets="[0.0,8.0]"), r"tensor \"t\": data_offsets holds 0.0"),
    ("one offset", one(offsets="[0]"), r"tensor \"t\": data_offsets holds 1 number, not two"),
    ("three offsets", one(offsets="[0,8,8]"), r"tensor \"t\": data_offsets holds more than two numbers"),
    ("offsets reversed", one(offsets="[8,0]"), r"tensor \"t\": data_offsets \[8, 0\] run backwards"),
    ("offset negative", one(offsets="[-8,0]"), r"tensor \"t\": data_offsets holds a negative number"),
    ("offset of 2^63", one(offsets="[0,9223372036854775808]"), r"tensor \"t\": data offset 9223372036854775808"),
    ("first tensor not at 0", one(offsets="[4,12]", data=DATA), r"tensor \"t\": the first tensor begins at byte 4"),
    ("hole", header("{%s,%s}" % (T, U.replace("[8,12]", "[10,14]")), DATA + b"\0\0"), r"tensor \"u\": begins at byte 10, but \"t\" ends at 8"),
    ("overlap", header("{%s,%s}" % (T, U.replace("[8,12]", "[6,10]")), DATA[:10]), r"tensor \"u\": begins at byte 6, but \"t\" ends at 8: they overlap"),
    ("two names of one range", header("{%s,%s}" % (T, T.replace('"t"', '"v"')), DATA[:8]), r"tensor \"v\": begins at byte 0.*overlap"),
    ("empty tensor at a wrong place", header('{%s,"e":{"dtype":"F16","shape":[0],"data_offsets":[4,4]},%s}' % (T, U)), r"tensor \"(e|t|u)\".*(overlap|begins)"),
    ("100 000 names of one range", many_on_one_range(100000), r"tensor \"t0\d+\": begins at byte 0.*overlap"),
]

OTHER_FILES = [
    ("Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n" % (b"0" * 64), r"Git LFS pointer"),
    ("web page", b"<!DOCTYPE html><html><body>404</body></html>", r"a web page"),
    ("zip archive", b"PK\3\4" + b"\0" * 60, r"zip archive"),
    ("GGUF with the wrong name", b"GGUF\3\0\0\0" + b"\0" * 40, r"a GGUF file"),
    ("pickle", b"\x80\x02}q\0." + b"\0" * 20, r"a pickle"),
    ("zeros", b"\0" * 4096, r"zeros at its start"),
    ("JSON text", json.dumps({"weights": [1, 2, 3]}).encode(), r"a JSON text"),
]

ALL = LENGTHS + TEXT + REPEATS + ENTRIES + OFFSETS + OTHER_FILES
