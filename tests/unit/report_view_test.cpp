// How the report writes text and numbers.
#include <gtest/gtest.h>

#include <cmath>

#include <nlohmann/json.hpp>

#include "crucible/error.h"
#include "report/html.h"
#include "report/markdown.h"
#include "report/numbers.h"
#include "report/svg.h"
#include "report/verdict.h"

namespace crucible::test {
namespace {

TEST(ReportText, IsEscaped) {
  EXPECT_EQ(escape_html("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(escape_html("see " + mono("a<b") + strong("!")), "see <code>a&lt;b</code><strong>!</strong>");
  EXPECT_EQ(escape_attribute("see " + mono("a\"b")), "see a&quot;b");
  EXPECT_EQ(escape_html(with_code("`x` and `y")), "<code>x</code> and `y");
  EXPECT_EQ(escape_html(mono("a\x02<\x01")), "<code>a&lt;</code>") << "marks inside of text do not end it";
}

TEST(ReportText, IsEscapedInMarkdown) {
  EXPECT_EQ(escape_markdown("a|b *c* [d](e) <f> `g"), "a\\|b \\*c\\* \\[d\\](e) &lt;f> \\`g");
  EXPECT_EQ(escape_markdown(mono("a`b|c")), "``a`b\\|c``");
  EXPECT_EQ(escape_markdown(mono("`")), "`` ` ``");
  EXPECT_EQ(MarkdownPage::fenced("x ```` y\n"), "`````\nx ```` y\n`````\n\n");
}

TEST(ReportNumbers, KeepTheirDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(-1234567), "\u22121,234,567");
  EXPECT_EQ(compact(0.8), "0.8");
  EXPECT_EQ(compact(12345), "12,345");
  EXPECT_EQ(compact(std::nullopt), "not finite");
  EXPECT_EQ(percent(0.79984, 2), "79.98\u00A0%");
  EXPECT_EQ(points(0.00012), "+0.012");
  EXPECT_EQ(points(-0.116), "\u221211.6");
  EXPECT_EQ(sigmas_text(-1.324), "\u22121.32\u00A0\u03C3");
  EXPECT_EQ(sigmas_text(HUGE_VAL), "beyond measure");
  EXPECT_EQ(duration_text(59.4), "59.4\u00A0s");
  EXPECT_EQ(duration_text(200), "3\u00A0min\u00A020\u00A0s");
  EXPECT_EQ(compact_pair(0.66404, 0.66), (std::pair<std::string, std::string>("0.66404", "0.66000")));
}

TEST(ReportPlot, TicksAreRoundAndInside) {
  EXPECT_EQ(nice_ticks(0, 10, 4), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(nice_ticks(0, 79, 10).back(), 70);
  EXPECT_EQ(nice_ticks(3, 3, 5), std::vector<double>{3});
  const Axis axis = power_axis(-5.1, 1.2, 4, "");
  ASSERT_FALSE(axis.ticks.empty());
  for (const auto& [value, name] : axis.ticks) EXPECT_TRUE(value >= -5.1 && value <= 1.2) << name;
}

TEST(ReportPlot, PointsLieWhereTheAxesSay) {
  const Plot plot({200, 100, 20, 10, 5, 15}, {0, 10, {}, ""}, {0, 1, {}, ""}, "label", "css");
  EXPECT_DOUBLE_EQ(plot.x(0), 20);
  EXPECT_DOUBLE_EQ(plot.x(10), 190);
  EXPECT_DOUBLE_EQ(plot.y(0), 85);
  EXPECT_DOUBLE_EQ(plot.y(1), 5);
}

TEST(ReportVerdict, TheWorstComesFirst) {
  RecordView record;
  const auto add = [&](const char* what, std::optional<double> sigmas, bool ok) {
    RecordView::Expectation e;
    e.parameter = e.what = what;
    e.sigmas = sigmas;
    e.ok = ok;
    record.expectations.push_back(e);
  };
  add("small", 0.1, true);
  add("far", -5.0, true);
  add("wrong", 1.0, false);
  const auto sorted = worst_first(record);
  EXPECT_EQ(sorted[0].what, "wrong");
  EXPECT_EQ(sorted[1].what, "far");
  const ReportVerdict verdict = judge_record(record);
  EXPECT_EQ(verdict.kind, ReportVerdict::Kind::kContradicted);
  EXPECT_EQ(verdict.contradicted, std::vector<std::string>{"wrong"});
  record.expectations.pop_back();
  EXPECT_EQ(judge_record(record).kind, ReportVerdict::Kind::kProven);
  record.expectations.clear();
  EXPECT_EQ(judge_record(record).kind, ReportVerdict::Kind::kNotJudged);
}

TEST(ReportRecord, NamesThePlaceOfAFault) {
  const auto message_of = [](const char* text) {
    try {
      parse_record_view(nlohmann::ordered_json::parse(text), "crucible.json");
    } catch (const InputError& problem) {
      return std::string(problem.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message_of(R"({"recipe": "", "method": "m"})"), "accepted");
  EXPECT_NE(message_of(R"({"recipe": "", "method": "m", "tensors": [{"name": 3}]})").find("tensors[0].name"), std::string::npos);
  EXPECT_NE(message_of(R"({"recipe": "", "method": "m", "tensors": [{"name": "t", "models": [{"input": 0}]}]})").find("models[0].input"),
            std::string::npos);
  EXPECT_NE(message_of(R"({"method": "m"})").find("`recipe`"), std::string::npos);
}

}  // namespace
}  // namespace crucible::test
