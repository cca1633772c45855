// The safetensors header: what is accepted and refused (formats.md 1.3, 1.4, catalogue S), and the bytes that are written.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "checkpoint/safetensors.h"
#include "support/faulty_file.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

SafetensorsHeader read_bytes(const std::string& file) { return read_safetensors_header(FaultyReadFile(file, nullptr)); }

std::string problem_of(const std::string& header, std::int64_t data_bytes) {
  try {
    parse_safetensors_header(header, data_bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInput);
    return error.what();
  }
  return "accepted";
}

std::string file_problem(const std::string& file) {
  try {
    read_bytes(file);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInput);
    return error.what();
  }
  return "accepted";
}

// One entry: `x`, two F32.
const std::string kEntry = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";

struct Case {
  const char* name;
  std::string header;
  std::int64_t data_bytes;
  std::string expected;  // part of the message; "accepted"
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string with_shape(const std::string& shape) { return R"({"x":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,8]}})"; }
std::string with_offsets(const std::string& offsets) { return R"({"x":{"dtype":"F32","shape":[2],"data_offsets":)" + offsets + "}}"; }
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, std::int64_t begin, std::int64_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name, dtype, shape, begin, end);
}
std::string two(std::int64_t b1, std::int64_t e1, std::int64_t b2, std::int64_t e2) {
  return "{" + entry("a", "U8", std::to_string(e1 - b1), b1, e1) + "," + entry("b", "U8", std::to_string(e2 - b2), b2, e2) + "}";
}
std::string with_extra(const std::string& value) {
  return R"({"x":{"extra":)" + value + R"(,"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
}
std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
}

const std::vector<Case> kTable = {
    {"plain", "{\"x\":" + kEntry + "}", 8, "accepted"},
    {"same_name_identical", "{\"x\":" + kEntry + ",\"x\":" + kEntry + "}", 8, "duplicate name"},
    {"same_name_by_escape", "{\"a\":" + kEntry + ",\"\\u0061\":" + kEntry + "}", 8, "duplicate name: tensor \"a\""},
    {"same_name_other_range", "{" + entry("x", "U8", "4", 0, 4) + "," + entry("x", "U8", "4", 4, 8) + "}", 8, "duplicate name"},
    {"metadata_twice", R"({"__metadata__":{},"__metadata__":{}})", 0, "__metadata__ stands there twice"},
    {"metadata_key_twice", R"({"__metadata__":{"a":"1","a":"2"}})", 0, "key \"a\" twice"},
    {"metadata_key_twice_by_escape", R"({"__metadata__":{"a":"1","\u0061":"2"}})", 0, "key \"a\" twice"},
    {"metadata_null", R"({"__metadata__":null})", 0, "accepted"},
    {"metadata_number", R"({"__metadata__":{"a":1}})", 0, "__metadata__ \"a\" is a number, not a string"},
    {"metadata_negative", R"({"__metadata__":{"a":-1}})", 0, "not a string"},
    {"metadata_null_value", R"({"__metadata__":{"a":null}})", 0, "not a string"},
    {"metadata_object", R"({"__metadata__":{"a":{}}})", 0, "is an object, not a string"},
    {"metadata_array", R"({"__metadata__":[]})", 0, "not an object"},
    {"metadata_string", R"({"__metadata__":"x"})", 0, "not an object"},
    {"extra_field", with_extra("[1,{\"y\":[null,true,2.5,-1,\"s\"]}]"), 8, "accepted"},
    {"extra_field_scalar", with_extra("1.5"), 8, "accepted"},
    {"extra_field_null", with_extra("null"), 8, "accepted"},
    {"extra_field_twice", R"({"x":{"e":1,"e":2,"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "\"e\" stands there twice"},
    {"dtype_twice", R"({"x":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "\"dtype\" stands there twice"},
    {"shape_twice", R"({"x":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})", 8, "\"shape\" stands there twice"},
    {"offsets_twice", R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]}})", 8,
     "\"data_offsets\" stands there twice"},
    {"no_dtype", R"({"x":{"shape":[2],"data_offsets":[0,8]}})", 8, "\"dtype\" is missing"},
    {"no_shape", R"({"x":{"dtype":"F32","data_offsets":[0,8]}})", 8, "\"shape\" is missing"},
    {"no_offsets", R"({"x":{"dtype":"F32","shape":[2]}})", 8, "\"data_offsets\" is missing"},
    {"empty_entry", R"({"x":{}})", 0, "is missing"},
    {"shape_float", with_shape("2.0"), 8, "shape holds 2.0"},
    {"shape_exponent", with_shape("2e0"), 8, "shape holds 2e0"},
    {"shape_negative", with_shape("-2"), 8, "shape holds a negative number"},
    {"shape_minus_zero", with_shape("2,-0"), 8, "shape holds a negative number"},
    {"shape_leading_zero", with_shape("02"), 8, "not valid JSON"},
    {"shape_string", with_shape("\"2\""), 8, "shape holds a string"},
    {"shape_null", with_shape("null"), 8, "shape holds null"},
    {"shape_nested", with_shape("[2]"), 8, "shape holds an array"},
    {"shape_2_64", with_shape("18446744073709551616"), 8, "shape holds 18446744073709551616"},
    {"shape_2_64_minus_1", with_shape("18446744073709551615"), 8, "larger than 2^48"},
    {"shape_number", R"({"x":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "shape is a number"},
    {"shape_object", R"({"x":{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", 8, "shape is an object"},
    {"offsets_float", with_offsets("[0,8.0]"), 8, "data_offsets holds 8.0"},
    {"offsets_one", with_offsets("[8]"), 8, "data_offsets holds 1 number, not two"},
    {"offsets_none", with_offsets("[]"), 8, "data_offsets holds 0 numbers"},
    {"offsets_three", with_offsets("[0,8,8]"), 8, "more than two"},
    {"offsets_reversed", with_offsets("[8,0]"), 8, "run backwards"},
    {"offsets_huge", with_offsets("[0,18446744073709551615]"), 8, "larger than any file"},
    {"offsets_negative", with_offsets("[-1,8]"), 8, "negative"},
    {"offsets_null", with_offsets("null"), 8, "data_offsets is null"},
    {"entry_as_array", R"({"x":["F32",[2],[0,8]]})", 8, "its entry is an array"},
    {"entry_as_number", R"({"x":1})", 8, "its entry is a number"},
    {"entry_null", R"({"x":null})", 8, "its entry is null"},
    {"dtype_object", R"({"x":{"dtype":{"F32":null},"shape":[2],"data_offsets":[0,8]}})", 8, "dtype is an object"},
    {"dtype_number", R"({"x":{"dtype":1,"shape":[2],"data_offsets":[0,8]}})", 8, "dtype is a number"},
    {"dtype_lower", R"({"x":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}})", 8, "unknown dtype \"f32\""},
    {"dtype_unknown", R"({"x":{"dtype":"F128","shape":[2],"data_offsets":[0,8]}})", 8, "unknown dtype \"F128\""},
    {"gap", two(0, 4, 6, 8), 8, "2 bytes of no tensor"},
    {"first_not_at_0", two(2, 4, 4, 8), 8, "begins at byte 2, not at 0"},
    {"overlap", two(0, 6, 4, 8), 8, "overlap"},
    {"alias", two(0, 8, 0, 8), 8, "overlap"},
    {"inside", two(0, 8, 2, 4), 8, "overlap"},
    {"trailing_byte", two(0, 4, 4, 8), 9, "1 byte after the last tensor"},
    {"one_short", two(0, 4, 4, 8), 7, "cut off, 1 byte short"},
    {"order_of_keys", two(4, 8, 0, 4), 8, "accepted"},
    {"trailing_value", "{\"x\":" + kEntry + "}{}", 8, "not valid JSON"},
    {"trailing_nul", std::string("{}\0\0", 4), 0, "NUL"},
    {"trailing_form_feed", "{}\f", 0, "not valid JSON"},
    {"trailing_blanks", "{} \t\r\n", 0, "accepted"},
    {"leading_blanks", " \t\r\n{}", 0, "accepted"},
    {"byte_order_mark", "\xEF\xBB\xBF{}", 0, "byte-order mark"},
    {"bad_utf8", "{\"\xFF\":" + kEntry + "}", 8, "not valid JSON"},
    {"overlong_utf8", "{\"\xC0\xAF\":" + kEntry + "}", 8, "not valid JSON"},
    {"lone_surrogate", "{\"\\ud800\":" + kEntry + "}", 8, "not valid JSON"},
    {"low_surrogate", "{\"\\udc00\":" + kEntry + "}", 8, "not valid JSON"},
    {"surrogate_pair", "{\"\\ud83d\\ude00\":" + kEntry + "}", 8, "accepted"},
    {"raw_control", "{\"a\nb\":" + kEntry + "}", 8, "not valid JSON"},
    {"raw_nul", std::string("{\"a\0b\":1}", 9), 8, "NUL"},
    {"comment", "{/*c*/}", 0, "not valid JSON"},
    {"trailing_comma", "{\"x\":" + kEntry + ",}", 8, "not valid JSON"},
    {"nan", with_extra("NaN"), 8, "not valid JSON"},
    {"single_quotes", "{'x':1}", 8, "not valid JSON"},
    {"top_array", "[]", 0, "the header is an array"},
    {"top_string", "\"x\"", 0, "the header is a string"},
    {"top_null", "null", 0, "the header is null"},
    {"top_number", "-1", 0, "the header is a negative number"},
    {"empty", "", 0, "not valid JSON"},
    {"open_brace", "{", 0, "not valid JSON"},
    {"no_tensors", "{}", 0, "accepted"},
    {"depth_16", with_extra(nested(14)), 8, "accepted"},
    {"depth_17", with_extra(nested(15)), 8, "nested deeper than 16"},
    {"depth_200", with_extra(nested(200)), 8, "nested deeper than 16"},
    {"huge_exponent", with_extra("1e400"), 8, "not valid JSON"},
    {"empty_name", "{\"\":" + kEntry + "}", 8, "accepted"},
    {"path_name", "{\"../../etc/x\":" + kEntry + "}", 8, "accepted"},
    {"nul_name", "{\"a\\u0000b\":" + kEntry + "}", 8, "NUL byte in the name"},
    {"escape_name", std::string("{\"a\\u001b[31m\":") + R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
     "tensor \"a\\x1b[31m\": shape"},
    {"newline_name", "{\"a\\nb\":" + kEntry + "}", 8, "accepted"},
    {"name_4096", "{\"" + std::string(4096, 'n') + "\":" + kEntry + "}", 8, "accepted"},
    {"name_4097", "{\"" + std::string(4097, 'n') + "\":" + kEntry + "}", 8, "a name of 4097 bytes"},
    {"name_1_mb", "{\"" + std::string(1 << 20, 'n') + "\":" + kEntry + "}", 8, "a name of 1048576 bytes"},
    {"zero_size_between", "{" + entry("a", "U8", "4", 0, 4) + "," + entry("z", "F32", "0", 4, 4) + "," + entry("b", "U8", "4", 4, 8) + "}",
     8, "accepted"},
    {"zero_size_misplaced",
     "{" + entry("a", "U8", "4", 0, 4) + "," + entry("z", "F32", "0", 2, 2) + "," + entry("b", "U8", "4", 4, 8) + "}", 8, "overlap"},
    {"zero_before_huge", "{" + entry("z", "U8", "0,18446744073709551615,18446744073709551615", 0, 0) + "}", 0, "larger than 2^48"},
    {"zero_after_huge", "{" + entry("z", "U8", "18446744073709551615,18446744073709551615,0", 0, 0) + "}", 0, "larger than 2^48"},
    {"zero_before_overflow", "{" + entry("z", "U8", "0,281474976710656,281474976710656", 0, 0) + "}", 0, "larger than any file"},
    {"zero_after_overflow", "{" + entry("z", "U8", "281474976710656,281474976710656,0", 0, 0) + "}", 0, "larger than any file"},
    {"product_overflow", "{" + entry("z", "U8", "281474976710656,65536", 0, 8) + "}", 8, "larger than any file"},
    {"bits_overflow", "{" + entry("z", "F64", "281474976710656,2048", 0, 8) + "}", 8, "larger than any file"},
    {"rank_64",
     with_shape("2" +
                [] {
                  std::string s;
                  for (int i = 0; i < 63; ++i) s += ",1";
                  return s;
                }()),
     8, "accepted"},
    {"rank_65",
     with_shape("2" +
                [] {
                  std::string s;
                  for (int i = 0; i < 64; ++i) s += ",1";
                  return s;
                }()),
     8, "more than 64 dimensions"},
    {"rank_0", "{" + entry("x", "F64", "", 0, 8) + "}", 8, "accepted"},
    {"f4_even", "{" + entry("x", "F4", "4", 0, 2) + "}", 2, "accepted"},
    {"f4_odd", "{" + entry("x", "F4", "3", 0, 2) + "}", 2, "does not fill whole bytes"},
    {"f4_wrong_bytes", "{" + entry("x", "F4", "4", 0, 4) + "}", 4, "needs 2 bytes, data_offsets give 4"},
    {"f6_fits", "{" + entry("x", "F6_E2M3", "4", 0, 3) + "}", 3, "accepted"},
    {"f6_odd", "{" + entry("x", "F6_E3M2", "3", 0, 3) + "}", 3, "does not fill whole bytes"},
    {"wrong_size", "{" + entry("x", "F32", "2,3", 0, 20) + "}", 20,
     "tensor \"x\": shape [2, 3] of F32 needs 24 bytes, data_offsets give 20"},
    {"sum_overflows", two(0, INT64_MAX, INT64_MAX, INT64_MAX), 8, "larger than 2^48"},
};

class HeaderTable : public ::testing::TestWithParam<Case> {};

TEST_P(HeaderTable, IsAsDecided) {
  const Case& c = GetParam();
  const std::string got = problem_of(c.header, c.data_bytes);
  EXPECT_NE(got.find(c.expected), std::string::npos) << got;
}

INSTANTIATE_TEST_SUITE_P(Rows, HeaderTable, ::testing::ValuesIn(kTable), [](const auto& i) { return std::string(i.param.name); });

TEST(HeaderTest, ReadsEveryDType) {
  for (const DTypeFacts& f : all_dtypes()) {
    const auto bytes = 8 * f.bits / 8;
    const SafetensorsHeader h = parse_safetensors_header("{" + entry("x", std::string(f.name), "2,4", 0, bytes) + "}", bytes);
    ASSERT_EQ(h.entries.size(), 1u);
    EXPECT_EQ(h.entries[0].info.dtype, f.id);
    EXPECT_EQ(h.entries[0].info.shape, (Shape{2, 4}));
  }
}

TEST(HeaderTest, GivesEntriesInOffsetOrder) {
  const SafetensorsHeader h = parse_safetensors_header(two(4, 8, 0, 4), 8);
  EXPECT_EQ(h.entries[0].info.name, "b");
  EXPECT_EQ(h.entries[1].begin, 4);
  EXPECT_EQ(h.data_start, 8 + static_cast<std::int64_t>(two(4, 8, 0, 4).size()));
}

TEST(HeaderTest, KeepsMetadataAndRemarks) {
  const SafetensorsHeader h = parse_safetensors_header(
      R"({"__metadata__":{"format":"pt","b":"é"},"x":{"note":1,"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_EQ(h.metadata, (std::map<std::string, std::string>{{"b", "é"}, {"format", "pt"}}));
  ASSERT_EQ(h.remarks.size(), 1u);
  EXPECT_NE(h.remarks[0].find("unknown field \"note\""), std::string::npos);
}

TEST(HeaderTest, ManyRemarksAreCounted) {
  std::string fields;
  for (int i = 0; i < 100; ++i) fields += fmt::format("\"f{}\":1,", i);
  const SafetensorsHeader h = parse_safetensors_header("{\"x\":{" + fields + R"("dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_EQ(h.remarks.back(), "95 more unknown fields ignored");
}

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + rest;
}

TEST(SafetensorsFileTest, RefusesWrongLengths) {
  EXPECT_NE(file_problem("").find("has 0 bytes"), std::string::npos);
  EXPECT_NE(file_problem("1234567").find("has 7 bytes"), std::string::npos);
  for (const std::uint64_t n : {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{100'000'001}, std::uint64_t{0xFFFFFF000000003C}}) {
    EXPECT_NE(file_problem(with_length(n, "{}")).find("100000000 are allowed"), std::string::npos);
  }
  EXPECT_NE(file_problem(with_length(100'000'000, "{}")).find("cut off"), std::string::npos);
  EXPECT_NE(file_problem(with_length(3, "{}")).find("cut off"), std::string::npos);
  EXPECT_NE(file_problem(with_length(0, "")).find("zeros"), std::string::npos);
  EXPECT_NE(file_problem(with_length(0, "data")).find("its header is empty"), std::string::npos);
  EXPECT_NE(file_problem(safetensors_file("   \n")).find("its header is empty"), std::string::npos);
  EXPECT_EQ(file_problem(with_length(2, "{}")), "accepted");
}

TEST(SafetensorsFileTest, HeaderOf100MegabytesOfSpaces) {
  std::string header = "{}";
  header.append(100'000'000 - header.size(), ' ');
  EXPECT_EQ(file_problem(safetensors_file(header)), "accepted");
}

TEST(SafetensorsFileTest, SaysWhatItIsInstead) {
  const std::string tail(600, 'x');
  EXPECT_NE(file_problem("version https://git-lfs.github.com/spec/v1\noid sha256:00\n").find("Git LFS pointer"), std::string::npos);
  EXPECT_NE(file_problem("<!DOCTYPE html><html>" + tail).find("web page"), std::string::npos);
  EXPECT_NE(file_problem("\n<HTML>" + tail).find("web page"), std::string::npos);
  EXPECT_NE(file_problem("PK\x03\x04" + tail).find("zip"), std::string::npos);
  EXPECT_NE(file_problem("GGUF" + tail).find("GGUF"), std::string::npos);
  EXPECT_NE(file_problem("{\"error\": \"not found\"}" + tail).find("JSON"), std::string::npos);
  EXPECT_NE(file_problem(std::string(1000, '\0')).find("zeros"), std::string::npos);
}

TEST(SafetensorsFileTest, AnUnalignedDataStartIsFine) {
  const std::string header = "{" + entry("x", "F64", "1", 0, 8) + "}   ";
  const SafetensorsHeader h = read_bytes(safetensors_file(header, "12345678"));
  EXPECT_EQ(h.data_start, 8 + static_cast<std::int64_t>(header.size()));
}

TEST(SafetensorsFileTest, EveryCutIsRefused) {
  const std::string file = safetensors_bytes({random_tensor("a", DType::kF32, {3}, 1), random_tensor("b", DType::kF16, {2, 2}, 2)});
  for (std::size_t n = 0; n < file.size(); ++n) EXPECT_NE(file_problem(file.substr(0, n)), "accepted") << n;
  EXPECT_NE(file_problem(file + "x"), "accepted");
  EXPECT_EQ(file_problem(file), "accepted");
}

TEST(SafetensorsFileTest, EveryReadThatFailsIsAnError) {
  const std::string file = safetensors_bytes({random_tensor("a", DType::kF32, {3}, 1)});
  for (int n = 1; n <= 2; ++n) EXPECT_THROW(read_safetensors_header(FaultyReadFile(file, std::make_shared<FaultPlan>(n))), Error);
  EXPECT_NO_THROW(read_safetensors_header(FaultyReadFile(file, std::make_shared<FaultPlan>(3))));
}

// The bounds are generous; what they catch is time or memory that grows with the square.
TEST(HeaderTest, AMillionTensorsTakeSeconds) {
  std::string header = "{";
  constexpr int kCount = 1'300'000;
  for (int i = 0; i < kCount; ++i) {
    fmt::format_to(std::back_inserter(header), "{}\"t{}\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[{},{}]}}", i == 0 ? "" : ",",
                   i, i, i + 1);
  }
  header += '}';
  ASSERT_LT(static_cast<std::int64_t>(header.size()), kMaxSafetensorsHeader);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_safetensors_header(header, kCount).entries.size(), static_cast<std::size_t>(kCount));
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(60));
}

SafetensorsEntry make_entry(std::string name, DType dtype, Shape shape) {
  SafetensorsEntry e;
  e.info = {std::move(name), dtype, std::move(shape)};
  return e;
}

TEST(RenderTest, EmptyGoldenBytes) {
  std::vector<SafetensorsEntry> none;
  EXPECT_EQ(render_safetensors_header(none, {}), std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
}

TEST(RenderTest, ReferenceGoldenLengths) {
  std::vector<SafetensorsEntry> one = {make_entry("attn.0", DType::kF32, {1, 2, 3})};
  EXPECT_EQ(render_safetensors_header(one, {}),
            std::string("\x40\0\0\0\0\0\0\0", 8) + R"({"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}})");
  one = {make_entry("attn0", DType::kF32, {1, 1, 2, 3})};
  EXPECT_EQ(render_safetensors_header(one, {}),
            std::string("\x48\0\0\0\0\0\0\0", 8) + R"({"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}})" + "       ");
}

TEST(RenderTest, OrdersByDTypeThenName) {
  std::vector<SafetensorsEntry> entries = {make_entry("b", DType::kF32, {1}),  make_entry("a", DType::kF32, {1}),
                                           make_entry("z", DType::kI64, {1}),  make_entry("y", DType::kBF16, {1}),
                                           make_entry("x", DType::kBool, {1}), make_entry("s", DType::kF64, {})};
  const std::string text = render_safetensors_header(entries, {{"format", "pt"}, {"a", "1"}});
  EXPECT_EQ(text.substr(8, text.find_last_of('}') - 7),
            R"({"__metadata__":{"a":"1","format":"pt"},"z":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
            R"("s":{"dtype":"F64","shape":[],"data_offsets":[8,16]},"a":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},)"
            R"("b":{"dtype":"F32","shape":[1],"data_offsets":[20,24]},"y":{"dtype":"BF16","shape":[1],"data_offsets":[24,26]},)"
            R"("x":{"dtype":"BOOL","shape":[1],"data_offsets":[26,27]}})");
  EXPECT_EQ(text.size() % 8, 0u);
  EXPECT_EQ(entries.front().info.name, "z");
}

TEST(RenderTest, EscapesAsTheReferenceDoes) {
  std::vector<SafetensorsEntry> entries = {
      make_entry("q\"b\\s/\b\t\n\f\r\x01\x1f\x7f"
                 "é",
                 DType::kU8, {1})};
  const std::string text = render_safetensors_header(entries, {});
  EXPECT_NE(text.find("\"q\\\"b\\\\s/\\b\\t\\n\\f\\r\\u0001\\u001f\x7f"
                      "é\""),
            std::string::npos)
      << text;
}

TEST(RenderTest, ReadsBackTheSame) {
  std::vector<SafetensorsEntry> entries = {make_entry("\n\"weird\"", DType::kF16, {0, 3}), make_entry("", DType::kF4, {2}),
                                           make_entry("n", DType::kC64, {2, 2})};
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"k\n", "v\""}};
  const std::string text = render_safetensors_header(entries, metadata);
  const SafetensorsHeader h = read_bytes(text + std::string(static_cast<std::size_t>(entries.back().end), 'd'));
  EXPECT_EQ(h.metadata, metadata);
  ASSERT_EQ(h.entries.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(h.entries[i].info.name, entries[i].info.name);
    EXPECT_EQ(h.entries[i].info.shape, entries[i].info.shape);
    EXPECT_EQ(h.entries[i].end, entries[i].end);
  }
}

}  // namespace
}  // namespace crucible
