#include "schema/field.h"

#include <gtest/gtest.h>

#include <string>

namespace crucible {
namespace {

enum class Rescale { kNone, kL1, kPerElement };

struct Sample {
  bool normalize = true;
  double density = 0.5;
  std::int64_t steps = 10;
  Rescale rescale = Rescale::kL1;
  double weight = 0.0;
};

const FieldTable& table() {
  static const FieldTable fields{
      field(&Sample::normalize, "normalize", "divide"),
      field(&Sample::density, "density", "share").range(0, 1),
      field(&Sample::steps, "steps", "how many").at_least(1),
      field(&Sample::rescale, "rescale", "how", {{"none", {"false"}}, {"l1", {"true"}}, {"per_element", {"paper"}}}),
      field(&Sample::weight, "weight", "w").required(),
  };
  return fields;
}

const Field& named(const char* name) { return table()[table().find(name).value()]; }

// The parsed value as text, or the complaint.
std::string parsed(const char* name, const std::string& text, bool quoted = false) {
  std::string why;
  const auto value = named(name).parse(text, quoted, why);
  return value ? named(name).value_text(*value) : why;
}

TEST(Field, Flags) {
  for (const char* text : {"true", "True", "TRUE", "yes", "On", "1", "1.0"}) EXPECT_EQ(parsed("normalize", text), "true") << text;
  for (const char* text : {"false", "no", "OFF", "0", "0.0", "-0"}) EXPECT_EQ(parsed("normalize", text), "false") << text;
  EXPECT_EQ(parsed("normalize", "0.5"), "is 0.5, allowed is true or false");
  EXPECT_EQ(parsed("normalize", "y"), "is `y`, allowed is true or false");
  EXPECT_EQ(parsed("normalize", ""), "is empty, allowed is true or false");
}

TEST(Field, Numbers) {
  for (const char* text : {"1e-10", "1E-10", "+1e-10", "0.0000000001"}) EXPECT_EQ(parsed("weight", text), "1e-10") << text;
  EXPECT_EQ(parsed("weight", ".5"), "0.5");
  EXPECT_EQ(parsed("weight", "5."), "5");
  EXPECT_EQ(parsed("weight", "-3"), "-3");
  EXPECT_EQ(parsed("weight", "0.25", true), "0.25");
  EXPECT_EQ(parsed("weight", " 2 ", true), "2");
  EXPECT_EQ(parsed("weight", "true"), "1");
  EXPECT_EQ(parsed("weight", "off"), "0");
  EXPECT_EQ(parsed("weight", "true", true), "is `true`, allowed is any number");
}

TEST(Field, NumbersThatAreNone) {
  EXPECT_EQ(parsed("density", "1.3"), "is 1.3, allowed is a number in [0, 1]");
  EXPECT_EQ(parsed("density", "high"), "is `high`, allowed is a number in [0, 1]");
  EXPECT_EQ(parsed("density", "0,5"), "is `0,5`, allowed is a number in [0, 1]; write a decimal point, not a comma");
  EXPECT_EQ(parsed("density", "50%"), "is `50%`, allowed is a number in [0, 1]; write a fraction, not a percentage");
  EXPECT_EQ(parsed("weight", "1_000"), "is `1_000`, allowed is any number; write the digits without `_`");
  EXPECT_EQ(parsed("weight", ".inf"), "is `.inf`, allowed is any number; it must be finite");
  EXPECT_EQ(parsed("weight", "-.INF"), "is `-.INF`, allowed is any number; it must be finite");
  EXPECT_EQ(parsed("weight", "nan"), "is `nan`, allowed is any number; it must be finite");
  EXPECT_EQ(parsed("weight", "1e999"), "is `1e999`, allowed is any number; it is too large");
  EXPECT_EQ(parsed("weight", "010"), "is 010, allowed is any number; a leading zero is ambiguous (octal in YAML 1.1)");
  for (const char* text : {"0x10", "1e", "--1", "1 2", "1:30", "e5", "+", "."}) {
    EXPECT_NE(parsed("weight", text).find("allowed is any number"), std::string::npos) << text;
  }
}

TEST(Field, Integers) {
  EXPECT_EQ(parsed("steps", "10"), "10");
  EXPECT_EQ(parsed("steps", "10.0"), "10");
  EXPECT_EQ(parsed("steps", "1e1"), "10");
  EXPECT_EQ(parsed("steps", "10.5"), "is 10.5, allowed is an integer >= 1");
  EXPECT_EQ(parsed("steps", "0"), "is 0, allowed is an integer >= 1");
  EXPECT_EQ(parsed("steps", "1e300"), "is 1e300, allowed is an integer >= 1; it is too large");
}

TEST(Field, Choices) {
  EXPECT_EQ(parsed("rescale", "l1"), "l1");
  EXPECT_EQ(parsed("rescale", "L1"), "l1");
  EXPECT_EQ(parsed("rescale", "Paper", true), "per_element");
  for (const char* text : {"true", "yes", "1", "1.0"}) EXPECT_EQ(parsed("rescale", text), "l1") << text;
  for (const char* text : {"false", "no", "0"}) EXPECT_EQ(parsed("rescale", text), "none") << text;
  EXPECT_EQ(parsed("rescale", "l2"), "is `l2`, allowed is one of none, l1, per_element");
}

TEST(Field, Texts) {
  EXPECT_EQ(named("density").type_text(), "number in [0, 1]");
  EXPECT_EQ(named("normalize").type_text(), "true or false");
  EXPECT_EQ(named("steps").type_text(), "integer >= 1");
  EXPECT_EQ(named("weight").type_text(), "any number");
  EXPECT_EQ(named("density").default_text(), "0.5");
  EXPECT_EQ(named("normalize").default_text(), "true");
  EXPECT_EQ(named("rescale").default_text(), "l1");
  EXPECT_EQ(named("weight").default_text(), "required");
  EXPECT_EQ((Range{0, 1, true, true}).text(), "in (0, 1)");
  EXPECT_EQ((Range{.low = 0, .low_open = true}).text(), "> 0");
  EXPECT_TRUE((Range{.low = 0, .low_open = true}).contains(1e-300));
  EXPECT_FALSE((Range{.low = 0, .low_open = true}).contains(0));
}

TEST(Params, DefaultsSetAndTake) {
  Params params(table());
  EXPECT_EQ(params.take(&Sample::density), 0.5);
  EXPECT_TRUE(params.was_taken(1));
  EXPECT_FALSE(params.was_taken(0));
  params.set(3, Value(2), {Origin::Level::kModel, {"f", 3, 4}, "mlp", 0.5});
  EXPECT_EQ(params.peek(&Sample::rescale), Rescale::kPerElement);
  EXPECT_FALSE(params.was_taken(3));
  EXPECT_TRUE(params.given(&Sample::rescale));
  EXPECT_FALSE(params.given(&Sample::steps));
  EXPECT_EQ(to_string(params.origin(3).level), "model");
  EXPECT_EQ(params.origin(3).filter, "mlp");
  params.forget_taken();
  EXPECT_FALSE(params.was_taken(1));
}

}  // namespace
}  // namespace crucible
