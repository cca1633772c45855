// Every section of the report: names, order, and that none needs more than the record's required keys.
#include <gtest/gtest.h>

#include <set>

#include <nlohmann/json.hpp>

#include "report/html.h"
#include "report/markdown.h"
#include "report/section.h"

namespace crucible::test {
namespace {

TEST(ReportSections, HaveNamesAndPlacesOfTheirOwn) {
  std::set<std::string_view> names, titles;
  std::set<int> orders;
  for (const Section* s : all_sections()) {
    EXPECT_TRUE(names.insert(s->name).second) << s->name;
    EXPECT_TRUE(orders.insert(s->order).second) << s->name << " stands in another's place";
    EXPECT_TRUE(titles.insert(s->title).second) << s->name;
    EXPECT_EQ(s->name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string_view::npos) << "an anchor: " << s->name;
    EXPECT_NE(s->wanted, nullptr);
    EXPECT_NE(s->render, nullptr);
  }
  EXPECT_GE(names.size(), 13u);
  EXPECT_EQ(all_sections().front()->name, "verdict");
}

TEST(ReportSections, RenderTheSmallestRecord) {
  const auto json = nlohmann::ordered_json::parse(R"({"recipe": "a: 1", "method": "linear", "inputs": [{"model": "./a"}],
    "tensors": [{"name": "x", "shape": [2], "models": [{"input": 0}]}, {"name": "y", "shape": [], "copied_from": "./a"}]})");
  const RecordView record = parse_record_view(json, "crucible.json");
  // Whether they are wanted or not: a section must not rely on what only `wanted` has seen.
  for (const Section* s : all_sections()) {
    HtmlPage html;
    MarkdownPage markdown;
    s->render(record, html);
    s->render(record, markdown);
  }
}

}  // namespace
}  // namespace crucible::test
