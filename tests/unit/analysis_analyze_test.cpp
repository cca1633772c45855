// The engine of `analyze` against plain f64 loops over the same numbers.
#include "analysis/analyze.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "analysis/advice.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

AnalyzeOptions with_threads(int threads) {
  AnalyzeOptions options;
  options.stream.threads = threads;
  options.stream.memory_bytes = std::int64_t{1} << 30;
  return options;
}

struct Trio {
  TempFolder folder;
  std::vector<Checkpoint> models;  // without the base
  Checkpoint base;

  Trio(const std::vector<TinyTensor>& b, const std::vector<std::vector<TinyTensor>>& others) : base(write("base", b)) {
    for (std::size_t i = 0; i < others.size(); ++i) models.push_back(write(std::to_string(i), others[i]));
  }
  Checkpoint write(const std::string& name, const std::vector<TinyTensor>& tensors) const {
    TinyModel model;
    model.tensors = tensors;
    return open_checkpoint(write_tiny_model(folder / name, model));
  }
  Analysis run(AnalyzeOptions options = with_threads(2)) {
    Diagnostics diagnostics;
    Analysis a = analyze_checkpoints(base, models, options, diagnostics);
    notices.clear();
    for (const Diagnostic& d : diagnostics.items()) notices.push_back(d.message);
    EXPECT_FALSE(diagnostics.has_errors());
    return a;
  }
  std::vector<std::string> notices;
};

std::vector<double> finite_of(const std::vector<double>& x) {
  std::vector<double> out;
  std::copy_if(x.begin(), x.end(), std::back_inserter(out), [](double v) { return std::isfinite(v); });
  return out;
}

// Everything of a series that plain loops give.
void expect_series(const SeriesStats& s, const std::vector<double>& all, const std::string& what) {
  const std::vector<double> x = finite_of(all);
  const auto n = static_cast<double>(x.size());
  ASSERT_EQ(s.moments.n, static_cast<std::int64_t>(x.size())) << what;
  EXPECT_EQ(s.nonfinite, static_cast<std::int64_t>(all.size() - x.size())) << what;
  if (x.empty()) return;
  double sum = 0, l1 = 0, l2 = 0, m2 = 0;
  for (const double v : x) {
    sum += v;
    l1 += std::abs(v);
    l2 += v * v;
  }
  const double mean = sum / n;
  for (const double v : x) m2 += (v - mean) * (v - mean);
  const double deviation = std::sqrt(m2 / n), rms = std::sqrt(l2 / n);
  EXPECT_NEAR(s.moments.mean, mean, 1e-12 * (std::abs(mean) + l1 / n)) << what;
  EXPECT_NEAR(s.moments.deviation(), deviation, 1e-10 * (deviation + std::abs(mean))) << what;
  EXPECT_NEAR(s.l1, l1, 1e-12 * l1) << what;
  EXPECT_NEAR(s.l2, l2, 1e-12 * l2) << what;
  EXPECT_EQ(s.zeros, std::count(x.begin(), x.end(), 0.0)) << what;
  EXPECT_EQ(s.smallest, *std::min_element(x.begin(), x.end())) << what;
  EXPECT_EQ(s.largest, *std::max_element(x.begin(), x.end())) << what;
  if (deviation > 0) {
    const auto count = [&](auto&& wanted) { return std::count_if(x.begin(), x.end(), wanted); };
    EXPECT_EQ(s.beyond_3, count([&](double v) { return std::abs(v - mean) > 3 * deviation; })) << what;
    EXPECT_EQ(s.beyond_6, count([&](double v) { return std::abs(v - mean) > 6 * deviation; })) << what;
    EXPECT_EQ(s.below_10, count([&](double v) { return std::abs(v) < rms / 10; })) << what;
    EXPECT_EQ(s.below_100, count([&](double v) { return std::abs(v) < rms / 100; })) << what;
  }
}

TEST(Analyze, AgreesWithPlainLoopsOverRandomShapesAndTypes) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal(0, 0.02);
  for (int round = 0; round < 12; ++round) {
    std::vector<TinyTensor> tensors[3];
    std::vector<std::string> names;
    for (int t = 0; t < 4; ++t) {
      Shape shape;
      for (std::uint64_t axis = random() % 4; axis > 0; --axis) shape.push_back(static_cast<std::int64_t>(random() % 40));
      const auto n = static_cast<std::size_t>(elem_count(shape));
      std::vector<double> base(n);
      for (double& v : base) v = normal(random);
      names.push_back("t" + std::to_string(t));
      for (int m = 0; m < 3; ++m) {
        std::vector<double> x = base;
        for (double& v : x) {
          if (m > 0 && random() % 3 > 0) v += normal(random) / 10;
          if (random() % 200 == 0) v = random() % 2 == 0 ? std::nan("") : kInf;
        }
        const DType types[] = {DType::kF32, DType::kBF16, DType::kF16};
        tensors[m].push_back(make_tensor(names.back(), types[(round + m) % 3], shape, x));
      }
    }
    Trio trio(tensors[0], {tensors[1], tensors[2]});
    const Analysis a = trio.run();
    ASSERT_EQ(a.tensors.size(), names.size());
    for (std::size_t t = 0; t < names.size(); ++t) {
      const TensorStats& stats = a.tensors[t];
      const auto base = tensor_values(trio.base, names[t]);
      expect_series(*stats.base, base, names[t]);
      std::vector<std::vector<double>> deltas;
      for (std::size_t m = 0; m < 2; ++m) {
        const auto x = tensor_values(trio.models[m], names[t]);
        expect_series(*stats.models[m], x, names[t]);
        std::vector<double>& d = deltas.emplace_back(x.size());
        double dot = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          d[i] = static_cast<double>(static_cast<float>(x[i]) - static_cast<float>(base[i]));
          if (std::isfinite(d[i])) dot += d[i] * base[i];
        }
        ASSERT_TRUE(stats.deltas[m]);
        expect_series(*stats.deltas[m], d, names[t] + " delta");
        EXPECT_NEAR(stats.deltas[m]->dot_base, dot, 1e-12 * (stats.deltas[m]->l2 + stats.base->l2));
      }
      std::int64_t both = 0, agree = 0, moved = 0, conflicts = 0;
      double dot = 0;
      for (std::size_t i = 0; i < base.size(); ++i) {
        const double x = std::isfinite(deltas[1][i]) ? deltas[1][i] : 0, y = std::isfinite(deltas[0][i]) ? deltas[0][i] : 0;
        both += x != 0 && y != 0;
        agree += x * y > 0;
        moved += x != 0 || y != 0;
        conflicts += x * y < 0;
        dot += x * y;
      }
      const PairStats& pair = *stats.pairs[0];
      EXPECT_EQ(pair.both, both);
      EXPECT_EQ(pair.agree, agree);
      EXPECT_EQ(stats.moved, moved);
      EXPECT_EQ(stats.conflicts, conflicts);
      EXPECT_NEAR(pair.dot, dot, 1e-12 * (stats.deltas[0]->l2 + stats.deltas[1]->l2));
    }
  }
}

TEST(Analyze, RowsThatAreZeroOrUnchanged) {
  const std::vector<double> base = {1, 2, 0, 0, 5, 6}, model = {1, 2, 0, -0.0, 5, 7};
  Trio trio({make_tensor("w", DType::kF32, {3, 2}, base)}, {{make_tensor("w", DType::kBF16, {3, 2}, model)}});
  const Analysis a = trio.run();
  EXPECT_EQ(a.tensors[0].base->rows, 3);
  EXPECT_EQ(a.tensors[0].base->still_rows, 1);
  EXPECT_EQ(a.tensors[0].models[0]->still_rows, 1) << "minus zero is zero";
  EXPECT_EQ(a.tensors[0].deltas[0]->still_rows, 2);
}

TEST(Analyze, RowsLongerThanATile) {
  const std::int64_t row = kStreamTileElems + 5;
  std::vector<double> base(static_cast<std::size_t>(3 * row), 0.0), model;
  base.front() = 1;
  base.back() = 3;
  model = base;
  model[static_cast<std::size_t>(2 * row - 1)] = 2;
  Trio trio({make_tensor("w", DType::kF32, {3, row}, base)}, {{make_tensor("w", DType::kF32, {3, row}, model)}});
  const Analysis a = trio.run();
  EXPECT_EQ(a.tensors[0].base->still_rows, 1);
  EXPECT_EQ(a.tensors[0].models[0]->still_rows, 0);
  EXPECT_EQ(a.tensors[0].deltas[0]->still_rows, 2);
  EXPECT_EQ(a.tensors[0].deltas[0]->l2, 4);
  EXPECT_EQ(a.tensors[0].deltas[0]->zeros, 3 * row - 1);
  EXPECT_EQ(a.tensors[0].base->quantiles[3], 0);
}

TEST(Analyze, QuantilesOfTensorsOfManyTiles) {
  std::mt19937_64 random(4);
  std::vector<double> base(2'500'000), model(base.size());
  for (std::size_t i = 0; i < base.size(); ++i) {
    base[i] = static_cast<double>(static_cast<std::int64_t>(random() >> 40)) * 0x1p-24 - 0.5;
    model[i] = base[i] + static_cast<double>(static_cast<std::int64_t>(random() >> 44)) * 0x1p-30;
  }
  Trio trio({make_tensor("w", DType::kF32, {2500, 1000}, base)}, {{make_tensor("w", DType::kF32, {2500, 1000}, model)}});
  const Analysis one = trio.run(with_threads(1)), many = trio.run(with_threads(5));
  std::vector<float> delta(base.size()), sorted(base.begin(), base.end());
  for (std::size_t i = 0; i < base.size(); ++i) delta[i] = std::abs(static_cast<float>(model[i]) - static_cast<float>(base[i]));
  std::sort(sorted.begin(), sorted.end());
  std::sort(delta.begin(), delta.end());
  const auto at = [](const std::vector<float>& x, double q) {
    return static_cast<double>(x[static_cast<std::size_t>(std::ceil(q * static_cast<double>(x.size()))) - 1]);
  };
  for (std::size_t q = 0; q < kWeightQuantiles.size(); ++q) EXPECT_EQ(one.tensors[0].base->quantiles[q], at(sorted, kWeightQuantiles[q]));
  for (std::size_t q = 0; q < kDeltaQuantiles.size(); ++q) EXPECT_EQ(one.tensors[0].deltas[0]->quantiles[q], at(delta, kDeltaQuantiles[q]));
  EXPECT_EQ(one.tensors[0].deltas[0]->l2, many.tensors[0].deltas[0]->l2);
  EXPECT_EQ(one.tensors[0].base->moments.m4, many.tensors[0].base->moments.m4);
  EXPECT_EQ(one.tensors[0].deltas[0]->held[5].l2, many.tensors[0].deltas[0]->held[5].l2);
}

TEST(Analyze, WhatDoesNotFitIsTold) {
  const auto one = [](const std::string& name, Shape shape) { return random_tensor(name, DType::kF32, std::move(shape), 1); };
  Trio trio({one("a", {2, 3}), one("b", {4}), one("c", {2}), random_tensor("i", DType::kI64, {2}, 1)},
            {{one("a", {3, 2}), one("c", {2}), one("new", {5})}});
  const Analysis a = trio.run();
  ASSERT_EQ(trio.notices.size(), 3U);
  EXPECT_NE(trio.notices[0].find("2 tensors of the base not there: b and i"), std::string::npos) << trio.notices[0];
  EXPECT_NE(trio.notices[1].find("1 tensor not in the base: new"), std::string::npos) << trio.notices[1];
  EXPECT_NE(trio.notices[2].find("a [3, 2] against [2, 3]"), std::string::npos) << trio.notices[2];
  EXPECT_EQ(a.skipped, 1);
  ASSERT_EQ(a.tensors.size(), 4U);
  EXPECT_TRUE(a.tensors[0].base && a.tensors[0].models[0]) << "each is described";
  EXPECT_FALSE(a.tensors[0].deltas[0]);
  EXPECT_TRUE(a.tensors[2].deltas[0]);
  EXPECT_EQ(a.tensors[3].models[0]->moments.n, 5);
  EXPECT_EQ(a.all.deltas[0].tensors, 1);
}

TEST(Analyze, RankOfALowRankChange) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  std::vector<double> base(40 * 60), model, u(40), v(60);
  for (double& x : base) x = normal(random);
  for (double& x : u) x = normal(random);
  for (double& x : v) x = normal(random);
  model = base;
  for (std::size_t i = 0; i < 40; ++i) {
    for (std::size_t j = 0; j < 60; ++j) model[i * 60 + j] += u[i] * v[j];
  }
  Trio trio({make_tensor("w", DType::kF32, {40, 60}, base)}, {{make_tensor("w", DType::kF32, {40, 60}, model)}});
  AnalyzeOptions options = with_threads(2);
  EXPECT_FALSE(trio.run(options).tensors[0].base->rank);
  options.rank = RankWish::kYes;
  const Analysis a = trio.run(options);
  EXPECT_NEAR(a.tensors[0].deltas[0]->rank.value().stable, 1, 1e-4);
  EXPECT_EQ(a.tensors[0].deltas[0]->rank->rank_90, 1);
  EXPECT_GT(a.tensors[0].base->rank.value().effective.value(), 20);
}

const Advice* find_advice(const std::vector<Advice>& all, const std::string& about, int model = -1) {
  const auto it =
      std::find_if(all.begin(), all.end(), [&](const Advice& a) { return a.about == about && (model < 0 || a.model == model); });
  return it == all.end() ? nullptr : &*it;
}

TEST(Advice, QuotesWhatWasMeasured) {
  std::mt19937_64 random(6);
  std::normal_distribution<double> normal(0, 1);
  const std::size_t n = 20'000;
  std::vector<double> base(n), same, small, large;
  for (double& v : base) v = normal(random);
  same = small = large = base;
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 10 == 0) small[i] += normal(random) / 100;  // 90 % unmoved
    large[i] += normal(random) / 10;
  }
  const auto model = [](const std::vector<double>& x) { return std::vector{make_tensor("w", DType::kF32, {200, 100}, x)}; };
  Trio trio(model(base), {model(same), model(small), model(large)});
  const auto advice = advise(trio.run());
  ASSERT_NE(find_advice(advice, "identical", 0), nullptr);
  EXPECT_EQ(find_advice(advice, "density", 0), nullptr) << "nothing to keep";
  const Advice* density = find_advice(advice, "density", 1);
  ASSERT_NE(density, nullptr);
  EXPECT_EQ(density->value, 0.05) << "a tenth moved at all";
  EXPECT_NE(density->text.find("90.0 % of the entries did not move"), std::string::npos) << density->text;
  const Advice* dense = find_advice(advice, "density", 2);
  EXPECT_GT(dense->value.value(), 0.4);
  const Advice* epsilon = find_advice(advice, "epsilon", 1);
  EXPECT_EQ(epsilon->value, 0.025) << "strictly inside of min(density, 1 - density)";
  const Advice* weight = find_advice(advice, "weight", 2);
  ASSERT_NE(weight, nullptr) << "lengths differ by far more than 2";
  EXPECT_NEAR(weight->value.value(), 0.1 / std::sqrt(10), 0.003);
  EXPECT_EQ(find_advice(advice, "weight", 1)->value, 1.0);
  const Advice* signs = find_advice(advice, "signs", 1);
  ASSERT_NE(signs, nullptr);
  EXPECT_NE(signs->text.find("chance"), std::string::npos) << signs->text;
  EXPECT_EQ(find_advice(advice, "base"), nullptr);
}

TEST(Advice, WarnsOfAWrongBaseAndOfNaN) {
  Trio trio({make_tensor("w", DType::kF32, {4}, {1, 1, 1, 1})},
            {{make_tensor("w", DType::kF32, {4}, {-1, 2, -3, std::nan("")})}, {make_tensor("v", DType::kF32, {1}, {1})}});
  const auto advice = advise(trio.run());
  ASSERT_NE(find_advice(advice, "nonfinite"), nullptr);
  EXPECT_EQ(find_advice(advice, "nonfinite")->value, 1);
  ASSERT_NE(find_advice(advice, "base", 0), nullptr);
  ASSERT_NE(find_advice(advice, "base", 1), nullptr);
  EXPECT_NE(find_advice(advice, "base", 1)->text.find("no tensor in common"), std::string::npos);
}

}  // namespace
}  // namespace crucible
