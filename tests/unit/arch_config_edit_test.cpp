#include "arch/config_edit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "text/json_spans.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

std::string edited(const std::string& text, const std::vector<ConfigChange>& changes) {
  Diagnostics diagnostics;
  std::string out = edit_config(text, effective_changes(text, changes), "config.json", diagnostics);
  EXPECT_FALSE(diagnostics.has_errors()) << render_diagnostics(diagnostics);
  return out;
}

std::string with_dtype(const std::string& text, const std::string& dtype) { return edited(text, dtype_changes(text, dtype)); }

TEST(ConfigEdit, OnlyTheNamedValueChanges) {
  const std::string text =
      "{\n  \"eps\": 1e-05, \"big\": 1e6,\n\t\"n\": 4 ,\n  \"nan\": NaN, \"inf\": [-Infinity, Infinity],\n  \"u\": \"\\u00e9\\/\"\n}";
  EXPECT_EQ(
      edited(text, {{"n", "6", ""}}),
      "{\n  \"eps\": 1e-05, \"big\": 1e6,\n\t\"n\": 6 ,\n  \"nan\": NaN, \"inf\": [-Infinity, Infinity],\n  \"u\": \"\\u00e9\\/\"\n}");
}

TEST(ConfigEdit, EqualValuesAreNotTouchedAndNotListed) {
  const std::string text = R"({"n": 4, "list": [1,2], "d": "bfloat16", "x": {"y": 1.0}})";
  EXPECT_TRUE(effective_changes(text, {{"n", "4", ""}, {"list", "[1, 2]", ""}, {"d", "\"bfloat16\"", ""}}).empty());
  EXPECT_EQ(effective_changes(text, {{"x.y", "1", ""}}).size(), 1U);  // a whole number is another spelling of the type
  const auto last = effective_changes(text, {{"n", "5", ""}, {"n", "6", ""}});
  ASSERT_EQ(last.size(), 1U);
  EXPECT_EQ(last.front().json, "6");
  EXPECT_TRUE(effective_changes(text, {{"n", "5", ""}, {"n", "4", ""}}).empty());
}

TEST(ConfigEdit, NestedPathsAndEscapedKeys) {
  EXPECT_EQ(edited(R"({"a": {"num\u005flayers": 2}, "num_layers": 3})", {{"a.num_layers", "5", ""}}),
            R"({"a": {"num\u005flayers": 5}, "num_layers": 3})");
  // Of a key that stands twice parsers keep the last.
  EXPECT_EQ(edited(R"({"n": 1, "n": 2})", {{"n", "3", ""}}), R"({"n": 1, "n": 3})");
}

TEST(ConfigEdit, AbsentKeysGoToTheEndInTheLayoutOfTheObject) {
  EXPECT_EQ(edited("{\n    \"a\": 1\n}\n", {{"b", "2", ""}, {"c", "3", ""}}), "{\n    \"a\": 1,\n    \"b\": 2,\n    \"c\": 3\n}\n");
  EXPECT_EQ(edited(R"({"a": 1, "b": {"x": 1}})", {{"b.y", "2", ""}}), R"({"a": 1, "b": {"x": 1, "y": 2}})");
  EXPECT_EQ(edited(R"({"a":1,"b":2})", {{"c", "3", ""}}), R"({"a":1,"b":2,"c":3})");
  EXPECT_EQ(edited("{}", {{"a", "1", ""}}), R"({"a": 1})");
  EXPECT_EQ(edited(R"({"a": 1})", {{"x.y.z", "1", ""}}), R"({"a": 1, "x": {"y": {"z": 1}}})");
}

TEST(ConfigEdit, ListsKeepTheirLayout) {
  EXPECT_EQ(edited("{\n  \"t\": [\n    \"a\",\n    \"b\"\n  ]\n}", {{"t", R"(["b","a","b"])", ""}}),
            "{\n  \"t\": [\n    \"b\",\n    \"a\",\n    \"b\"\n  ]\n}");
  EXPECT_EQ(edited(R"({"t": [1, 2]})", {{"t", "[3,4,5]", ""}}), R"({"t": [3, 4, 5]})");
  EXPECT_EQ(edited("{\"t\": [\n 1\n]}", {{"t", "[3,4]", ""}}), "{\"t\": [\n 3,\n 4\n]}");
  EXPECT_EQ(edited(R"({"t": [1, 2]})", {{"t", "[]", ""}}), R"({"t": []})");
}

TEST(ConfigEdit, DtypeAsTheSourceSpellsIt) {
  EXPECT_EQ(with_dtype(R"({"torch_dtype": "float32", "x": 1})", "bfloat16"), R"({"torch_dtype": "bfloat16", "x": 1})");
  EXPECT_EQ(with_dtype(R"({"dtype": null})", "float16"), R"({"dtype": "float16"})");
  EXPECT_EQ(with_dtype(R"({"dtype": "a", "torch_dtype": "b"})", "float16"), R"({"dtype": "float16", "torch_dtype": "float16"})");
  EXPECT_EQ(with_dtype("{\n  \"x\": 1\n}", "float16"), "{\n  \"x\": 1,\n  \"torch_dtype\": \"float16\"\n}");
  EXPECT_EQ(with_dtype(R"({"dtype": {"": "float32", "text_config": "float32"}})", "float16"),
            R"({"dtype": {"": "float16", "text_config": "float16"}})");
  EXPECT_EQ(with_dtype(R"({"dtype": "bfloat16"})", "bfloat16"), R"({"dtype": "bfloat16"})");
}

TEST(ConfigEdit, DtypeInNestedConfigs) {
  const std::string text =
      R"({"dtype": "float32", "thinker_config": {"text_config": {"torch_dtype": "float32"}}, "quantization_config": {"dtype": "int8"}})";
  EXPECT_EQ(
      with_dtype(text, "bfloat16"),
      R"({"dtype": "bfloat16", "thinker_config": {"text_config": {"torch_dtype": "bfloat16"}}, "quantization_config": {"dtype": "int8"}})");
}

TEST(ConfigEdit, BrokenConfigsAreErrorsAndStayAsTheyAre) {
  for (const std::string text : {"{\"a\": 1", "[1, 2]", "{\"a\": 1} x", "{'a': 1}"}) {
    Diagnostics diagnostics;
    EXPECT_EQ(edit_config(text, {{"a", "2", "test"}}, "config.json", diagnostics), text);
    EXPECT_TRUE(diagnostics.has_errors()) << text;
  }
  Diagnostics diagnostics;
  EXPECT_EQ(edit_config(R"({"a": null})", {{"a.b", "2", "test"}}, "config.json", diagnostics), R"({"a": null})");
  EXPECT_TRUE(diagnostics.has_errors());
  EXPECT_EQ(edit_config("", {{"a", "2", "test"}}, "config.json", diagnostics), "");
}

TEST(ConfigEdit, ByteOrderMarkAndDepth) {
  EXPECT_EQ(edited("\xEF\xBB\xBF{\"a\": 1}", {{"a", "2", ""}}), "\xEF\xBB\xBF{\"a\": 2}");
  std::string problem;
  EXPECT_FALSE(find_json_spans(std::string(5000, '[') + std::string(5000, ']'), problem));
  EXPECT_NE(problem.find("deeper"), std::string::npos);
}

// Random JSON in random layouts: values of every kind, keys with escapes, odd white space.
class RandomText {
 public:
  explicit RandomText(unsigned seed) : rng_(seed) {}

  std::string space() {
    static const std::vector<std::string> all = {"", " ", "\n", "\n    ", "\t", " \r\n "};
    return all[below(all.size())];
  }
  std::string scalar() {
    static const std::vector<std::string> all = {"1",
                                                 "-0",
                                                 "1e-05",
                                                 "1E6",
                                                 "2.50",
                                                 "true",
                                                 "null",
                                                 "NaN",
                                                 "-Infinity",
                                                 "\"}]\\\",{\"",
                                                 "\"\\u00e9\"",
                                                 "\"\"",
                                                 "18446744073709551615",
                                                 "\"NaN\""};
    return all[below(all.size())];
  }
  std::string value(int depth) {
    const std::size_t kind = below(depth > 3 ? 2 : 4);
    if (kind < 2) return scalar();
    std::string out = kind == 2 ? "[" : "{";
    const std::size_t n = below(4);
    for (std::size_t i = 0; i < n; ++i) {
      out += (i > 0 ? "," : "") + space();
      if (kind == 3) out += key(i) + space() + ":" + space();
      out += value(depth + 1) + space();
    }
    return out + (n == 0 ? space() : "") + (kind == 2 ? "]" : "}");
  }
  std::string object() {
    std::string out = space() + "{";
    const std::size_t n = 1 + below(5);
    for (std::size_t i = 0; i < n; ++i) out += (i > 0 ? "," : "") + space() + key(i) + space() + ":" + space() + value(1) + space();
    return out + "}" + space();
  }
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(rng_); }

 private:
  std::string key(std::size_t i) {
    static const std::vector<std::string> all = {"\"k{}\"", "\"\\u006b{}\"", "\"{}\\\"\\\\\"", "\"\\ud83d\\ude00{}\""};
    return fmt::format(fmt::runtime(all[below(all.size())]), i);
  }
  std::mt19937 rng_;
};

void collect(const JsonSpan& span, const std::string& prefix, std::vector<std::pair<std::string, JsonSpan>>& out) {
  for (const JsonEntry& e : span.entries) {
    out.emplace_back(prefix + e.key, e.value);
    collect(e.value, prefix + e.key + ".", out);
  }
}

TEST(ConfigEdit, PropertyNothingElseChanges) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    RandomText random(seed);
    const std::string text = random.object();
    std::string problem;
    const auto root = find_json_spans(text, problem);
    ASSERT_TRUE(root) << seed << ": " << problem << "\n" << text;
    std::vector<std::pair<std::string, JsonSpan>> all;
    collect(*root, {}, all);
    const auto& [path, span] = all[random.below(all.size())];
    const std::string json = "\"changed \\\" {\"";
    const std::string out = edited(text, {{path, json, "test"}});
    EXPECT_EQ(out, text.substr(0, span.begin) + json + text.substr(span.end)) << seed << ": " << path << "\n" << text;
    // And the tree agrees with what a parser makes of both texts.
    Json expected = Json::parse(to_standard_json(text));
    std::string pointer = "/";
    for (const char c : path) pointer += c == '.' ? "/" : c == '/' ? "~1" : c == '~' ? "~0" : std::string(1, c);
    expected[Json::json_pointer(pointer)] = Json::parse(json);
    EXPECT_EQ(Json::parse(to_standard_json(out)), expected) << seed;
  }
}

TEST(ConfigEdit, PropertyAddedKeysChangeNothingElse) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    const std::string text = RandomText(seed).object();
    const std::string out = edited(text, {{"added", "[1]", "test"}});
    Json expected = Json::parse(to_standard_json(text));
    expected["added"] = Json::parse("[1]");
    EXPECT_EQ(Json::parse(to_standard_json(out)).dump(), expected.dump()) << seed << "\n" << text;
    // Taking the new bytes away gives the old text.
    std::size_t same = 0;
    while (same < text.size() && text[same] == out[same]) ++same;
    EXPECT_TRUE(out.ends_with(text.substr(same))) << seed;
  }
}

}  // namespace
}  // namespace crucible
