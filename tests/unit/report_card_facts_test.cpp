// The front matter of model cards, as strangers write it.
#include "report/card_facts.h"

#include <gtest/gtest.h>

namespace crucible {
namespace {

TEST(ParseCard, ReadsTheKeysOfTheHub) {
  const auto card = parse_card("---\nlicense: apache-2.0\nlanguage: en\ntags:\n- x\n---\n# Model\n");
  ASSERT_TRUE(card);
  EXPECT_EQ(card->license, "apache-2.0");
  EXPECT_EQ(card->languages, std::vector<std::string>{"en"});
  EXPECT_EQ(card->pipeline_tag, "");
}

TEST(ParseCard, ListsOfOneAndLists) {
  const auto card = parse_card("\xEF\xBB\xBF---\r\nlicense: [mit]\r\nlanguage:\r\n  - fr\r\n  - de\r\n---\r\n");
  ASSERT_TRUE(card);
  EXPECT_EQ(card->license, "mit");
  EXPECT_EQ(card->languages, (std::vector<std::string>{"de", "fr"}));
}

TEST(ParseCard, EverythingElseIsNothing) {
  for (const char* text : {"", "---", "---\n", "---\nlicense: mit\n", "# Model\n---\nlicense: mit\n---\n", "---\n- a\n---\n",
                           "---\na: [\n---\n", "---\na: &x [*x]\n---\n", "---\na: 1\na: 2\n---\n"}) {
    EXPECT_FALSE(parse_card(text)) << text;
  }
  const auto odd = parse_card("---\nlicense: {a: b}\nlanguage: {c: d}\n---\n");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->license, "");
  EXPECT_TRUE(odd->languages.empty());
}

}  // namespace
}  // namespace crucible
