// A correct merge is never accused. The audit of one merge raises an alarm with a chance of at most kFalseAlarm = 1e-9, all its checks
// together (Bonferroni over bounds of Chernoff and Hoeffding that hold for every size); for all the merges here together that is 2e-6.
//
// CRUCIBLE_RANDOM_MERGES: how many merges (default 2000); CRUCIBLE_RANDOM_SEED: other ones.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "support/random_merge.h"

namespace crucible::test {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::stoull(value);
}

TEST(AuditFalseAlarms, NoneInTwoThousandRandomMerges) {
  const auto wanted = static_cast<int>(from_environment("CRUCIBLE_RANDOM_MERGES", 2000));
  const ModelBox models({.layers = 3, .hidden = 24, .intermediate = 40, .vocabulary = 70});
  Rng rng(from_environment("CRUCIBLE_RANDOM_SEED", 77));
  std::map<std::string, std::int64_t> checks;
  int merged = 0, refused = 0;
  for (std::uint64_t seed = 0; merged < wanted && refused < wanted / 2; ++seed) {
    const std::string recipe = random_recipe(rng);
    const AuditedMerge merge = audited_merge(recipe, models, seed);
    if (!merge.problems.empty()) {
      ++refused;
      continue;
    }
    ++merged;
    EXPECT_FALSE(merge.accused()) << recipe << "seed " << seed << "\n"
                                  << testing::PrintToString(merge.detours) << testing::PrintToString(merge.contradictions);
    for (const Check& c : merge.verdict.rows) checks[c.parameter] += c.count;
  }
  EXPECT_EQ(merged, wanted) << refused << " recipes were refused: too many to mean anything";
  for (const char* parameter : {"density", "epsilon", "gamma", "weight", "lambda", "normalize", "rescale", "t", "select_topk", "scale", "r",
                                "alpha", "max_iter", "normalize_weights"}) {
    if (std::string(parameter) == "gamma") continue;  // how many entries are kept does not tell which were skipped
    EXPECT_GT(checks[parameter], wanted / 4) << parameter << " was hardly looked at";
  }
}

}  // namespace
}  // namespace crucible::test
