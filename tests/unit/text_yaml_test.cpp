#include "text/yaml.h"

#include <gtest/gtest.h>

#include <string>

#include "text/lines.h"

namespace crucible {
namespace {

struct Parsed {
  std::vector<Node> documents;
  Diagnostics diagnostics;
  std::string text() const { return render_diagnostics(diagnostics); }
  const Node& root() const { return documents.at(0); }
};

Parsed parse(const std::string& text, const YamlLimits& limits = {}) {
  Parsed out;
  out.documents = parse_yaml(text, "r.yml", out.diagnostics, limits);
  return out;
}

const Node& at(const Node& node, const char* key) {
  const Node* value = node.find(key);
  if (value == nullptr) throw std::runtime_error(std::string("no key ") + key);
  return *value;
}

std::string place(const Place& p) { return std::to_string(p.line) + ":" + std::to_string(p.column); }

TEST(Yaml, ScalarsListsMapsAndNull) {
  const Parsed p = parse("a: 1\nb: [x, 'y', \"z\"]\nc:\nd: ~\ne: null\nf: Null\ng: NULL\nh: 'null'\n");
  ASSERT_TRUE(p.diagnostics.empty()) << p.text();
  EXPECT_EQ(at(p.root(), "a").text, "1");
  EXPECT_FALSE(at(p.root(), "a").quoted);
  const Node& b = at(p.root(), "b");
  ASSERT_EQ(b.items.size(), 3u);
  EXPECT_FALSE(b.items[0].quoted);
  EXPECT_TRUE(b.items[1].quoted);
  EXPECT_TRUE(b.items[2].quoted);
  for (const char* key : {"c", "d", "e", "f", "g"}) EXPECT_TRUE(at(p.root(), key).is_null()) << key;
  EXPECT_TRUE(at(p.root(), "h").is_scalar());
}

TEST(Yaml, PlacesCountCharacters) {
  const Parsed p = parse("# é\nключ: [日本, x]\né:\tb\n\"ü\": {ä: 1}\n");
  ASSERT_TRUE(p.diagnostics.empty()) << p.text();
  EXPECT_EQ(place(p.root().place), "2:1");
  const Node& list = at(p.root(), "ключ");
  EXPECT_EQ(place(list.place), "2:7");
  EXPECT_EQ(place(list.items[0].place), "2:8");
  EXPECT_EQ(place(list.items[1].place), "2:12");
  EXPECT_EQ(place(at(p.root(), "é").place), "3:4");
  EXPECT_EQ(place(p.root().entries[2].key_place), "4:1");
  EXPECT_EQ(place(at(at(p.root(), "ü"), "ä").place), "4:10");
}

TEST(Yaml, PlaceOfANodeWithAnchorOrTagIsItsText) {
  const Parsed p = parse("a: &anchor 1\nb: !!str 2\nc: &x !!str\n  # why\n  3\n");
  ASSERT_TRUE(p.diagnostics.empty()) << p.text();
  EXPECT_EQ(place(at(p.root(), "a").place), "1:12");
  EXPECT_EQ(place(at(p.root(), "b").place), "2:10");
  EXPECT_TRUE(at(p.root(), "b").quoted);
  EXPECT_EQ(place(at(p.root(), "c").place), "5:3");
}

TEST(Yaml, LineEndsAndMarkers) {
  for (const std::string text : {"a: 1\nb: 2\n", "a: 1\r\nb: 2\r\n", "a: 1\rb: 2\r",
                                 "\xEF\xBB\xBF"
                                 "a: 1\nb: 2",
                                 "\n\n  a: 1\n  b: 2\n", "---\na: 1\nb: 2\n...\n", "%YAML 1.1\n---\na: 1\nb: 2\n", "\t\n \t \na: 1\nb: 2\n",
                                 "# c\na: 1 # c\n# d\nb: 2\n"}) {
    const Parsed p = parse(text);
    ASSERT_TRUE(p.diagnostics.empty()) << text << p.text();
    ASSERT_EQ(p.documents.size(), 1u) << text;
    EXPECT_EQ(at(p.root(), "b").text, "2") << text;
  }
  const Parsed mac = parse("a: 1\rb: 2\r");
  EXPECT_EQ(place(at(mac.root(), "b").place), "2:4");
}

TEST(Yaml, SeveralDocuments) {
  const Parsed p = parse("a: 1\n---\nb: 2\n---\n");
  ASSERT_EQ(p.documents.size(), 3u);
  EXPECT_TRUE(p.documents[2].is_null());
  EXPECT_TRUE(parse("").documents.empty());
  EXPECT_TRUE(parse("# nothing\n").documents.empty());
}

TEST(Yaml, EveryDuplicateKeyIsReportedWithTheFirstPlace) {
  const Parsed p = parse("a: 1\nb: 2\na: 3\nc:\n  é: 1\n  é: 2\na: 4\n");
  EXPECT_EQ(p.diagnostics.error_count(), 3);
  const std::string text = p.text();
  EXPECT_NE(text.find("r.yml:3:1: error: duplicate key `a`, first given at 1:1\n  a: 3\n  ^\n"), std::string::npos) << text;
  EXPECT_NE(text.find("r.yml:6:3: error: duplicate key `é`, first given at 5:3\n    é: 2\n    ^\n"), std::string::npos) << text;
  EXPECT_NE(text.find("r.yml:7:1: error: duplicate key `a`, first given at 1:1"), std::string::npos) << text;
  ASSERT_EQ(p.documents.size(), 1u);
  EXPECT_EQ(at(p.root(), "a").text, "1");
}

TEST(Yaml, AliasesAreExpanded) {
  const Parsed p = parse("a: &x {b: [1, 2]}\nc: *x\nd: &k key\n*k : 5\n");
  ASSERT_TRUE(p.diagnostics.empty()) << p.text();
  EXPECT_EQ(at(at(p.root(), "c"), "b").items.size(), 2u);
  EXPECT_EQ(at(p.root(), "key").text, "5");
}

TEST(Yaml, MergeKeys) {
  const Parsed p = parse("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\nd:\n  x: 8\n  <<: *a\ne:\n  '<<': 7\n");
  ASSERT_TRUE(p.diagnostics.empty()) << p.text();
  const Node& c = at(p.root(), "c");
  EXPECT_EQ(at(c, "x").text, "9");
  EXPECT_EQ(at(c, "y").text, "2");
  EXPECT_EQ(at(c, "z").text, "4");
  EXPECT_EQ(c.find("<<"), nullptr);
  EXPECT_EQ(at(at(p.root(), "d"), "x").text, "8");
  EXPECT_EQ(at(at(p.root(), "e"), "<<").text, "7");
  EXPECT_NE(parse("c: {<<: 3}\n").text().find("`<<` takes a mapping or a list of mappings, not a number"), std::string::npos);
}

TEST(Yaml, CyclesAndUnknownAnchorsAreRefused) {
  EXPECT_NE(parse("a: &x [1, *x]\n").text().find("r.yml:1:11: error: an alias inside the value that it stands for"), std::string::npos);
  EXPECT_NE(parse("a: *nope\n").text().find("r.yml:1:4: error: an alias without its anchor"), std::string::npos);
}

TEST(Yaml, BombsAreRefused) {
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c <= 'k'; ++c) {
    const std::string before(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) bomb += (i > 0 ? ", *" : "*") + before;
    bomb += "]\n";
  }
  EXPECT_NE(parse(bomb).text().find("with its aliases expanded it has more than"), std::string::npos);
  // A long text costs more than a short one, so copies of it are bounded too.
  std::string wide = "a: &a " + std::string(100000, 'x') + "\nb: [";
  for (int i = 0; i < 100000; ++i) wide += "*a, ";
  EXPECT_NE(parse(wide + "]\n").text().find("with its aliases expanded it has more than"), std::string::npos);
  std::string merges = "a: &a {b: 1}\nc:\n";
  EXPECT_NE(parse(merges + "  <<: [*a, *a, *a, *a]\n", {.bytes = 1000, .depth = 8, .nodes = 10}).text().find("more than 10 values"),
            std::string::npos);
}

TEST(Yaml, DepthIsLimited) {
  for (const std::string open : {"[", "{a: ", "- "}) {
    std::string text;
    for (int i = 0; i < 70; ++i) text += open;
    EXPECT_NE(parse(text).text().find("nested too deeply: more than 64 levels"), std::string::npos) << open;
  }
  std::string fine;
  for (int i = 0; i < 64; ++i) fine += '[';
  EXPECT_FALSE(parse(fine + std::string(64, ']')).diagnostics.has_errors());
  EXPECT_TRUE(parse(std::string(1u << 20, '[')).diagnostics.has_errors());
  EXPECT_TRUE(parse(std::string(1u << 20, '{')).diagnostics.has_errors());
  std::string aliases = "a: &a [[[[[[x]]]]]]\nb: [[[[*a]]]]\n";
  EXPECT_NE(parse(aliases, {.bytes = 1000, .depth = 8, .nodes = 100}).text().find("nested too deeply: more than 8 levels with this alias"),
            std::string::npos);
}

TEST(Yaml, SizeIsLimited) {
  EXPECT_NE(parse(std::string(2000, '#'), {.bytes = 1000, .depth = 8, .nodes = 10}).text().find("more than the 1.00 kB that are read"),
            std::string::npos);
  EXPECT_NE(parse("a: \"" + std::string(1u << 20, 'x') + "\"\n").text().find("a single value or list in brackets is too long"),
            std::string::npos);
}

TEST(Yaml, TagsAndStrangeKeysAreRefused) {
  const Parsed p = parse("a: !!python/object:os.system [x]\nb: !mine 3\n? [k, l]\n: 1\n? {m: n}\n: 2\n: 3\nd: 4\n");
  const std::string text = p.text();
  EXPECT_NE(text.find("r.yml:1:30: error: the tag `python/object:os.system` is not allowed"), std::string::npos) << text;
  EXPECT_NE(text.find("r.yml:2:10: error: the tag `!mine` is not allowed"), std::string::npos) << text;
  EXPECT_NE(text.find("r.yml:3:3: error: a key must be a single text, not a list"), std::string::npos) << text;
  EXPECT_NE(text.find("r.yml:5:3: error: a key must be a single text, not a mapping"), std::string::npos) << text;
  EXPECT_NE(text.find("r.yml:7:1: error: a key is missing before `:`"), std::string::npos) << text;
  EXPECT_EQ(at(p.root(), "d").text, "4");
}

TEST(Yaml, ErrorsOfSyntaxAreExplained) {
  struct Case {
    const char* text;
    const char* expected;
  };
  const Case cases[] = {
      {"model: \"C:\\models\\a\"\n",
       "r.yml:1:11: error: unknown escape in a text in double quotes\n  model: \"C:\\models\\a\"\n            ^\n"
       "  hint: write a Windows path in single quotes"},
      {"a:\n\tb: 1\n", "r.yml:2:1: error: a tab is used for indentation\n  \tb: 1\n  ^\n  hint: YAML is indented with spaces only"},
      {"models:\n  - model: a\n\tparameters:\n", "r.yml:3:1: error: a tab is used for indentation"},
      {"é: b: c\n", "r.yml:1:5: error: a `:` is not allowed here\n  é: b: c\n      ^\n"},
      {"a: \"xyz\nb: 3\n", "r.yml:1:4: error: the quote that opens here is never closed"},
      {"a: 'it''s\n", "r.yml:1:4: error: the quote that opens here is never closed"},
      {"a: [1, 2\nb: 3\n", "the list in brackets is not closed"},
      {"a: @b\n", "r.yml:1:4: error: a value cannot start with this character"},
      {"m:\n  - a: 1\n    b: 2\n   - a: 2\n", "r.yml:4:4: error: this line does not fit the list above it"},
  };
  for (const Case& c : cases) {
    const Parsed p = parse(c.text);
    EXPECT_NE(p.text().find(c.expected), std::string::npos) << c.text << "gave\n" << p.text();
    EXPECT_TRUE(p.documents.empty()) << c.text;
  }
}

TEST(Yaml, BytesThatAreNoText) {
  EXPECT_NE(parse("\xFF\xFE"
                  "a")
                .text()
                .find("the file is in UTF-16"),
            std::string::npos);
  EXPECT_NE(parse("é: 1\né: \xFF\n").text().find("r.yml:2:4: error: the text is not valid UTF-8: byte 0xff"), std::string::npos);
  EXPECT_NE(parse("a: \xC3").text().find("r.yml:1:4: error: the text is not valid UTF-8: byte 0xc3"), std::string::npos);
  const std::string escape = parse("a: \x1b[31m\n").text();
  EXPECT_NE(escape.find("r.yml:1:4: error: a control character (\\x1b) is not allowed"), std::string::npos) << escape;
  EXPECT_EQ(escape.find('\x1b'), std::string::npos);
  EXPECT_TRUE(parse(std::string("a: \0b", 5)).diagnostics.has_errors());
  EXPECT_TRUE(parse("a: b\x04\nc: d\n").diagnostics.has_errors());
  EXPECT_TRUE(parse("a: \xC2\x9B"
                    "31m\n")
                  .diagnostics.has_errors());
}

TEST(Yaml, CharactersThatStartNothing) {
  for (const std::string text : {",\n", "a: 1\n---\n, b\n", "]\n", "}\n", ",modules:,,,,,,m1it"}) {
    const Parsed p = parse(text);
    EXPECT_TRUE(p.diagnostics.has_errors()) << text;
    EXPECT_LE(p.diagnostics.items().size(), 1u) << text;
    EXPECT_TRUE(p.documents.empty()) << text;
  }
}

TEST(Yaml, QuotedTextsWithQuotesInside) {
  const Parsed p = parse("a: 'it''s'\nb: \"say \\\"hi\\\"\"\nc: |\n  \"not closed\nd: it's\n");
  ASSERT_TRUE(p.diagnostics.empty()) << p.text();
  EXPECT_EQ(at(p.root(), "a").text, "it's");
  EXPECT_EQ(at(p.root(), "b").text, "say \"hi\"");
  EXPECT_EQ(at(p.root(), "c").text, "\"not closed\n");
  EXPECT_TRUE(at(p.root(), "c").quoted);
  EXPECT_EQ(at(p.root(), "d").text, "it's");
}

TEST(Yaml, TooManyErrorsStop) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "a: 1\n";
  const Parsed p = parse(text);
  EXPECT_LE(p.diagnostics.error_count(), 101);
  EXPECT_NE(p.text().find("too many errors"), std::string::npos);
}

TEST(Lines, LineOf) {
  EXPECT_EQ(line_of("a\r\nb\rc\nd", 1), "a");
  EXPECT_EQ(line_of("a\r\nb\rc\nd", 2), "b");
  EXPECT_EQ(line_of("a\r\nb\rc\nd", 3), "c");
  EXPECT_EQ(line_of("a\r\nb\rc\nd", 4), "d");
  EXPECT_EQ(line_of("a", 2), "");
  EXPECT_EQ(line_of("\xEF\xBB\xBF"
                    "a",
                    1),
            "a");
  EXPECT_EQ(line_of("a", 0), "");
}

TEST(Lines, LongLinesAreCutOrLeftOut) {
  std::string text(1000, 'x');
  const LineIndex lines(text);
  EXPECT_EQ(lines.line_shown({"", 1, 10}), std::string(200, 'x') + "...");
  EXPECT_EQ(lines.line_shown({"", 1, 900}), "");
  EXPECT_EQ(lines.place_at(900, "f"), (Place{"f", 1, 901}));
  EXPECT_EQ(lines.place_at(5000, "f"), (Place{"f", 1, 1001}));
}

TEST(Node, Describe) {
  const Parsed p = parse("a: 1.5e-3\nb: x\nc: '1'\nd: []\ne: {}\nf:\n");
  EXPECT_EQ(describe(at(p.root(), "a")), "a number");
  EXPECT_EQ(describe(at(p.root(), "b")), "a text");
  EXPECT_EQ(describe(at(p.root(), "c")), "a text");
  EXPECT_EQ(describe(at(p.root(), "d")), "a list");
  EXPECT_EQ(describe(at(p.root(), "e")), "a mapping");
  EXPECT_EQ(describe(at(p.root(), "f")), "nothing");
}

}  // namespace
}  // namespace crucible
