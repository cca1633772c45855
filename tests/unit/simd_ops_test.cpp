// Every loop of simd/ops.h against a plain twin written here from its contract, on every CPU level of this machine: equal bytes.
#include "simd/convert.h"
#include "simd/random.h"
#include "simd/levels.h"
#include "simd/ops.h"
#include "simd/vote.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "support/cpu_levels.h"
#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

std::vector<float> mixed_values(std::int64_t n, Rng& rng) {
  std::vector<float> x = make_values(kAllValues[static_cast<std::size_t>(below(rng, std::ssize(kAllValues)))], n, rng);
  if (below(rng, 4) != 0) return x;
  for (float& v : x) {
    const std::int64_t special = below(rng, 12);
    if (special == 0) v = INFINITY;
    if (special == 1) v = -INFINITY;
    if (special == 2) v = std::bit_cast<float>(0x7F800001u + static_cast<std::uint32_t>(below(rng, 0x7FFFFE)));
    if (special == 3) v = -0.0f;
  }
  return x;
}

// The documented order of sums: element i in lane i % 16, lanes folded in halves.
template <typename Term>
double lanes_sum(std::int64_t n, const Term& term) {
  std::array<double, 16> lane{};
  for (std::int64_t i = 0; i < n; ++i) lane[static_cast<std::size_t>(i % 16)] += term(static_cast<std::size_t>(i));
  std::array<double, 4> four{};
  for (std::size_t k = 0; k < 4; ++k) four[k] = (lane[k] + lane[k + 8]) + (lane[k + 4] + lane[k + 12]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

std::uint64_t bits(double d) { return std::isnan(d) ? 0x7FF8000000000000u : std::bit_cast<std::uint64_t>(d); }
// NaN payloads that arithmetic passes on are not promised; that it is a NaN is.
std::vector<std::uint32_t> result_bits(const std::vector<float>& x) {
  auto b = bits_of(x);
  for (auto& v : b) v = (v & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC00000u : v;
  return b;
}
std::vector<float> blank(std::int64_t n) { return std::vector<float>(static_cast<std::size_t>(n)); }

TEST(Simd, Sums) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const auto x = mixed_values(n, rng), y = mixed_values(n, rng);
    EXPECT_EQ(bits(simd::sum_abs(x.data(), n)), bits(lanes_sum(n, [&](std::size_t i) { return std::abs(d(x[i])); })));
    EXPECT_EQ(bits(simd::sum_squares(x.data(), n)), bits(lanes_sum(n, [&](std::size_t i) { return d(x[i]) * d(x[i]); })));
    EXPECT_EQ(bits(simd::dot(x.data(), y.data(), n)), bits(lanes_sum(n, [&](std::size_t i) { return d(x[i]) * d(y[i]); })));
    EXPECT_EQ(bits(simd::sum_square_difference(x.data(), y.data(), n)),
              bits(lanes_sum(n, [&](std::size_t i) { return (d(x[i]) - d(y[i])) * (d(x[i]) - d(y[i])); })));
    std::int64_t bad = 0;
    for (const float v : x) bad += std::isfinite(v) ? 0 : 1;
    EXPECT_EQ(simd::count_nonfinite(x.data(), n), bad);
  });
}

TEST(Simd, AddSubtractAndScale) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const auto x = mixed_values(n, rng), y = mixed_values(n, rng);
    auto got = blank(n), want = blank(n);
    simd::subtract(x.data(), y.data(), got.data(), n);
    for (std::size_t i = 0; i < x.size(); ++i) want[i] = static_cast<float>(d(x[i]) - d(y[i]));
    EXPECT_EQ(result_bits(got), result_bits(want)) << "one f64 subtraction of two f32 rounds as one in f32 does";
    simd::add(x.data(), y.data(), got.data(), n);
    for (std::size_t i = 0; i < x.size(); ++i) want[i] = static_cast<float>(d(x[i]) + d(y[i]));
    EXPECT_EQ(result_bits(got), result_bits(want));
    const double factor = uniform(rng, -3, 3);
    simd::scale(x.data(), factor, got.data(), n);
    for (std::size_t i = 0; i < x.size(); ++i) want[i] = static_cast<float>(factor * d(x[i]));
    EXPECT_EQ(result_bits(got), result_bits(want));
  });
}

struct Inputs {
  std::vector<float> base;
  std::vector<std::vector<float>> x;
  std::vector<const float*> pointers;
  std::vector<double> scales, weights;
};
Inputs make_inputs(std::int64_t n, Rng& rng) {
  Inputs in;
  in.base = mixed_values(n, rng);
  const std::int64_t models = 1 + below(rng, 5);
  for (std::int64_t m = 0; m < models; ++m) {
    in.x.push_back(mixed_values(n, rng));
    const double weight = static_cast<double>(below(rng, 9) - 4) / 4;  // zero and opposite ones too
    in.weights.push_back(weight);
    // The last: products of it are 0 though their factors are not.
    in.scales.push_back(below(rng, 2) == 0 ? weight : weight * (below(rng, 4) == 0 ? 0x1p-1060 : uniform(rng, 0.5, 2)));
  }
  for (const auto& x : in.x) in.pointers.push_back(x.data());
  return in;
}

TEST(Simd, WeightedSum) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const Inputs in = make_inputs(n, rng);
    const double factor = below(rng, 2) == 0 ? 1 : uniform(rng, -2, 2);
    const double divisor = below(rng, 2) == 0 ? 1 : uniform(rng, 0.5, 2);
    const bool with_base = below(rng, 2) == 0;
    auto got = blank(n), want = blank(n);
    simd::weighted_sum(with_base ? in.base.data() : nullptr, in.pointers, in.scales, factor, divisor, got.data(), n);
    for (std::size_t i = 0; i < want.size(); ++i) {
      double sum = in.scales[0] * d(in.x[0][i]);
      for (std::size_t m = 1; m < in.x.size(); ++m) sum += in.scales[m] * d(in.x[m][i]);
      sum = sum * factor / divisor;
      want[i] = !with_base ? static_cast<float>(sum) : sum == 0 ? in.base[i] : static_cast<float>(d(in.base[i]) + sum);
    }
    EXPECT_EQ(result_bits(got), result_bits(want));
  });
}

TEST(Simd, Elect) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const Inputs in = make_inputs(n, rng);
    const simd::Election election{in.scales, in.weights, below(rng, 2) == 0, below(rng, 2) == 0 ? 1 : uniform(rng, -2, 2)};
    const std::size_t models = in.x.size();
    // Counts are added to what is there.
    std::vector<std::int64_t> votes(models, 5), lost(models, 7), want_votes(models, 5), want_lost(models, 7);
    simd::VoteCounts counts{100, votes, lost};
    std::int64_t conflicts = 100;
    auto got = blank(n), want = blank(n);
    simd::elect(in.base.data(), in.pointers, election, got.data(), n, counts);
    for (std::size_t i = 0; i < want.size(); ++i) {
      double sum = 0, mixed = 0, divisor = 0;
      bool any_lost = false;
      for (std::size_t m = 0; m < models; ++m) sum += in.scales[m] * d(in.x[m][i]);
      for (std::size_t m = 0; m < models; ++m) {
        const double w = in.scales[m] * d(in.x[m][i]);
        const bool wins = sum >= 0 ? w > 0 : w < 0;
        if (w > 0 || w < 0) ++want_votes[m];
        if ((w > 0 || w < 0) && !wins) ++want_lost[m];
        any_lost = any_lost || ((w > 0 || w < 0) && !wins);
        if (!wins) continue;
        mixed += w;
        divisor += in.weights[m];
      }
      conflicts += any_lost ? 1 : 0;
      mixed *= election.normalize && divisor != 0 ? election.factor / divisor : election.factor;
      if (std::isnan(sum)) mixed = sum;
      want[i] = mixed == 0 ? in.base[i] : static_cast<float>(d(in.base[i]) + mixed);
    }
    EXPECT_EQ(result_bits(got), result_bits(want));
    EXPECT_EQ(counts.conflicts, conflicts);
    EXPECT_EQ(votes, want_votes);
    EXPECT_EQ(lost, want_lost);
  });
}

// Votes that cancel, at every position of a vector and past the last one.
TEST(Simd, ElectWhereVotesCancel) {
  at_every_level([](std::int64_t n, Rng&) {
    const std::vector<float> base(static_cast<std::size_t>(n), 0.5f), a(base.size(), 3.0f), b(base.size(), -2.0f);
    const float* x[] = {a.data(), b.data()};
    const double scales[] = {1.0, 1.5}, weights[] = {1.0, 1.0};
    for (const bool zero_is_plus : {true, false}) {
      std::vector<std::int64_t> votes(2), lost(2);
      simd::VoteCounts counts{0, votes, lost};
      auto got = blank(n);
      simd::elect(base.data(), x, {scales, weights, false, 1, zero_is_plus}, got.data(), n, counts);
      EXPECT_EQ(result_bits(got), result_bits(std::vector<float>(base.size(), zero_is_plus ? 3.5f : -2.5f)));
      EXPECT_EQ(lost, (zero_is_plus ? std::vector<std::int64_t>{0, n} : std::vector<std::int64_t>{n, 0}));
      EXPECT_EQ(counts.conflicts, n);
    }
  });
}

// Where nothing moves, the base is kept to the bit: -0 stays -0.
TEST(Simd, ZeroSumsKeepTheSignOfTheBase) {
  at_every_level([](std::int64_t n, Rng&) {
    const std::vector<float> base(static_cast<std::size_t>(n), -0.0f), a(base.size(), 3.0f), b(base.size(), -3.0f), none(base.size(), 0.0f);
    const double ones[] = {1.0, 1.0};
    const float* cancel[] = {a.data(), b.data()};
    const float* empty[] = {none.data(), none.data()};
    auto got = blank(n);
    simd::weighted_sum(base.data(), cancel, ones, 1, 1, got.data(), n);
    for (const float v : got) EXPECT_TRUE(v == 0 && std::signbit(v));
    std::vector<std::int64_t> votes(2), lost(2);
    simd::VoteCounts counts{0, votes, lost};
    got = blank(n);
    simd::elect(base.data(), empty, {ones, ones, true, 1, true}, got.data(), n, counts);
    for (const float v : got) EXPECT_TRUE(v == 0 && std::signbit(v));
  });
}

TEST(Simd, FillDraws) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const RandomKey key{{static_cast<std::uint32_t>(rng()), static_cast<std::uint32_t>(rng())}};
    // Any start, also across the carry from the low to the high word of the block counter.
    const std::uint64_t starts[] = {0, rng() % 1000, (std::uint64_t{1} << 35) - 140 + rng() % 128, rng() >> 2};
    for (const std::uint64_t first : starts) {
      std::vector<std::uint16_t> got(static_cast<std::size_t>(n)), want;
      simd::fill_draws(key, first, got.data(), n);
      for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i)
        want.push_back(static_cast<std::uint16_t>(random_draw(key, first + i) >> 16));
      EXPECT_EQ(got, want) << first;
    }
  });
}

TEST(Simd, Copies) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const auto x = mixed_values(n, rng);
    auto got = blank(n);
    simd::load_f32(x.data(), got.data(), n);
    EXPECT_EQ(bits_of(got), bits_of(x)) << "payloads of NaN too";
  });
}

TEST(SimdLevels, AreNamedAndLimited) {
  const auto all = simd::available_levels();
  EXPECT_FALSE(simd::limit_level("no such level"));
  EXPECT_EQ(simd::level_in_use(), all.front());
  EXPECT_TRUE(simd::limit_level(all.back()));
  EXPECT_EQ(simd::available_levels(), std::vector<std::string>{all.back()});
  EXPECT_TRUE(simd::limit_level(""));
  EXPECT_EQ(simd::available_levels(), all);
}

}  // namespace
}  // namespace crucible::test
