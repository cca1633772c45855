// nearswap, ram, ramplus_tl, sce and arcee_fusion: worked examples, comparisons with references written here from their formulas, and
// the defects of mergekit 0.1.4 that they do not have.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include <fmt/format.h>

#include "crucible/crucible.h"
#include "simd/levels.h"
#include "support/kernel_driver.h"
#include "support/tiny_model.h"

namespace crucible::test {
namespace {

using Floats = std::vector<float>;

MergeCase make_case(Shape shape, Floats base, std::vector<Floats> models, Args global = {}) {
  MergeCase merge;
  merge.shape = std::move(shape);
  merge.base = std::move(base);
  merge.models = std::move(models);
  merge.global = std::move(global);
  return merge;
}

// A base of some kind of values, and models that differ from it by some other kind here and there.
MergeCase random_case(Shape shape, std::size_t models, Args global, Rng& rng, Values kind = Values::kNormal) {
  const std::int64_t n = elem_count(shape);
  MergeCase merge = make_case(std::move(shape), make_values(kind, n, rng), {}, std::move(global));
  for (std::size_t m = 0; m < models; ++m) {
    Floats x = *merge.base;
    const Floats delta = make_values(below(rng, 2) == 0 ? Values::kSparse : kind, n, rng);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += delta[i] * 0.25f;
    merge.models.push_back(std::move(x));
  }
  return merge;
}

// ---- nearswap

TEST(NearSwap, MovesByAtMostT) {
  Rng rng(1);
  for (const double t : {1e-6, 1e-4, 0.25, 3.0}) {
    const MergeCase merge = random_case({1000}, 1, {{"t", t}}, rng);
    const Floats out = run_kernel("nearswap", merge).out;
    int swapped = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double a = d((*merge.base)[i]), b = d(merge.models[0][i]);
      EXPECT_NEAR(d(out[i]), a + std::clamp(b - a, -t, t), 6e-8 * (std::abs(a) + t)) << i;
      if (std::abs(b - a) < t) {
        EXPECT_EQ(out[i], merge.models[0][i]) << "closer than t: the model's own bits";
        swapped += a == b ? 0 : 1;
      }
    }
    EXPECT_TRUE(swapped > 0 || t < 0.25) << t;
  }
}

TEST(NearSwap, ASmallTIsMeasuredAgainstTheSmallestDistance) {
  // w = 2.5e-7 / 1e-6 although the distance is 5e-7 only.
  const auto out = run_kernel("nearswap", make_case({1}, {0.0f}, {{5e-7f}}, {{"t", 2.5e-7}})).out;
  EXPECT_NEAR(d(out[0]), 0.25 * d(5e-7f), 1e-14);
}

TEST(NearSwap, NoDistanceMovesNothing) {
  const Floats base = {-0.0f, 1.5f, -2, 3e-40f, 3e38f};
  EXPECT_EQ(bits_of(run_kernel("nearswap", make_case({5}, base, {{5, -1, 2, 0, -3e38f}}, {{"t", 0}})).out), bits_of(base));
}

// ---- ram, ramplus_tl

TEST(Ram, TakesTheMeanOfTheActiveModels) {
  const Floats base = {1, 1, 1, 1, -0.0f, 2};
  const auto out = run_kernel("ram", make_case({6}, base, {{2, 1, 3, 1.25f, 0, 2.5f}, {1, 1, 5, 1.5f, 0, 2.25f}, {1, 4, 1, 0, 0, 2}},
                                               {{"epsilon", 0.25}}))
                       .out;
  // One active; one active; two; two (0.25 is not more than epsilon); none; one (0.25 again).
  EXPECT_EQ(bits_of(out), bits_of({2, 4, 4, 0.75f, -0.0f, 2.5f}));
}

TEST(Ram, ANanIsNotPassedOver) {
  const auto out = run_kernel("ram", make_case({2}, {1, 1}, {{NAN, 2}, {1, 1}})).out;
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_EQ(out[1], 2);
}

TEST(RamPlus, EnlargesWhatOneModelAloneMoved) {
  // Model 0: alone at 0 and 1, with others at 2: rho 0.5. Model 1: never alone, together at 2 and 3. Model 2: alone at 4, together at 3.
  const Floats base(6, 0.0f);
  const std::vector<Floats> models = {{1, 2, 3, 0, 0, 0}, {0, 0, 5, 7, 0, 0}, {0, 0, 0, 9, 4, 0}};
  const Driven driven = run_kernel("ramplus_tl", make_case({6}, base, models, {{"r", 0.5}, {"alpha", 0.75}}));
  EXPECT_EQ(driven.out, (Floats{1.25f, 2.5f, 4, 8, 5.5f, 0}));
  EXPECT_EQ(driven.note("overlap ratio[0]"), 0.5);
  EXPECT_EQ(driven.note("lambda[0]"), 1.25);
  EXPECT_EQ(driven.note("lambda[1]"), 1 + 0.5 * 0.75) << "no place of its own: the most that alpha allows";
  EXPECT_EQ(driven.note("overlap ratio[2]"), 1);
  EXPECT_EQ(driven.note("lambda[2]"), 1 + 0.5 * 0.75);
}

TEST(RamPlus, WithoutOverlapIsRam) {
  Rng rng(3);
  const MergeCase one = random_case({500}, 1, {}, rng);
  EXPECT_EQ(bits_of(run_kernel("ramplus_tl", one).out), bits_of(run_kernel("ram", one).out));
  MergeCase many = random_case({500}, 3, {{"r", 0}}, rng);
  const auto out = run_kernel("ramplus_tl", many).out;
  many.global.clear();
  EXPECT_EQ(bits_of(out), bits_of(run_kernel("ram", many).out));
}

TEST(RamPlus, NothingMovedAndNoEpsilon) {
  const auto driven = run_kernel("ramplus_tl", make_case({2}, {1, 2}, {{1, 2}, {1, 2}}, {{"epsilon", 0}}));
  EXPECT_EQ(driven.out, (Floats{1, 2}));
  EXPECT_EQ(driven.note("lambda[0]"), 1);
}

// ---- sce

// The formula of the help text in long double, with a full sort.
Floats sce_reference(const MergeCase& merge, double topk, bool coefficients) {
  const std::size_t n = merge.base->size(), models = merge.models.size();
  const auto delta = [&](std::size_t m, std::size_t i) {
    return static_cast<long double>(merge.models[m][i]) - static_cast<long double>((*merge.base)[i]);
  };
  std::vector<char> in(n, 1);
  if (topk < 1) {
    std::vector<float> deviation(n);
    std::size_t differing = 0;
    for (std::size_t i = 0; i < n; ++i) {
      long double mean = 0, variance = 0;
      for (std::size_t m = 0; m < models; ++m) mean += delta(m, i) / static_cast<long double>(models);
      for (std::size_t m = 0; m < models; ++m) variance += (delta(m, i) - mean) * (delta(m, i) - mean);
      bool same = true;
      for (std::size_t m = 1; m < models; ++m) same = same && merge.models[m][i] == merge.models[0][i];
      deviation[i] = same ? 0 : static_cast<float>(std::sqrt(variance * static_cast<long double>(models)));
      differing += same ? 0 : 1;
    }
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return deviation[a] > deviation[b]; });
    const auto k = static_cast<std::size_t>(topk * static_cast<double>(differing));
    for (std::size_t r = k; r < n; ++r) in[order[r]] = 0;
  }
  std::vector<long double> eta(models);
  long double total = 0;
  for (std::size_t m = 0; m < models; ++m) {
    for (std::size_t i = 0; i < n; ++i) eta[m] += in[i] != 0 ? delta(m, i) * delta(m, i) : 0;
    total += eta[m];
  }
  for (auto& e : eta) e = total > 0 ? e / total : 1 / static_cast<long double>(models);
  Floats out(n);
  for (std::size_t i = 0; i < n; ++i) {
    const bool merged = in[i] != 0 || coefficients;
    long double sum = 0, mixed = 0, divisor = 0;
    for (std::size_t m = 0; m < models && merged; ++m) sum += delta(m, i);
    for (std::size_t m = 0; m < models && merged; ++m) {
      const long double v = delta(m, i);
      if (sum >= 0 ? v > 0 : v < 0) mixed += eta[m] * v, divisor += eta[m];
    }
    out[i] = static_cast<float>(static_cast<long double>((*merge.base)[i]) + mixed / std::max(divisor, 1e-6L));
  }
  return out;
}

TEST(Sce, IsItsFormula) {
  Rng rng(11);
  for (int round = 0; round < 120; ++round) {
    const double topk = std::array{0.0, 0.1, 0.5, 0.93, 1.0, 7.0}[static_cast<std::size_t>(below(rng, 6))];
    const bool coefficients = below(rng, 3) == 0;
    const Values kind =
        std::array{Values::kNormal, Values::kBFloat, Values::kFew, Values::kSparse}[static_cast<std::size_t>(below(rng, 4))];
    const MergeCase merge = random_case({1 + below(rng, 700)}, static_cast<std::size_t>(1 + below(rng, 4)),
                                        {{"select_topk", topk}, {"select", coefficients ? "coefficients" : "deltas"}}, rng, kind);
    const Floats out = run_kernel("sce", merge).out, expected = sce_reference(merge, topk, coefficients);
    for (std::size_t i = 0; i < out.size(); ++i) {
      // Where a model brings the base to 0, what rounding leaves of it counts from the base.
      ASSERT_NEAR(d(out[i]), d(expected[i]), 1.5e-7 * std::abs(d(expected[i])) + 1e-15 * std::abs(d((*merge.base)[i])))
          << "round " << round << " element " << i << " topk " << topk;
    }
  }
}

TEST(Sce, LargeTensorsWithEqualVariances) {
  Rng rng(12);
  const MergeCase merge = random_case({3, 100000}, 3, {{"select_topk", 0.3}}, rng, Values::kFew);
  const Driven driven = run_kernel("sce", merge, {.workers = 3, .shuffle = 5});
  EXPECT_EQ(driven.reduce_passes, 3) << "a sample, one to find the cut, one for the coefficients";
  const Floats expected = sce_reference(merge, 0.3, false);
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(d(driven.out[i]), d(expected[i]), 1.5e-7 * std::abs(d(expected[i]))) << i;
  EXPECT_EQ(bits_of(driven.out), bits_of(run_kernel("sce", merge).out));
  const Driven counted = run_kernel("sce", merge, {.workers = 3, .shuffle = 5, .keep_budget_bytes = 0});
  EXPECT_EQ(counted.reduce_passes, 4) << "two to find the cut, one for equal variances, one for the coefficients";
  EXPECT_EQ(bits_of(driven.out), bits_of(counted.out));
}

TEST(Sce, CountsVotes) {
  // Sums: 1 (+), -1 (-), 0 (+), 0 with no votes.
  const Driven driven = run_kernel("sce", make_case({4}, {0, 0, 0, 0}, {{2, 0, 1, 0}, {-1, -1, -1, 0}}));
  EXPECT_EQ(driven.measure.sign_conflicts, 2);
  EXPECT_EQ(driven.measure.models[0].votes, 2);
  EXPECT_EQ(driven.measure.models[0].votes_lost, 0);
  EXPECT_EQ(driven.measure.models[1].votes, 3);
  EXPECT_EQ(driven.measure.models[1].votes_lost, 2);
  EXPECT_EQ(driven.out, (Floats{2, -1, 1, 0}));
  EXPECT_EQ(driven.note("eta[0]"), 5.0 / 8);
}

TEST(Sce, ACoefficientBelowTheSmallestDivisorDamps) {
  // The second model's coefficient is 1e-8 of the whole; where it wins alone, the divisor is 1e-6.
  const auto out = run_kernel("sce", make_case({2}, {0, 0}, {{1000, 0}, {0, 0.1f}})).out;
  EXPECT_EQ(out[0], 1000);
  EXPECT_NEAR(d(out[1]), 0.1 * 1e-8 / 1e-6, 1e-9);
}

TEST(Sce, DifferencesOfTheSmallestNumbersAreSeen) {
  // One unit apart in the smallest subnormals: the variance is far below any float.
  const auto driven =
      run_kernel("sce", make_case({4}, {0, 0, 0, 0}, {{0, 0, 0, 0}, {0, 0x1p-149f, 0, 0}, {0, 0, 0, 0}}, {{"select_topk", 0.999}}));
  EXPECT_TRUE(std::isnan(driven.note("selected share")) || driven.note("selected share") == 0) << "0.999 of one is none";
  const auto more =
      run_kernel("sce", make_case({4}, {0, 0, 0, 0}, {{0, 0x1p-149f, 0x1p-149f, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}}, {{"select_topk", 0.5}}));
  EXPECT_EQ(more.note("selected share"), 0.25);
  EXPECT_EQ(bits_of(more.out), bits_of({0, 0x1p-149f, 0, 0}));
}

// ---- arcee_fusion

struct ArceeReference {
  std::vector<long double> scores;
  long double threshold = 0;
  long double slack = 0;  // what may be decided either way, but for equality
};
// The formula of the help text in long double: p ln(p / q) added up as it is written.
ArceeReference arcee_reference(const MergeCase& merge) {
  const Floats& b = *merge.base;
  const Floats& x = merge.models[0];
  const auto row = static_cast<std::size_t>(std::max<std::int64_t>(1, row_length(merge.shape)));
  ArceeReference r;
  r.scores.resize(b.size());
  std::vector<long double> p(row), q(row);
  const auto softmax = [row](const float* v, std::vector<long double>& out) {
    const float top = *std::max_element(v, v + row);
    long double sum = 0;
    for (std::size_t i = 0; i < row; ++i) sum += out[i] = std::exp(static_cast<long double>(v[i]) - static_cast<long double>(top));
    for (auto& o : out) o = o / sum + 1e-8L;
  };
  for (std::size_t at = 0; at < b.size(); at += row) {
    softmax(x.data() + at, p);
    softmax(b.data() + at, q);
    long double divergence = 0;
    for (std::size_t i = 0; i < row; ++i) divergence += p[i] * std::log(p[i] / q[i]);
    for (std::size_t i = at; i < at + row; ++i)
      r.scores[i] = std::abs(static_cast<long double>(x[i]) - static_cast<long double>(b[i])) * std::max(divergence, 0.0L);
  }
  std::vector<long double> sorted = r.scores;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t last = sorted.size() - 1;
  const long double q1 = sorted[last / 4], q2 = sorted[last / 2], q3 = sorted[last * 3 / 4];
  r.threshold = q2 + 1.5L * (q3 - q1);
  r.slack = 1e-6L * (q2 + 1.5L * (q1 + q3));
  return r;
}

// Compares all decisions; returns how many were too close to call.
std::int64_t expect_decisions(const MergeCase& merge, const Driven& driven) {
  const ArceeReference r = arcee_reference(merge);
  std::int64_t close = 0, taken = 0, wrong = 0;
  for (std::size_t i = 0; i < r.scores.size(); ++i) {
    const bool is_model = driven.out[i] == merge.models[0][i], is_base = driven.out[i] == (*merge.base)[i];
    EXPECT_TRUE(is_model || is_base) << i;
    taken += is_model && !is_base ? 1 : 0;
    if (std::abs(r.scores[i] - r.threshold) <= r.slack) {
      ++close;
    } else {
      wrong += (r.scores[i] >= r.threshold ? is_model : is_base) ? 0 : 1;
    }
  }
  EXPECT_EQ(wrong, 0);
  const auto n = static_cast<double>(r.scores.size());
  EXPECT_NEAR(driven.note("threshold"), static_cast<double>(r.threshold), 2e-6 * static_cast<double>(r.threshold + r.slack * 1e6L));
  EXPECT_GE(driven.note("share taken") + 1e-9, static_cast<double>(taken) / n);
  return close;
}

MergeCase fine_tuned(Shape shape, Rng& rng, double step = 1e-3) {
  const std::int64_t n = elem_count(shape);
  MergeCase merge = make_case(std::move(shape), make_values(Values::kNormal, n, rng), {});
  Floats x = *merge.base;
  for (float& v : x) v += static_cast<float>(step * (uniform(rng, -1, 1) + uniform(rng, -1, 1) + uniform(rng, -1, 1)));
  merge.models = {std::move(x)};
  return merge;
}

TEST(ArceeFusion, IsItsFormula) {
  Rng rng(21);
  for (const Shape& shape :
       {Shape{2}, Shape{3}, Shape{64}, Shape{999}, Shape{40, 3}, Shape{200, 300}, Shape{3, 5, 64}, Shape{1, 5000}, Shape{300, 700}}) {
    for (const double step : {1e-5, 1e-3, 0.5, 30.0}) {
      SCOPED_TRACE(to_string(shape) + " step " + std::to_string(step));
      const MergeCase merge = fine_tuned(shape, rng, step);
      const Driven driven = run_kernel("arcee_fusion", merge);
      // Thresholds fall on a score itself where quartiles coincide, as in tensors of two or three elements.
      EXPECT_LE(expect_decisions(merge, driven), merge.elems() < 10 ? 3 : 2);
    }
  }
}

TEST(ArceeFusion, ASampleOfTheRowsComesFirst) {
  Rng rng(26);
  const MergeCase merge = fine_tuned({1200, 1100}, rng);
  const Driven driven = run_kernel("arcee_fusion", merge, {.workers = 3, .shuffle = 4});
  EXPECT_EQ(driven.reduce_passes, 2);
  EXPECT_LE(expect_decisions(merge, driven), 20);
  EXPECT_EQ(bits_of(driven.out), bits_of(run_kernel("arcee_fusion", merge, {.keep_budget_bytes = 0}).out));
}

TEST(ArceeFusion, ScoresOfAnySizeAreRanked) {
  Rng rng(27);
  for (const double size : {1e-20, 1e-12, 1e15, 1e30}) {
    SCOPED_TRACE(size);
    MergeCase merge = make_case({60, 50}, Floats(3000, 0.0f), {Floats(3000)});
    for (float& v : merge.models[0]) v = static_cast<float>(uniform(rng, -size, size));
    const Driven driven = run_kernel("arcee_fusion", merge);
    EXPECT_EQ(driven.reduce_passes, 4) << "two for scores of the usual size, two for these";
    if (size > 1) {
      EXPECT_LE(expect_decisions(merge, driven), 2);
    } else {
      EXPECT_GT(driven.note("share taken"), 0);
      EXPECT_LT(driven.note("share taken"), 0.3);
    }
  }
}

TEST(ArceeFusion, RowsLongerThanATile) {
  Rng rng(22);
  for (const Shape& shape : {Shape{kLongestRow + 77}, Shape{2, kLongestRow + 12345}}) {
    const MergeCase merge = fine_tuned(shape, rng, 0.1);
    const DriveOptions options{.workers = 3, .shuffle = 4};
    const Driven driven = run_kernel("arcee_fusion", merge, options);
    EXPECT_EQ(driven.reduce_passes, 5);
    EXPECT_LE(expect_decisions(merge, driven), 40);
    EXPECT_GT(driven.note("share taken"), 0.001);
    EXPECT_LT(driven.note("share taken"), 0.5);
    EXPECT_EQ(bits_of(driven.out), bits_of(run_kernel("arcee_fusion", merge).out));
  }
}

TEST(ArceeFusion, AScoreOnTheThresholdIsTaken) {
  // One row: scores are the distances times one divergence. Quartiles 2, 3, 4, threshold 3 + 1.5 * 2 = 6 of the same unit.
  Rng rng(23);
  for (int round = 0; round < 200; ++round) {
    Floats distance = {1, 2, 3, 4, 6};
    for (std::size_t i = 5; i > 1; --i)
      std::swap(distance[i - 1], distance[static_cast<std::size_t>(below(rng, static_cast<std::int64_t>(i)))]);
    Floats base(5), x(5), expected(5);
    for (std::size_t i = 0; i < 5; ++i) {
      base[i] = static_cast<float>(below(rng, 4096) - 2048) * 0x1p-10f;
      x[i] = base[i] + distance[i] * (below(rng, 2) == 0 ? 0x1p-10f : -0x1p-10f);
      expected[i] = distance[i] == 6 ? x[i] : base[i];
    }
    ASSERT_EQ(run_kernel("arcee_fusion", make_case({5}, base, {x})).out, expected) << round;
  }
}

TEST(ArceeFusion, WithoutDivergenceTheModelIsTaken) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{6, 1}}) {
    const auto n = static_cast<std::size_t>(elem_count(shape));
    const Driven driven = run_kernel("arcee_fusion", make_case(shape, Floats(n, 1.0f), {Floats(n, 2.5f)}));
    EXPECT_EQ(driven.out, Floats(n, 2.5f));
    EXPECT_FALSE(driven.remark.empty());
    EXPECT_EQ(driven.note("share taken"), 1);
  }
  const Driven same = run_kernel("arcee_fusion", make_case({2, 2}, {1, 2, 3, -0.0f}, {{1, 2, 3, -0.0f}}));
  EXPECT_EQ(bits_of(same.out), bits_of({1, 2, 3, -0.0f}));
  EXPECT_TRUE(same.remark.empty());
}

TEST(ArceeFusion, ScoresBelowTheSmallestFloatAreRanked) {
  // Distances of 1e-15 and divergences of 1e-31: the products are below the smallest float, and must not all become 0.
  Rng rng(24);
  MergeCase merge = make_case({50, 40}, Floats(2000, 0.0f), {Floats(2000)});
  for (float& v : merge.models[0]) v = static_cast<float>(uniform(rng, -1e-15, 1e-15));
  const Driven driven = run_kernel("arcee_fusion", merge);
  EXPECT_LT(driven.note("threshold"), 1e-45);
  EXPECT_GT(driven.note("threshold"), 0);
  EXPECT_LT(driven.note("share taken"), 0.3);
}

TEST(ArceeFusion, ANanIsNotPassedOver) {
  Rng rng(25);
  MergeCase merge = fine_tuned({20, 30}, rng);
  merge.models[0][45] = NAN;
  const auto out = run_kernel("arcee_fusion", merge).out;
  EXPECT_TRUE(std::isnan(out[45]));
  EXPECT_EQ(std::count_if(out.begin(), out.end(), [](float v) { return std::isnan(v); }), 1);
}

// ---- all of them

const std::vector<std::pair<const char*, Args>>& all_five() {
  static const std::vector<std::pair<const char*, Args>> all = {{"nearswap", {{"t", 0.003}}},
                                                                {"ram", {}},
                                                                {"ramplus_tl", {}},
                                                                {"sce", {{"select_topk", 0.4}}},
                                                                {"sce", {{"select", "coefficients"}, {"select_topk", 0.4}}},
                                                                {"arcee_fusion", {}}};
  return all;
}

TEST(ElementwiseMethods, SameBytesOnEveryCpuLevelWithAnyThreadsAndBudget) {
  for (const auto& [name, args] : all_five()) {
    for (const Values kind : kAllValues) {
      Rng rng(31);
      const auto models = static_cast<std::size_t>(std::min(find_method(name)->max_models, 3));
      const MergeCase merge = random_case({211, 701}, models, args, rng, kind);
      const Driven expected = run_kernel(name, merge);
      for (const std::string& level : simd::available_levels()) {
        ASSERT_TRUE(simd::limit_level(level));
        const DriveOptions options{.workers = 2, .threads = Threads::kReal, .shuffle = 8, .keep_budget_bytes = 0};
        const Driven driven = run_kernel(name, merge, options);
        EXPECT_EQ(bits_of(driven.out), bits_of(expected.out)) << name << ' ' << level;
        ASSERT_EQ(driven.notes.size(), expected.notes.size());
        for (std::size_t i = 0; i < driven.notes.size(); ++i)
          EXPECT_EQ(driven.notes[i].value, expected.notes[i].value) << name << ' ' << level;
      }
      simd::limit_level("");
    }
  }
}

// Merges folders of one matrix each.
class Folders {
 public:
  Folders(DType dtype, int models) {
    for (int m = 0; m <= models; ++m) {
      const std::string name = m == 0 ? "base" : std::string(1, static_cast<char>('a' + m - 1));
      write_llama(box_ / name, static_cast<std::uint64_t>(m + 1), dtype);
      dirs_.emplace_back(name, box_ / name);
    }
  }
  // All tensors' bytes of the output, and their dtypes.
  std::string merged(const std::string& method, const std::string& order, std::string* dtypes = nullptr) {
    MergeRequest request;
    request.recipe_text = "merge_method: " + method + "\nbase_model: base\nmodels:\n";
    for (const char name : order) request.recipe_text += fmt::format("- model: {}\n", name);
    request.model_dirs = dirs_;
    request.threads = 1;
    const std::string out = box_ / fmt::format("out{}", ++count_);
    merge(request, out);
    const Checkpoint checkpoint = open_checkpoint(out);
    std::string bytes;
    for (const auto& t : checkpoint.tensors()) {
      bytes += t.info.name + tensor_bytes(checkpoint, t.info.name);
      if (dtypes != nullptr) *dtypes += std::string(facts(t.info.dtype).torch_name) + " ";
    }
    if (dtypes != nullptr) *dtypes += read_text(out + "/config.json");
    return bytes;
  }

 private:
  TempFolder box_;
  std::vector<std::pair<std::string, std::string>> dirs_;
  int count_ = 0;
};

TEST(MergekitDefects, D3_HalfPrecisionInputsGiveHalfPrecisionOutput) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const char* method : {"arcee_fusion", "ramplus_tl"}) {
      Folders folders(dtype, 1);
      std::string dtypes;
      folders.merged(method, "a", &dtypes);
      EXPECT_NE(dtypes.find(facts(dtype).torch_name), std::string::npos) << dtypes;
      EXPECT_EQ(dtypes.find("float32"), std::string::npos) << method << ' ' << dtypes;
    }
  }
}

TEST(MergekitDefects, D4_SceWithoutAnyPositionIsTheBase) {
  const Floats base = {-0.0f, 1, 2, 3}, x = {5, 6, 7, 8}, y = {5, 6, 7, 9};
  const std::vector<std::pair<std::vector<Floats>, double>> cases = {
      {{x, x}, 0.5},     // equal task vectors
      {{x}, 0.9},        // one model
      {{x, y}, 0.9},     // one position that differs: 0.9 rounds to none
      {{x, y, y}, 0.0},  // nothing asked for
  };
  for (const auto& [models, topk] : cases) {
    const Driven driven = run_kernel("sce", make_case({4}, base, models, {{"select_topk", topk}}));
    EXPECT_EQ(bits_of(driven.out), bits_of(base)) << topk;
    EXPECT_NE(driven.remark.find("the output is the base"), std::string::npos) << driven.remark;
    const Driven whole = run_kernel("sce", make_case({4}, base, models, {{"select_topk", topk}, {"select", "coefficients"}}));
    EXPECT_EQ(whole.out[1], 6) << "task vectors are merged whole";
    EXPECT_EQ(whole.note("eta[0]"), 1.0 / static_cast<double>(models.size()));
    EXPECT_NE(whole.remark.find("weigh the same"), std::string::npos) << whole.remark;
  }
  EXPECT_TRUE(run_kernel("sce", make_case({4}, base, {x, y}, {{"select_topk", 1}})).remark.empty());
}

TEST(MergekitDefects, D5_SceWeighsSmallTaskVectorsToo) {
  // Mean squares of 1e-10 and 9e-10: mergekit makes the coefficients equal below a sum of 1e-6.
  Floats base(100, 0.0f), x(100, 1e-5f), y(100, 3e-5f);
  const Driven driven = run_kernel("sce", make_case({10, 10}, base, {x, y}));
  EXPECT_NEAR(driven.note("eta[0]"), 0.1, 1e-6);
  EXPECT_NEAR(driven.note("eta[1]"), 0.9, 1e-6);
  EXPECT_NEAR(d(driven.out[7]), 2.8e-5, 1e-11);
}

TEST(MergekitDefects, D32_ArceeDecidesBf16ModelsOnTheirDivergencesNotOnNoise) {
  // bf16 weights whose divergences are about 1e-7; in bf16 arithmetic those are rounding noise of 1e-4.
  Rng rng(41);
  const std::int64_t n = 128 * 512;
  MergeCase merge = make_case({128, 512}, make_values(Values::kBFloat, n, rng), {});
  Floats x = *merge.base;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double step = std::ldexp(1.0, static_cast<int>(i / 512 % 4) - 9);  // rows that changed more and less
    const float moved = static_cast<float>(d(x[i]) + uniform(rng, -step, step));
    x[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(moved) & 0xFFFF0000u);
  }
  merge.models = {x};
  const Driven driven = run_kernel("arcee_fusion", merge);
  EXPECT_LE(expect_decisions(merge, driven), 64);
  EXPECT_GT(driven.note("threshold"), 0);
  EXPECT_GT(driven.note("share taken"), 0.01);
  EXPECT_LT(driven.note("share taken"), 0.4);
}

TEST(MergekitDefects, D32_SceSelectsBySmallDifferences) {
  // Variances differ in their ninth bit: the same number in bf16.
  Floats base(64, 0.0f), x(64, 0.0f), y(64, 1.0f);
  for (std::size_t i = 0; i < 64; ++i) y[i] += static_cast<float>((i * 37) % 64) * 0x1p-12f;
  const auto out = run_kernel("sce", make_case({64}, base, {x, y}, {{"select_topk", 0.25}})).out;
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(out[i] != 0, (i * 37) % 64 >= 48) << i;
}

TEST(MergekitDefects, D55_ArceeQuartilesAreExactInLargeTensors) {
  Rng rng(42);
  const MergeCase merge = fine_tuned({1024, 1100}, rng);  // more than the million that mergekit samples
  const Driven driven = run_kernel("arcee_fusion", merge);
  const ArceeReference r = arcee_reference(merge);
  EXPECT_NEAR(driven.note("threshold") / static_cast<double>(r.threshold), 1, 1e-6) << "a sample of a million is off by 1e-4";
  EXPECT_LE(expect_decisions(merge, driven), 20);
  EXPECT_EQ(bits_of(run_kernel("arcee_fusion", merge).out), bits_of(driven.out));
}

TEST(MergekitDefects, D60_OrderOfTheModelsDoesNotShow) {
  Folders folders(DType::kF32, 4);
  for (const char* method : {"ram", "ramplus_tl", "sce"}) {
    const std::string straight = folders.merged(method, "abcd");
    for (const char* order : {"dcba", "bdac"}) EXPECT_TRUE(folders.merged(method, order) == straight) << method << ' ' << order;
  }
}

}  // namespace
}  // namespace crucible::test
