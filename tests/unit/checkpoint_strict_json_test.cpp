// Well-formed texts and the rest go through two parsers; no reader may see which.
#include "checkpoint/strict_json.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace crucible {
namespace {

// All events as text.
class Recorder : public JsonReader {
 public:
  Recorder() : JsonReader(20) {}
  void null() override { seen += "null "; }
  void boolean(bool value) override { seen += value ? "true " : "false "; }
  void number_integer(std::int64_t value) override { seen += "integer " + std::to_string(value) + " "; }
  void number_unsigned(std::uint64_t value) override { seen += "unsigned " + std::to_string(value) + " "; }
  void number_float(double, const std::string& text) override { seen += "float " + text + " "; }
  void string(std::string& value) override { seen += "string " + std::exchange(value, {}) + " "; }
  void start_object() override {
    enter();
    seen += "{ ";
  }
  void key(std::string& name) override { seen += "key " + std::exchange(name, {}) + " "; }
  void end_object() override {
    seen += "} ";
    leave();
  }
  void start_array() override {
    enter();
    seen += "[ ";
  }
  void end_array() override {
    seen += "] ";
    leave();
  }
  std::string seen;
};

std::string outcome(const std::string& text) {
  Recorder recorder;
  try {
    read_json(text, recorder);
  } catch (const Error& error) {
    return std::string("refused: ") + error.what();
  }
  return recorder.seen;
}

// The same value at the same byte, once in a text that only the exact lexer takes: it has an escaped code unit.
std::string plain(const std::string& value) { return R"({"x":     "A","y":)" + value + "}"; }
std::string escaped(const std::string& value) { return R"({"x":"\u0041","y":)" + value + "}"; }

TEST(StrictJson, BothParsersTellTheSame) {
  for (const char* value : {"0",
                            "-0",
                            "[-0]",
                            "[ -0]",
                            "-1",
                            "9223372036854775807",
                            "9223372036854775808",
                            "18446744073709551615",
                            "18446744073709551616",
                            "-9223372036854775808",
                            "-9223372036854775809",
                            "1.0",
                            "1.50",
                            "1e3",
                            "[1, 2e2]",
                            "1e400",
                            "01",
                            "+1",
                            ".5",
                            "1.",
                            "NaN",
                            "true",
                            "tru",
                            "null",
                            "\"a-0\"",
                            "\"a,-0\"",
                            "\"\\n\\/\"",
                            "\"\\q\"",
                            "\"\x01\"",
                            "\"\x7f\"",
                            "\"\xff\"",
                            "\"\xc0\x80\"",
                            "\"\xed\xa0\x80\"",
                            "\"\xf0\x9f\x98\x80\"",
                            "\"\\ud800\"",
                            "\"\\udc00\"",
                            "{}",
                            "{\"a\":1,\"a\":2}",
                            "{\"a\":1,}",
                            "[1,]",
                            "[1 2]",
                            "{\"a\" 1}",
                            "{1:2}",
                            "// c\n1",
                            "[] []",
                            "\"open",
                            "{\"a\":{",
                            "\xef\xbb\xbf{}"})
    EXPECT_EQ(outcome(plain(value)), outcome(escaped(value))) << value;
  EXPECT_EQ(outcome(plain("[-0]")), "{ key x string A key y [ integer 0 ] } ");
  EXPECT_EQ(outcome(plain("1.50")), "{ key x string A key y float 1.50 } ");
  EXPECT_EQ(outcome("{\"a\": [1, {\"b\": \"c\"}, -2, null, true]}"), "{ key a [ unsigned 1 { key b string c } integer -2 null true ] } ");
}

TEST(StrictJson, DepthIsBoundedInBoth) {
  for (const int depth : {18, 19, 20, 2000}) {
    const std::string value = std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
    EXPECT_EQ(outcome(plain(value)), outcome(escaped(value))) << depth;
    EXPECT_EQ(outcome(plain(value)).starts_with("refused: nested deeper than 20 levels"), depth > 19) << depth;
  }
}

// Random texts from pieces of JSON, right and wrong.
TEST(StrictJson, BothParsersTellTheSameOfRandomTexts) {
  constexpr std::array kPieces = {"{",
                                  "}",
                                  "[",
                                  "]",
                                  ",",
                                  ":",
                                  "\"a\"",
                                  "\"b\":",
                                  "1",
                                  "-0",
                                  "-7",
                                  "2.",
                                  "0.5",
                                  "true",
                                  "null",
                                  " ",
                                  "\n",
                                  "\"\"",
                                  "\"\xc3\xa9\"",
                                  "\"\xff\"",
                                  "99999999999999999999",
                                  "\""};
  std::mt19937 random(7);
  int well_formed = 0;
  for (int i = 0; i < 20000; ++i) {
    // An array or an object of pieces, so that many are well-formed.
    std::string value = i % 2 == 0 ? "[" : "{";
    const auto count = random() % 6;
    for (unsigned k = 0; k < count; ++k) {
      if (k > 0) value += ",";
      if (i % 2 == 1) value += "\"b\":";
      value += kPieces[random() % kPieces.size()];
      if (random() % 4 == 0) value += kPieces[random() % kPieces.size()];
    }
    value += i % 2 == 0 ? "]" : "}";
    const std::string fast = outcome(plain(value));
    ASSERT_EQ(fast, outcome(escaped(value))) << value;
    well_formed += fast.starts_with("refused") ? 0 : 1;
  }
  EXPECT_GT(well_formed, 2000);
}

}  // namespace
}  // namespace crucible
