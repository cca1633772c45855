// MagPrune where a ranking scope does not fit what one pass may hold: windows, heavy buckets, ties. And what must not matter: the
// order of tiles, the workers, the budget.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "methods/shared/keep_ramp.h"
#include "support/kernel_driver.h"
#include "support/reference.h"

namespace crucible::test {
namespace {

// The least that a scope's window holds, whatever the budget (magprune.cpp).
constexpr std::int64_t kSmallestWindow = std::int64_t{1} << 16;

MergeCase one_task_vector(Shape shape, std::vector<float> delta, const char* scope, const char* rescale) {
  MergeCase merge;
  merge.shape = std::move(shape);
  merge.base = std::vector<float>(delta.size(), 0.0f);
  merge.models = {std::move(delta)};
  merge.global = {{"rank_scope", scope}, {"rescale", rescale}};
  merge.model_args = {{{"weight", 1.0}, {"density", 0.4}, {"epsilon", 0.35}}};
  return merge;
}

// Several windows per scope, each with its own way to be settled.
std::vector<float> windows(std::int64_t n, Rng& rng) { return make_values(Values::kSpread, n, rng); }

// One coarse bucket holds more than a window; its fine buckets do not.
std::vector<float> heavy_bucket(std::int64_t n, Rng& rng) {
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = static_cast<float>(uniform(rng, 1.0, 1.0 + 0x1p-8)) * (below(rng, 2) == 0 ? 1.0f : -1.0f);
  for (std::size_t i = 0; i < x.size(); i += 7) x[i] = static_cast<float>(uniform(rng, -3, 3));
  return x;
}

// More equal magnitudes than a window holds, twice, with others between and around.
std::vector<float> heavy_ties(std::int64_t n, Rng& rng) {
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) {
    const std::int64_t kind = below(rng, 5);
    v = kind < 2 ? 0.0f : kind < 4 ? (below(rng, 2) == 0 ? 0.5f : -0.5f) : static_cast<float>(uniform(rng, -1, 1));
  }
  return x;
}

using Maker = std::vector<float> (*)(std::int64_t, Rng&);
struct Named {
  const char* name;
  Maker make;
};
class Scopes : public testing::TestWithParam<std::tuple<Named, const char*>> {};

TEST_P(Scopes, EqualTheReferenceWithAndWithoutBudget) {
  const auto [values, rescale] = GetParam();
  Rng rng(11);
  const std::int64_t n = 5 * kSmallestWindow + 33;
  const MergeCase merge = one_task_vector({n}, values.make(n, rng), "tensor", rescale);
  const Expected expected = reference("della_linear", merge);
  const Driven roomy = run_kernel("della_linear", merge);
  EXPECT_LE(worst_error(DType::kF32, roomy.out, expected), 2);
  const Driven tight = run_kernel("della_linear", merge, {.workers = 3, .shuffle = 5, .keep_budget_bytes = 0});
  EXPECT_EQ(bits_of(tight.out), bits_of(roomy.out));
  EXPECT_GT(tight.reduce_passes, roomy.reduce_passes) << "the budget did not force windows";
  const std::int64_t kept = std::count(expected.kept[0].begin(), expected.kept[0].end(), 1);
  const KeepRamp ramp(0.4, 0.35, n);
  for (const Driven* d : {&roomy, &tight}) {
    const ModelMeasure& m = d->measure.models[0];
    EXPECT_EQ(m.kept, kept);
    EXPECT_EQ(m.elems, n);
    std::int64_t in_deciles = 0, elems = 0;
    for (std::size_t k = 0; k < kDeciles; ++k) {
      in_deciles += m.decile_kept[k];
      elems += m.decile_elems[k];
      const double planned = ramp.moments(decile_begin(static_cast<int>(k), n), decile_begin(static_cast<int>(k) + 1, n)).mean;
      EXPECT_NEAR(static_cast<double>(m.decile_kept[k]), planned, 6 * std::sqrt(static_cast<double>(n) / 40)) << k;
    }
    EXPECT_EQ(in_deciles, kept);
    EXPECT_EQ(elems, n);
  }
}

INSTANTIATE_TEST_SUITE_P(MagPrune, Scopes,
                         testing::Combine(testing::Values(Named{"windows", windows}, Named{"heavy_bucket", heavy_bucket},
                                                          Named{"heavy_ties", heavy_ties}),
                                          testing::Values("none", "per_element")),
                         [](const auto& p) { return std::string(std::get<0>(p.param).name) + "_" + std::get<1>(p.param); });

TEST(MagPrune, LongRowsAreRankedEachForItself) {
  Rng rng(12);
  const std::int64_t row = kLongestRow + 5;
  const MergeCase merge = one_task_vector({2, row}, heavy_ties(2 * row, rng), "row", "none");
  const Expected expected = reference("della_linear", merge);
  const Driven tight = run_kernel("della_linear", merge, {.workers = 2, .shuffle = 3, .keep_budget_bytes = 0});
  EXPECT_LE(worst_error(DType::kF32, tight.out, expected), 2);
  const Driven roomy = run_kernel("della_linear", merge, {.keep_budget_bytes = std::int64_t{1} << 30});
  EXPECT_EQ(bits_of(tight.out), bits_of(roomy.out));
}

// Of a large tensor every eighth row is counted by tenth, of a small one all; how many are kept is counted of all.
TEST(MagPrune, TenthsAreCountedOfSomeRows) {
  Rng rng(16);
  for (const std::int64_t rows : {40, 131}) {
    const std::int64_t row = 1000, n = rows * row;
    const MergeCase merge = one_task_vector({rows, row}, make_values(Values::kNormal, n, rng), "row", "none");
    const Expected expected = reference("della_linear", merge);
    const ModelMeasure m = run_kernel("della_linear", merge).measure.models[0];
    const std::int64_t counted = n <= kSampleWhole ? rows : 17;
    EXPECT_EQ(m.elems, n);
    EXPECT_EQ(m.kept, std::count(expected.kept[0].begin(), expected.kept[0].end(), 1));
    std::int64_t kept = 0;
    for (std::int64_t r = 0; r < rows; r += n <= kSampleWhole ? 1 : kRowsToCounted) {
      const auto begin = expected.kept[0].begin() + r * row;
      kept += std::count(begin, begin + row, 1);
    }
    EXPECT_EQ(std::accumulate(m.decile_kept.begin(), m.decile_kept.end(), std::int64_t{0}), kept);
    for (const std::int64_t elems : m.decile_elems) EXPECT_EQ(elems, counted * row / kDeciles);
  }
}

// What the ramp promises of the tenths is about the rows that were counted.
TEST(MagPrune, TenthsOfSomeRowsKeepTheirPromise) {
  Rng rng(17);
  const std::int64_t rows = 131, row = 1000;
  const MergeCase merge = one_task_vector({rows, row}, make_values(Values::kNormal, rows * row, rng), "row", "none");
  const Method& method = *find_method("della_linear");
  const Params global = make_params(*method.global, merge.global);
  const std::vector<Params> models = {make_params(*method.model, merge.model_args[0])};
  const std::vector<std::string> names = {"a"};
  const auto promises_of = [&](const Measure& measure) {
    Promises all;
    method.promise({"weight", &merge.shape, true, &global, models, names}, measure, {}, all);
    Promises tenths;
    std::copy_if(all.begin(), all.end(), std::back_inserter(tenths), [](const Promise& p) { return p.tenth >= 0; });
    return tenths;
  };
  Measure measure = run_kernel(method, merge).measure;
  const Promises tenths = promises_of(measure);
  ASSERT_EQ(tenths.size(), std::size_t{kDeciles});
  for (const Promise& p : tenths) {
    EXPECT_EQ(p.draws, 17.0 * row / kDeciles);
    EXPECT_NEAR(p.measured, p.planned, 6 * std::sqrt(p.variance)) << p.tenth;
  }
  // Where nothing was counted at all, the promise stands and is broken.
  measure.models[0].decile_elems = measure.models[0].decile_kept = {};
  for (const Promise& p : promises_of(measure)) {
    EXPECT_EQ(p.measured, 0) << p.tenth;
    EXPECT_GT(p.planned, 0) << p.tenth;
  }
}

// Rows in a tile and rows in a window are two codes for one definition: a tensor of one row has the same ranks either way.
TEST(MagPrune, TensorScopeOfOneRowIsRowScope) {
  Rng rng(13);
  for (const char* rescale : {"none", "l1", "per_element"}) {
    for (const Values kind : {Values::kNormal, Values::kFew, Values::kSparse}) {
      const std::int64_t n = 1 + below(rng, 5000);
      const MergeCase row = one_task_vector({n}, make_values(kind, n, rng), "row", rescale);
      MergeCase tensor = row;
      tensor.global[0] = Arg("rank_scope", "tensor");
      EXPECT_EQ(bits_of(run_kernel("della", row).out), bits_of(run_kernel("della", tensor).out)) << rescale << n;
    }
  }
}

TEST(MagPrune, RowsAndTensorAreDifferentScopes) {
  Rng rng(14);
  const MergeCase row = one_task_vector({40, 50}, make_values(Values::kNormal, 2000, rng), "row", "none");
  MergeCase tensor = row;
  tensor.global[0] = Arg("rank_scope", "tensor");
  EXPECT_NE(bits_of(run_kernel("della", row).out), bits_of(run_kernel("della", tensor).out));
}

// Several models in one job, each with a selection of its own that ends after another number of passes.
MergeCase three_models(const std::string& method, Rng& rng) {
  MergeCase merge;
  merge.shape = {9, 20011};
  const std::int64_t n = merge.elems();
  merge.base = make_values(Values::kHalf, n, rng);
  merge.models = {make_values(Values::kHalf, n, rng), heavy_ties(n, rng), make_values(Values::kSparse, n, rng)};
  const Method& m = *find_method(method);
  if (m.model->find("density")) merge.model_args = {{{"density", 0.3}}, {{"density", 0.7}}, {{"density", 1.0}}};
  if (m.global->find("rescale")) merge.global.emplace_back("rescale", "l1");
  if (m.global->find("rank_scope")) merge.global.emplace_back("rank_scope", "tensor");
  merge.models.resize(std::min<std::size_t>(merge.models.size(), static_cast<std::size_t>(m.max_models)));
  merge.model_args.resize(std::min(merge.model_args.size(), merge.models.size()));
  if (m.base != BaseRule::kRequired) merge.base.reset();
  return merge;
}

void expect_same(const Driven& a, const Driven& b, const std::string& what) {
  EXPECT_EQ(bits_of(a.out), bits_of(b.out)) << what;
  ASSERT_EQ(a.measure.models.size(), b.measure.models.size());
  for (std::size_t m = 0; m < a.measure.models.size(); ++m) {
    EXPECT_EQ(a.measure.models[m].kept, b.measure.models[m].kept) << what;
    EXPECT_EQ(a.measure.models[m].elems, b.measure.models[m].elems) << what;
    EXPECT_EQ(a.measure.models[m].decile_kept, b.measure.models[m].decile_kept) << what;
    EXPECT_EQ(a.measure.models[m].l1_after, b.measure.models[m].l1_after) << what;
    EXPECT_EQ(a.measure.models[m].votes_lost, b.measure.models[m].votes_lost) << what;
  }
  EXPECT_EQ(a.measure.sign_conflicts, b.measure.sign_conflicts) << what;
}

TEST(EveryMethod, IgnoresOrderWorkersBudgetAndThreads) {
  Rng rng(15);
  for (const Method* method : all_methods()) {
    const std::string name(method->name);
    const MergeCase merge = three_models(name, rng);
    const Driven plain = run_kernel(*method, merge);
    expect_same(plain, run_kernel(*method, merge, {.workers = 4, .shuffle = 1}), name + " workers");
    expect_same(plain, run_kernel(*method, merge, {.shuffle = 2, .keep_budget_bytes = 0}), name + " budget");
    expect_same(plain, run_kernel(*method, merge, {.workers = 2, .threads = Threads::kReal, .shuffle = 3, .keep_budget_bytes = 0}),
                name + " threads");
  }
}

}  // namespace
}  // namespace crucible::test
