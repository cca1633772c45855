// Streams of documents: cut where YAML cuts them, with the places of the whole.
#include "text/documents.h"

#include <gtest/gtest.h>

#include "recipe/multi.h"

namespace crucible {
namespace {

using Texts = std::vector<std::string>;

TEST(SplitDocuments, AtMarkersOnly) {
  EXPECT_EQ(split_documents("a: 1\n"), Texts{"a: 1\n"});
  EXPECT_EQ(split_documents("a: 1\n---\nb: 2\n"), (Texts{"a: 1\n", "\n---\nb: 2\n"}));
  EXPECT_EQ(split_documents("# x\n%YAML 1.2\n---\na: 1\n"), Texts{"# x\n%YAML 1.2\n---\na: 1\n"});
  EXPECT_EQ(split_documents("a: |\n ---\n----\n--- {b: 2}"), (Texts{"a: |\n ---\n----\n", "\n\n\n--- {b: 2}"}));
  EXPECT_EQ(split_documents("a: 1\n...\n# between\n---\nb: 2"), (Texts{"a: 1\n...\n", "\n\n# between\n---\nb: 2"}));
}

TEST(SplitDocuments, EveryLineEndIsALine) {
  EXPECT_EQ(split_documents("a\r\n---\r\nb\r---\rc"), (Texts{"a\r\n", "\n---\r\nb\r", "\n\n\n---\rc"}));
  EXPECT_EQ(split_documents("\xEF\xBB\xBF---\na\n---"), (Texts{"---\na\n", "\n\n---"}));
}

TEST(SplitDocuments, ManyDocumentsInManyLinesAreRefused) {
  std::string text(200000, '\n');
  for (int i = 0; i < 1000; ++i) text += "---\n";
  EXPECT_FALSE(split_documents(text));
}

TEST(SplitDocuments, EmptyLinesInFrontCanBeLeftOut) {
  EXPECT_EQ(without_leading_lines("\n\n a\n"), " a\n");
  EXPECT_EQ(without_leading_lines("\n"), "");
}

constexpr const char* kPassthrough = "merge_method: passthrough\nmodels:\n- model: ";

TEST(MultiRecipe, OrderIsThatOfDependenceThenOfTheFile) {
  const std::string text = std::string(kPassthrough) + "c\n---\nname: c\n" + kPassthrough + "a\n---\nname: b\n" + kPassthrough +
                           "./x\n---\nname: a\n" + kPassthrough + "./y\n";
  Diagnostics diagnostics;
  const MultiRecipe multi = parse_multi(text, "m.yml", {}, diagnostics);
  EXPECT_TRUE(diagnostics.empty()) << render_diagnostics(diagnostics);
  EXPECT_EQ(multi.order, (std::vector<std::size_t>{2, 3, 1, 0}));
  EXPECT_EQ(multi.result, 0u);
  EXPECT_EQ(multi.documents[1].name_place, (Place{"m.yml", 5, 7}));
}

TEST(MultiRecipe, WhatHangsOnACycleIsNoCycle) {
  const std::string text = std::string(kPassthrough) + "x\n---\nname: x\n" + kPassthrough + "y\n---\nname: y\n" + kPassthrough + "x\n";
  Diagnostics diagnostics;
  parse_multi(text, "m.yml", {}, diagnostics);
  EXPECT_EQ(diagnostics.error_count(), 1);
  EXPECT_NE(render_diagnostics(diagnostics).find("x -> y -> x"), std::string::npos);
}

}  // namespace
}  // namespace crucible
