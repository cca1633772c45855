// The loops of simd/blend.h and simd/softmax.h: against plain twins and the standard library, on every CPU level: equal bits.
#include "simd/blend.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "simd/softmax.h"
#include "simd/vote.h"
#include "support/cpu_levels.h"
#include "support/kernel_driver.h"
#include "support/slow_twins.h"
#include "tensor/selection.h"

namespace crucible::test {
namespace {

using Floats = std::vector<float>;

double ulps(double got, double expected) {
  const double unit = std::abs(std::nextafter(expected, INFINITY) - expected);
  return std::abs(got - expected) / unit;
}

TEST(Softmax, ExpIsRightToTwoUnits) {
  Rng rng(1);
  Floats x;
  for (int i = 0; i < 20000; ++i) x.push_back(static_cast<float>(-std::pow(10.0, uniform(rng, -9, 2.85))));
  for (const float special : {0.0f, -0.0f, -0x1p-149f, -0.34657359f, -0.34657360f, -707.9f}) x.push_back(special);
  const auto n = std::ssize(x);
  std::vector<double> first;
  at_each_level([&] {
    std::vector<double> out(x.size());
    const double sum = simd::exp_and_sum(x.data(), 0, out.data(), n);
    double worst = 0, expected_sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      worst = std::max(worst, x[i] > -708 ? ulps(out[i], std::exp(d(x[i]))) : 0);
      expected_sum += out[i];
    }
    EXPECT_LE(worst, 2);
    EXPECT_NEAR(sum, expected_sum, 1e-9 * sum);
    if (first.empty()) first = out;
    EXPECT_EQ(out, first);
  });
}

TEST(Softmax, ExpOfWhatIsNotANumberOrFarBelow) {
  const Floats x = {NAN, -INFINITY, -1e30f, -708.5f, 0};
  at_each_level([&] {
    double out[5];
    const double sum = simd::exp_and_sum(x.data(), 0, out, 5);
    EXPECT_TRUE(std::isnan(out[0]));
    EXPECT_TRUE(std::isnan(sum));
    for (int i = 1; i < 4; ++i) EXPECT_NEAR(out[i], 0, 1e-300) << i;
    EXPECT_EQ(out[4], 1);
  });
}

// The definition, by the share of the way.
float near_swap_twin(float base, float x, double t) {
  const double distance = std::abs(d(x) - d(base));
  const double w = std::min(t / std::max(distance, 1e-6), 1.0);
  return w == 0 ? base : static_cast<float>(w * d(x) + (1 - w) * d(base));
}

TEST(SimdBlend, NearSwap) {
  Rng rng(3);
  const Floats base = make_values(Values::kNormal, 5000, rng);
  Floats x = make_values(Values::kNormal, 5000, rng);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::int64_t kind = below(rng, 12);
    if (kind < 6) x[i] = base[i] + static_cast<float>(uniform(rng, -1, 1)) * (kind < 3 ? 0.01f : 1e-7f);
    if (kind == 6) x[i] = base[i];
    if (kind == 7) x[i] = INFINITY;
    if (kind == 9) x[i] = -INFINITY;
    if (kind == 8) x[i] = -0.0f;
  }
  for (const double t : {0.0, 1e-9, 9.9e-7, 1e-6, 0.002, 0.7, 1e30}) {
    for (const std::int64_t n : kLengths) {
      Floats first;
      at_each_level([&] {
        Floats out(static_cast<std::size_t>(n));
        simd::near_swap(base.data(), x.data(), t, out.data(), n);
        for (std::size_t i = 0; i < out.size(); ++i) {
          // Where terms cancel, the definition's own rounding counts from the larger one.
          const double larger = std::isinf(x[i]) ? 0 : std::max(std::abs(d(x[i])), std::abs(d(base[i])));
          const double want = d(near_swap_twin(base[i], x[i], t));
          ASSERT_NEAR(d(out[i]), want, 0x1p-23 * std::abs(want) + 0x1p-50 * larger) << "t " << t << " element " << i;
        }
        if (first.empty()) first = out;
        EXPECT_EQ(bits_of(out), bits_of(first)) << t;
      });
    }
  }
  for (const double t : {1e-9, 0.002}) {
    at_each_level([&] {
      const Floats from(16, 1.0f), nan(16, NAN);
      Floats out(16);
      simd::near_swap(from.data(), nan.data(), t, out.data(), 16);
      for (const float v : out) EXPECT_TRUE(std::isnan(v));
      simd::near_swap(nan.data(), from.data(), t, out.data(), 16);
      for (const float v : out) EXPECT_TRUE(std::isnan(v));
    });
  }
}

// One term: e and f are the probabilities themselves.
double term(double p, double q) { return simd::divergence(&p, 1, &q, 1, 0, 1); }

TEST(Softmax, LogIsRightToTwoUnits) {
  Rng rng(2);
  at_each_level([&] {
    double worst = 0;
    for (int i = 0; i < 40000; ++i) {
      // Ratios near 1 and far from it. With q = 1 the ratio less 1 is exact where p is not tiny.
      const double p =
          i % 2 == 0 ? 1 + std::ldexp(uniform(rng, -0.99, 1), -static_cast<int>(below(rng, 40))) : std::pow(10.0, uniform(rng, -8, 8));
      const auto wide = static_cast<long double>(p);
      const long double product = wide * std::log(wide), difference = wide - 1;
      const long double error = std::abs(static_cast<long double>(term(p, 1)) - (product - difference));
      // What the log may be off by, its product's rounding, and that of the subtraction.
      const long double unit = std::abs(product) + std::max(std::abs(difference), std::abs(product - difference)) / 2;
      if (unit > 0) worst = std::max(worst, static_cast<double>(error / unit / 0x1p-52L));
    }
    EXPECT_LE(worst, 2);
    EXPECT_GT(worst, 0.1) << "no library is that exact: this measures nothing";
    EXPECT_EQ(term(0.25, 0.25), 0);
    EXPECT_TRUE(std::isnan(term(NAN, 0.5)));
    EXPECT_TRUE(std::isnan(term(0.5, NAN)));
  });
}

TEST(Softmax, SmallDivergencesKeepTheirDigits) {
  // p = q (1 + u): q ((1 + u) ln(1 + u) - u), about q u^2 / 2. The product p ln(p / q) alone is off by a part in 1e16 / u.
  for (const int exponent : {-5, -10, -15, -20}) {
    const double u = std::ldexp(1.0, exponent), q = 0.25;
    const long double l = u;
    const long double expected =
        0.25L * (l * l / 2 - l * l * l / 6 + l * l * l * l / 12 - l * l * l * l * l / 20 + l * l * l * l * l * l / 30);
    EXPECT_NEAR(term(q * (1 + u), q) / static_cast<double>(expected), 1, 1e-15 / u + 3 * std::pow(u, 5)) << exponent;
  }
}

TEST(Softmax, SameBitsOnEveryLevelAtEveryLength) {
  for (const std::int64_t n : {0, 1, 2, 3, 15, 16, 17, 255, 256, 257, 1000}) {
    Rng rng(static_cast<std::uint64_t>(n));
    const Floats x = make_values(Values::kNormal, n, rng), y = make_values(Values::kBFloat, n, rng);
    std::vector<std::uint64_t> first;
    at_each_level([&] {
      std::vector<double> e(x.size()), f(x.size());
      const float top = simd::largest(x.data(), n);
      EXPECT_EQ(top, n == 0 ? -INFINITY : *std::max_element(x.begin(), x.end()));
      const double es = simd::exp_and_sum(x.data(), d(top), e.data(), n);
      const double fs = simd::exp_and_sum(y.data(), d(simd::largest(y.data(), n)), f.data(), n);
      const double kl = simd::divergence(e.data(), es, f.data(), fs, 1e-8, n);
      std::vector<std::uint64_t> bits = {std::bit_cast<std::uint64_t>(es), std::bit_cast<std::uint64_t>(fs),
                                         std::bit_cast<std::uint64_t>(kl)};
      for (const double v : e) bits.push_back(std::bit_cast<std::uint64_t>(v));
      if (first.empty()) first = bits;
      EXPECT_EQ(bits, first) << n;
    });
  }
}

long double divergence_of(const Floats& x, const Floats& y, double floor) {
  const auto softmax = [floor](const Floats& v) {
    const auto top = static_cast<long double>(*std::max_element(v.begin(), v.end()));
    std::vector<long double> p;
    long double sum = 0;
    for (const float e : v) sum += p.emplace_back(std::exp(static_cast<long double>(e) - top));
    for (long double& e : p) e = e / sum + static_cast<long double>(floor);
    return p;
  };
  const std::vector<long double> p = softmax(x), q = softmax(y);
  long double sum = 0;
  // p ln(p / q) - (p - q), in a form that keeps the digits of small differences.
  for (std::size_t i = 0; i < p.size(); ++i) {
    const long double u = (p[i] - q[i]) / q[i];
    sum += std::abs(u) > 1e-2L
               ? p[i] * std::log1p(u) - (p[i] - q[i])
               : q[i] * u * u * (1 / 2.0L + u * (-1 / 6.0L + u * (1 / 12.0L + u * (-1 / 20.0L + u * (1 / 30.0L - u / 42.0L)))));
  }
  return sum;
}

TEST(Softmax, DivergenceOfNearRowsIsTheDivergence) {
  constexpr double kFloor = 1e-8;
  Rng rng(5);
  double worst = 0;
  int valid = 0, all = 0;
  for (const std::int64_t n : {2, 3, 15, 16, 17, 64, 255, 256, 257, 1000, 1536, 4096, 20000}) {
    for (const double size : {0.0, 0.02, 0.3, 1.5}) {
      for (const double step : {1e-7, 1e-5, 1e-3, 0.05}) {
        for (const double shift : {0.0, 0.3 * step, -2 * step}) {
          Floats x, y;
          float furthest = 0;
          for (std::int64_t i = 0; i < n; ++i) {
            // In a few blocks of larger numbers.
            const double at = (i % 600 == 7 ? 8 : 1) * size * uniform(rng, -2, 2);
            y.push_back(static_cast<float>(at));
            x.push_back(static_cast<float>(at + shift + step * uniform(rng, -2, 2)));
            furthest = std::max(furthest, std::abs(x.back() - y.back()));
          }
          const simd::NearDivergence near = simd::near_divergence(x.data(), y.data(), kFloor, n);
          ++all;
          if (!near.valid) continue;
          ++valid;
          EXPECT_EQ(near.distance, furthest);
          const auto expected = static_cast<double>(divergence_of(x, y, kFloor));
          worst = std::max(worst, std::abs(near.divergence - expected) / expected);
          at_each_level([&] {
            const simd::NearDivergence here = simd::near_divergence(x.data(), y.data(), kFloor, n);
            EXPECT_EQ(std::bit_cast<std::uint64_t>(here.divergence), std::bit_cast<std::uint64_t>(near.divergence));
            EXPECT_TRUE(here.valid);
          });
        }
      }
    }
  }
  EXPECT_LE(worst, 0x1p-20);
  EXPECT_GT(valid, all / 2);
}

TEST(Softmax, RowsThatAreNotNearAreLeftToTheSlowWay) {
  constexpr double kFloor = 1e-8;
  Rng rng(6);
  Floats y(3000), x(3000);
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = static_cast<float>(uniform(rng, -1, 1));
    x[i] = y[i] + static_cast<float>(uniform(rng, -0.01, 0.01));
  }
  const auto valid = [&](const Floats& one, const Floats& other, double floor) {
    return simd::near_divergence(one.data(), other.data(), floor, std::ssize(one)).valid;
  };
  const auto with = [](Floats v, std::size_t i, float value) {
    v[i] = value;
    return v;
  };
  at_each_level([&] {
    EXPECT_TRUE(valid(x, y, kFloor));
    EXPECT_TRUE(valid(y, y, kFloor)) << "the divergence of equal rows is 0";
    EXPECT_EQ(simd::near_divergence(y.data(), y.data(), kFloor, std::ssize(y)).divergence, 0);
    EXPECT_FALSE(valid(with(x, 2999, NAN), y, kFloor));
    EXPECT_FALSE(valid(x, with(y, 7, NAN), kFloor));
    EXPECT_FALSE(valid(with(x, 7, INFINITY), with(y, 7, INFINITY), kFloor));
    EXPECT_FALSE(valid(with(x, 100, y[100] + 0.3f), y, kFloor)) << "a large difference";
    EXPECT_FALSE(valid(with(x, 5, 17.0f), with(y, 5, 17.0f), 0)) << "a large weight";
    EXPECT_FALSE(valid(with(x, 5, -17.0f), with(y, 5, -17.0f), 0));
    EXPECT_FALSE(valid(x, y, 1e-4)) << "a floor that is not far below 1 / 3000";
    Floats shifted = y;
    for (float& v : shifted) v += 0.125f;
    EXPECT_FALSE(valid(shifted, y, kFloor)) << "no difference but a constant";
    EXPECT_FALSE(valid({0.1f}, {0.0f}, kFloor));
  });
}

TEST(Softmax, LargestPassesOverNan) {
  at_each_level([] {
    Floats x(40, -3.0f);
    x[3] = NAN, x[22] = 5, x[39] = NAN;
    EXPECT_EQ(simd::largest(x.data(), 40), 5);
    EXPECT_EQ(simd::largest(x.data(), 20), -3);
  });
}

TEST(Blend, SpreadIsTheScaledDeviation) {
  Rng rng(3);
  at_each_level([&] {
    for (const std::size_t models : {1u, 2u, 3u, 7u}) {
      for (const std::int64_t n : {1, 5, 255, 256, 300}) {
        std::vector<Floats> x;
        for (std::size_t m = 0; m < models; ++m) x.push_back(make_values(m % 2 == 0 ? Values::kNormal : Values::kFew, n, rng));
        std::vector<const float*> pointers;
        for (const auto& v : x) pointers.push_back(v.data());
        Floats out(static_cast<std::size_t>(n));
        simd::spread(pointers, out.data(), n);
        for (std::size_t i = 0; i < out.size(); ++i) {
          long double mean = 0, square = 0;
          for (const auto& v : x) mean += static_cast<long double>(v[i]) / static_cast<long double>(models);
          for (const auto& v : x) square += (static_cast<long double>(v[i]) - mean) * (static_cast<long double>(v[i]) - mean);
          const double expected = static_cast<double>(std::sqrt(square * static_cast<long double>(models)));
          EXPECT_NEAR(d(out[i]), expected, 1e-7 * expected) << models << ' ' << i;
        }
        for (auto& v : x) v = x[0];
        std::vector<const float*> same;
        for (const auto& v : x) same.push_back(v.data());
        simd::spread(same, out.data(), n);
        EXPECT_EQ(out, Floats(out.size(), 0.0f));
      }
    }
  });
}

TEST(Blend, SpreadOfWhatIsNotFiniteIsNone) {
  constexpr float kLargest = 0x1.fffffep+127f;
  const Floats x = {INFINITY, INFINITY, 1, kLargest, NAN, 0x1p-149f}, y = {INFINITY, 1, -INFINITY, -kLargest, 1, 0};
  const float* both[2] = {x.data(), y.data()};
  at_each_level([&] {
    Floats out(6);
    simd::spread(both, out.data(), 6);
    for (const std::size_t i : {0u, 1u, 2u, 4u}) EXPECT_TRUE(std::isnan(out[i])) << i;
    EXPECT_EQ(out[3], INFINITY);
    EXPECT_EQ(out[5], 0x1p-149f);
  });
}

TEST(Blend, CountActive) {
  Rng rng(4);
  at_each_level([&] {
    for (const std::int64_t n : {1, 17, 256, 600}) {
      const Floats base = make_values(Values::kFew, n, rng);
      const std::vector<Floats> x = {make_values(Values::kFew, n, rng), make_values(Values::kFew, n, rng), base};
      const float* pointers[3] = {x[0].data(), x[1].data(), x[2].data()};
      std::uint64_t unique[3] = {1000, 0, 0}, shared[3] = {0, 0, 0}, expected[2][3] = {{1000, 0, 0}, {0, 0, 0}};
      simd::count_active(base.data(), pointers, 0.2, unique, shared, n);
      for (std::size_t i = 0; i < base.size(); ++i) {
        std::vector<std::size_t> active;
        for (std::size_t m = 0; m < 3; ++m) {
          if (std::abs(d(x[m][i]) - d(base[i])) > 0.2) active.push_back(m);
        }
        for (const std::size_t m : active) ++expected[active.size() > 1 ? 1 : 0][m];
      }
      for (std::size_t m = 0; m < 3; ++m) {
        EXPECT_EQ(unique[m], expected[0][m]) << m;
        EXPECT_EQ(shared[m], expected[1][m]) << m;
      }
    }
  });
}

TEST(Blend, MajorityVotesPassANanOn) {
  const Floats base(20, 1.0f);
  Floats x(20, 2.0f), y(20, 0.5f);
  x[18] = NAN;
  const float* both[2] = {x.data(), y.data()};
  const double weights[2] = {0.75, 0.25};
  at_each_level([&] {
    Floats out(20);
    std::vector<std::int64_t> votes(2), lost(2);
    simd::VoteCounts counts{0, votes, lost};
    simd::merge_majority(base.data(), both, nullptr, weights, 1e-6, out.data(), 20, counts);
    for (std::size_t i = 0; i < 20; ++i) EXPECT_TRUE(i == 18 ? std::isnan(out[i]) : out[i] == 2) << i;
    EXPECT_EQ(counts.conflicts, 19);
    EXPECT_EQ(votes[0], 19);
    EXPECT_EQ(lost[1], 19);
  });
}

TEST(Blend, MajorityVotesOverMarkedElementsOnly) {
  // As if the models were the base elsewhere.
  Rng rng(7);
  at_each_level([&] {
    for (const std::int64_t n : {1, 7, 63, 64, 65, 300, 777}) {
      for (const std::size_t models : {1u, 2u, 3u, 5u}) {
        const auto size = static_cast<std::size_t>(n);
        const Floats base = make_values(Values::kFew, n, rng);
        std::vector<std::uint64_t> marks((size + 63) / 64);
        for (auto& word : marks) word = rng();
        std::vector<Floats> x(models), copy(models);
        std::vector<const float*> from, from_copy;
        std::vector<double> weights;
        for (std::size_t m = 0; m < models; ++m) {
          x[m] = make_values(Values::kFew, n, rng);
          for (std::size_t i = 0; i < size; ++i) copy[m].push_back((marks[i / 64] >> (i % 64) & 1) != 0 ? x[m][i] : base[i]);
          from.push_back(x[m].data());
          from_copy.push_back(copy[m].data());
          weights.push_back(uniform(rng, 0.1, 1));
        }
        const auto merged = [&](const std::vector<const float*>& models_of, const std::uint64_t* words) {
          std::vector<std::int64_t> votes(models), lost(models);
          simd::VoteCounts counts{0, votes, lost};
          Floats out(size);
          simd::merge_majority(base.data(), models_of, words, weights, 1e-6, out.data(), n, counts);
          return std::tuple(bits_of(out), counts.conflicts, votes, lost);
        };
        EXPECT_EQ(merged(from, marks.data()), merged(from_copy, nullptr)) << n << ' ' << models;
      }
    }
  });
}

TEST(Blend, LargestDistance) {
  Floats x(50, 1.0f), y(50, 1.0f);
  x[33] = -4;
  x[7] = NAN;
  at_each_level([&] { EXPECT_EQ(simd::largest_distance(x.data(), y.data(), 50), 5); });
}

// Every limit that lies on a score, and just beside one, where f32 and f64 round the limit in both directions.
TEST(Blend, WhatIsFarIsTaken) {
  Rng rng(11);
  for (const double factor : {3.7, 1e-40, 1e35}) {
    for (const std::int64_t n : {1, 15, 256, 300}) {
      Floats x = make_values(Values::kNormal, n, rng), y = make_values(Values::kNormal, n, rng), scores(x.size());
      x[x.size() / 2] = n > 1 ? NAN : x[0];
      simd::scaled_distance(x.data(), y.data(), factor, scores.data(), n);
      for (const float at : {scores[0], scores[scores.size() - 1]}) {
        for (const double limit : {d(at), d(at) * (1 - 1e-12), d(at) * (1 + 1e-12), 0.0, -1.0, HUGE_VAL}) {
          Floats expected;
          std::int64_t taken = 0;
          for (std::size_t i = 0; i < x.size(); ++i) {
            const bool far = !(d(scores[i]) < limit);
            expected.push_back(far ? x[i] : y[i]);
            taken += far ? 1 : 0;
          }
          at_each_level([&] {
            Floats out(x.size());
            EXPECT_EQ(simd::take_far(x.data(), y.data(), factor, limit, out.data(), n), taken) << factor << ' ' << n << ' ' << limit;
            EXPECT_EQ(bits_of(out), bits_of(expected));
          });
        }
      }
    }
  }
}

// Several cuts at once against a sort.
TEST(RankCuts, FindTheirMagnitudesTogether) {
  Rng rng(5);
  for (int round = 0; round < 20; ++round) {
    const std::int64_t n = 1 + below(rng, 900), tile = 100, tiles = (n + tile - 1) / tile;
    const Floats x = make_values(kAllValues[static_cast<std::size_t>(below(rng, std::ssize(kAllValues)))], n, rng);
    const std::vector<std::int64_t> takes = {1 + below(rng, n), n, 1 + below(rng, n)};
    RankCuts cuts(RankCuts::Spec{.takes = takes, .elems = n, .tiles = tiles});
    for (bool more = true; more;) {
      std::vector<std::uint64_t> counts(static_cast<std::size_t>(cuts.count_size()));
      for (std::int64_t t = 0; t < tiles; ++t) cuts.reduce(t, x.data() + t * tile, std::min(tile, n - t * tile), counts.data());
      more = cuts.seal(counts);
    }
    std::vector<std::uint32_t> sorted;
    for (const float v : x) sorted.push_back(magnitude_bits(v));
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t c = 0; c < takes.size(); ++c) {
      EXPECT_EQ(cuts[c].magnitude(), sorted[static_cast<std::size_t>(takes[c] - 1)]);
      std::int64_t inside = 0;
      for (std::int64_t t = 0; t < tiles; ++t) {
        CutWalk walk(cuts[c], t);
        for (std::int64_t i = t * tile; i < std::min(n, (t + 1) * tile); ++i)
          inside += walk.inside(magnitude_bits(x[static_cast<std::size_t>(i)])) ? 1 : 0;
      }
      EXPECT_EQ(inside, takes[c]);
    }
  }
}

}  // namespace
}  // namespace crucible::test
