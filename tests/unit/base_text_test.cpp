#include "base/text_util.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "base/check.h"
#include "base/checked.h"
#include "base/units.h"
#include "crucible/error.h"

namespace crucible {
namespace {

TEST(Text, NearestName) {
  const std::vector<std::string> names = {"density", "epsilon", "weight", "rank_scope", "normalize"};
  EXPECT_EQ(nearest_name("densty", names), "density");
  EXPECT_EQ(nearest_name("Density", names), "density");
  EXPECT_EQ(nearest_name("rank-scope", names), "rank_scope");
  EXPECT_EQ(nearest_name("wieght", names), "weight") << "neighbours swapped are one step";
  EXPECT_EQ(nearest_name("temperature", names), std::nullopt);
  EXPECT_EQ(nearest_name("", names), std::nullopt);
  EXPECT_EQ(nearest_name("x", {}), std::nullopt);
  EXPECT_EQ(nearest_name(std::string(100, 'x'), names), std::nullopt);
}

TEST(Text, JoinNames) {
  EXPECT_EQ(join_names({}), "");
  EXPECT_EQ(join_names({"a"}), "a");
  EXPECT_EQ(join_names({"a", "b"}), "a and b");
  EXPECT_EQ(join_names({"a", "b", "c"}), "a, b and c");
  EXPECT_EQ(join_names({"a", "b", "c"}, 2), "a, b and 1 more");
}

TEST(Text, PrintableEscapesWhatTerminalsObey) {
  EXPECT_EQ(printable("plain \xC3\xA9"), "plain \xC3\xA9");
  EXPECT_EQ(printable("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xc2\\x9b") << "the C1 form of ESC [";
  EXPECT_EQ(printable("\xFF\xC3"), "\\xff\\xc3");
  EXPECT_EQ(printable(std::string(200, 'x'), 10), "xxxxxxxxxx...");
}

TEST(Text, Utf8) {
  for (const char* good : {"", "a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_TRUE(is_valid_utf8(good)) << good;
  for (const char* bad : {"\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80",
                          "\xF5\x80\x80\x80", "\xC3", "\xE2\x82"}) {
    EXPECT_FALSE(is_valid_utf8(bad)) << printable(bad);
  }
}

RC_GTEST_PROP(Text, PrintableTextIsValidAndBounded, (const std::string& bytes)) {
  const std::string shown = printable(bytes, 50);
  RC_ASSERT(is_valid_utf8(shown));
  RC_ASSERT(shown.size() <= 50 + 16 + 3);
  for (const char c : shown) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
}

RC_GTEST_PROP(Text, NumbersReadBack, (double value)) {
  RC_PRE(std::isfinite(value));
  RC_ASSERT(parse_number(render_number(value)) == value);
}
RC_GTEST_PROP(Text, IntegersReadBack, (std::int64_t value)) { RC_ASSERT(parse_integer(std::to_string(value)) == value); }

TEST(Text, NumbersAsYamlWritesThem) {
  EXPECT_EQ(parse_number("1e-10"), 1e-10);
  EXPECT_EQ(parse_number("+.5"), 0.5);
  EXPECT_EQ(parse_number("5."), 5.0);
  EXPECT_EQ(parse_number("1e-999"), 0.0);
  for (const char* bad : {"", "+", "-", "+-1", "++1", "1e999", "-1e999", "inf", "nan", "1_000", "0x10", "1 ", " 1", "1,5", "1e"})
    EXPECT_FALSE(parse_number(bad)) << bad;
  EXPECT_EQ(parse_integer("+7"), 7);
  for (const char* bad : {"", "+", "+-1", "1.0", "9223372036854775808", "0x1"}) EXPECT_FALSE(parse_integer(bad)) << bad;
  EXPECT_EQ(render_number(0.3), "0.3");
}

TEST(Units, Sizes) {
  EXPECT_EQ(parse_size("512"), 512);
  EXPECT_EQ(parse_size("5G"), 5000000000);
  EXPECT_EQ(parse_size("5gb"), 5000000000);
  EXPECT_EQ(parse_size("5B"), 5000000000) << "as mergekit writes billions";
  EXPECT_EQ(parse_size("2GiB"), std::int64_t{2} << 30);
  EXPECT_EQ(parse_size("2 Gi"), std::int64_t{2} << 30);
  EXPECT_EQ(parse_size("1.5G"), 1500000000);
  EXPECT_EQ(parse_size("0"), 0);
  for (const char* bad : {"", "G", "-1", "1.5", "1.G", "5X", "5 G B", "99999999999T", "1e3", ".5G"}) EXPECT_FALSE(parse_size(bad)) << bad;
}

TEST(Units, AreRendered) {
  EXPECT_EQ(render_bytes(0), "0 B");
  EXPECT_EQ(render_bytes(999), "999 B");
  EXPECT_EQ(render_bytes(1000), "1.00 kB");
  EXPECT_EQ(render_bytes(999600), "1.00 MB");
  EXPECT_EQ(render_bytes(1234567890), "1.23 GB");
  EXPECT_EQ(render_count(1, "tensor"), "1 tensor");
  EXPECT_EQ(render_count(0, "tensor"), "0 tensors");
  EXPECT_EQ(render_count(2, "copy", "copies"), "2 copies");
}

TEST(Checked, OverflowIsEmpty) {
  constexpr std::int64_t kMost = INT64_MAX;
  EXPECT_EQ(checked_add(kMost, 0), kMost);
  EXPECT_EQ(checked_add(kMost, 1), std::nullopt);
  EXPECT_EQ(checked_mul(kMost, 1), kMost);
  EXPECT_EQ(checked_mul(std::int64_t{1} << 32, std::int64_t{1} << 31), std::nullopt);
  EXPECT_EQ(ceil_div(0, 8), 0);
  EXPECT_EQ(ceil_div(8, 8), 1);
  EXPECT_EQ(ceil_div(9, 8), 2);
}

TEST(Errors, CarryCodeAndContext) {
  const Error inner(ErrorCode::kDamaged, "bad header");
  const Error outer = inner.with_context("reading a");
  EXPECT_STREQ(outer.what(), "reading a: bad header");
  EXPECT_EQ(outer.code(), ErrorCode::kDamaged);
  EXPECT_EQ(exit_code_of(ErrorCode::kInput), 2);
  EXPECT_EQ(exit_code_of(ErrorCode::kIo), 3);
  EXPECT_EQ(exit_code_of(ErrorCode::kAudit), 3);
  EXPECT_EQ(exit_code_of(ErrorCode::kInterrupted), 130);
}

TEST(Errors, DiagnosticsAreToldTogether) {
  Diagnostics all;
  all.notice({"f.yml", 1, 2}, "odd");
  EXPECT_FALSE(all.has_errors());
  EXPECT_NO_THROW(all.throw_if_errors());
  all.error({"f.yml", 3, 0}, "wrong", "do this");
  EXPECT_EQ(render_diagnostics(all), "f.yml:1:2: notice: odd\nf.yml:3: error: wrong\n  hint: do this\n");
  EXPECT_THROW(all.throw_if_errors(), InputError);
  Diagnostics strict;
  strict.notice({}, "odd");
  strict.promote_notices();
  EXPECT_TRUE(strict.has_errors());
}

TEST(ErrorsDeath, CheckTellsPlaceAndValues) {
  const int x = 3;
  EXPECT_DEATH(CHECK(x == 4, "x is {}", x), "base_text_test.cpp.*x == 4.*x is 3");
}

}  // namespace
}  // namespace crucible
