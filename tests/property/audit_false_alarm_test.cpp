// A correct merge is never accused. The audit of one merge raises an alarm with a chance of at most kFalseAlarm = 1e-9, all its checks
// together (Bonferroni over bounds of Chernoff and Hoeffding that hold for every size); for all the merges here together that is 2e-6.
#include <gtest/gtest.h>

#include <map>

#include "support/random_merge.h"

namespace crucible::test {
namespace {

TEST(AuditFalseAlarms, NoneInTwoThousandRandomMerges) {
  const ModelBox models({.layers = 3, .hidden = 24, .intermediate = 40, .vocabulary = 70});
  Rng rng(77);
  std::map<std::string, std::int64_t> checks;
  int merged = 0, refused = 0;
  for (std::uint64_t seed = 0; merged < 2000 && refused < 600; ++seed) {
    const std::string recipe = random_recipe(rng);
    const AuditedMerge merge = audited_merge(recipe, models, seed);
    if (!merge.problems.empty()) {
      ++refused;
      continue;
    }
    ++merged;
    ASSERT_FALSE(merge.accused()) << recipe << testing::PrintToString(merge.detours) << testing::PrintToString(merge.contradictions);
    for (const Check& c : merge.verdict.rows) checks[c.parameter] += c.count;
  }
  EXPECT_EQ(merged, 2000) << refused << " recipes were refused: too many to mean anything";
  for (const char* parameter : {"density", "epsilon", "gamma", "weight", "lambda", "normalize", "rescale", "t", "select_topk", "scale", "r",
                                "alpha", "max_iter", "normalize_weights"}) {
    if (std::string(parameter) == "gamma") continue;  // how many entries are kept does not tell which were skipped
    EXPECT_GT(checks[parameter], 1000) << parameter << " was hardly looked at";
  }
}

}  // namespace
}  // namespace crucible::test
