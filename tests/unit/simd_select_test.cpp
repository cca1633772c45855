// Every loop of simd/select.h against a plain twin, on every CPU level of this machine: equal bytes.
#include "simd/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "simd/ops.h"
#include "support/kernel_driver.h"
#include "support/slow_twins.h"

namespace crucible::test {
namespace {

using Floats = std::vector<float>;
using Words = std::vector<std::uint64_t>;

// Lengths around vectors and around words of marks.
constexpr std::int64_t kLengths[] = {0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 200, 1000, 5000};

template <typename Test>
void at_every_level(const Test& test) {
  for (const std::string& level : simd::available_levels()) {
    ASSERT_TRUE(simd::limit_level(level));
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      for (const std::int64_t n : kLengths) {
        SCOPED_TRACE(level + " n " + std::to_string(n) + " seed " + std::to_string(seed));
        Rng rng(seed);
        test(n, rng);
        if (testing::Test::HasFailure()) {
          simd::limit_level("");
          return;
        }
      }
    }
  }
  simd::limit_level("");
}

Floats some_values(std::int64_t n, Rng& rng) {
  Floats x = make_values(kAllValues[static_cast<std::size_t>(below(rng, std::ssize(kAllValues)))], n, rng);
  if (below(rng, 3) != 0) return x;
  for (float& v : x) {
    const std::int64_t special = below(rng, 9);
    if (special == 0) v = INFINITY;
    if (special == 1) v = -std::bit_cast<float>(0x7F800001u + static_cast<std::uint32_t>(below(rng, 0x7FFFFE)));
    if (special == 2) v = -0.0f;
  }
  return x;
}
Words words_for(std::int64_t n) { return Words(static_cast<std::size_t>((n + 63) / 64), 0x5A5Au); }
bool marked(const Words& words, std::size_t i) { return (words[i / 64] >> (i % 64) & 1) != 0; }
Words as_words(const std::vector<bool>& flags) {
  Words words((flags.size() + 63) / 64);
  for (std::size_t i = 0; i < flags.size(); ++i) words[i / 64] |= std::uint64_t{flags[i]} << (i % 64);
  return words;
}
std::int64_t count_true(const std::vector<bool>& flags) { return std::count(flags.begin(), flags.end(), true); }

TEST(SimdSelect, MarkedElementsAreTaken) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const Floats x = some_values(n, rng), y = some_values(n, rng);
    Words marks = words_for(n);
    for (auto& w : marks) w = rng();
    Floats got(x.size()), kept(x.size()), want_kept(x.size()), want(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      want[i] = marked(marks, i) ? x[i] : y[i];
      want_kept[i] = marked(marks, i) ? x[i] : 0.0f;
    }
    simd::take_marked(x.data(), y.data(), marks.data(), got.data(), n);
    simd::keep_marked(x.data(), marks.data(), kept.data(), n);
    EXPECT_EQ(bits_of(got), bits_of(want));
    EXPECT_EQ(bits_of(kept), bits_of(want_kept));
  });
}

TEST(SimdSelect, MarkBelow) {
  at_every_level([](std::int64_t n, Rng& rng) {
    std::vector<std::uint32_t> random(static_cast<std::size_t>(n));
    for (auto& r : random) r = below(rng, 4) == 0 ? (below(rng, 2) == 0 ? 0u : 0xFFFFFFFFu) : static_cast<std::uint32_t>(rng());
    for (const std::uint64_t threshold :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x80000000}, std::uint64_t{0xFFFFFFFF}, std::uint64_t{1} << 32}) {
      std::vector<bool> want;
      for (const std::uint32_t r : random) want.push_back(r < threshold);
      Words got = words_for(n);
      EXPECT_EQ(simd::mark_below(random.data(), threshold, got.data(), n), count_true(want)) << threshold;
      EXPECT_EQ(got, as_words(want)) << threshold;
    }
  });
}

// A cut at a magnitude of the data or none, with few, many, all or no ties to take.
simd::MagnitudeCut some_cut(const Floats& x, Rng& rng) {
  if (x.empty() || below(rng, 6) == 0) return {};
  const std::uint32_t magnitude = magnitude_bits(x[static_cast<std::size_t>(below(rng, std::ssize(x)))]);
  const std::int64_t ties[] = {0, 1, below(rng, 70), below(rng, std::ssize(x) + 1), std::numeric_limits<std::int64_t>::max(), -3};
  return {magnitude, ties[below(rng, std::ssize(ties))]};
}

TEST(SimdSelect, Bands) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const Floats x = some_values(n, rng);
    for (int round = 0; round < 4; ++round) {
      const simd::MagnitudeCut outer = some_cut(x, rng), inner = some_cut(x, rng);
      CutWalk outer_walk(outer), inner_walk(inner);
      std::vector<bool> want;
      Floats want_kept;
      for (const float v : x) {
        const bool skipped = inner_walk.inside(magnitude_bits(v));
        want.push_back(outer_walk.inside(magnitude_bits(v)) && !skipped);
        want_kept.push_back(want.back() ? v : 0.0f);
      }
      Words marks = words_for(n);
      Floats kept(x.size());
      simd::MagnitudeCut o = outer, i = inner;
      EXPECT_EQ(simd::mark_band(x.data(), o, i, marks.data(), n), count_true(want));
      EXPECT_EQ(marks, as_words(want));
      o = outer, i = inner;
      // In two parts: the ties of the first are taken from those of the second.
      const std::int64_t first = n / 128 * 64;
      const std::int64_t count = simd::keep_band(x.data(), o, i, kept.data(), first);
      EXPECT_EQ(count + simd::keep_band(x.data() + first, o, i, kept.data() + first, n - first), count_true(want));
      EXPECT_EQ(bits_of(kept), bits_of(want_kept));
    }
  });
}

TEST(SimdSelect, CountsAndPicks) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const Floats x = some_values(n, rng);
    const std::uint32_t wanted = x.empty() ? 5u : magnitude_bits(x[static_cast<std::size_t>(below(rng, n))]);
    const int shift = static_cast<int>(below(rng, 3)) * 8 + 7;
    std::int64_t equal = 0;
    std::vector<std::uint32_t> same_digit, between, digits;
    const std::uint32_t low = wanted / 2, high = std::min(wanted + wanted / 2, 0x7FFFFFFFu);
    std::int64_t greater = 0, of_digit = 0;
    for (const float v : x) {
      const std::uint32_t m = magnitude_bits(v);
      equal += m == wanted ? 1 : 0;
      digits.push_back(m >> shift & 0xFFFFu);
      if (m >> shift == wanted >> shift) same_digit.push_back(m);
      if (m >= low && m <= high) between.push_back(m);
      greater += m > high ? 1 : 0;
    }
    EXPECT_EQ(simd::count_magnitude(x.data(), wanted, n), equal);
    EXPECT_EQ(simd::count_magnitude(x.data(), 0xFFFFFFFFu, n), 0);
    std::vector<std::uint16_t> got_digits(x.size());
    simd::magnitude_digits(x.data(), shift, got_digits.data(), n);
    EXPECT_EQ(std::vector<std::uint32_t>(got_digits.begin(), got_digits.end()), digits);
    std::vector<std::uint32_t> found(static_cast<std::size_t>(n));
    const std::uint32_t first = wanted >> shift << shift;
    found.resize(static_cast<std::size_t>(simd::pick_magnitudes(x.data(), first, first | ((1u << shift) - 1), found.data(), of_digit, n)));
    EXPECT_EQ(found, same_digit);
    std::int64_t above = -1;
    found.resize(static_cast<std::size_t>(n));
    found.resize(static_cast<std::size_t>(simd::pick_magnitudes(x.data(), low, high, found.data(), above, n)));
    EXPECT_EQ(found, between);
    EXPECT_EQ(above, greater);
  });
}

TEST(SimdSelect, RangesAndKeys) {
  at_every_level([](std::int64_t n, Rng& rng) {
    Floats x = some_values(n, rng);
    if (below(rng, 5) == 0) std::fill(x.begin(), x.end(), -0.0f);
    std::uint32_t smallest = 0xFFFFFFFFu, largest = 0;
    for (const float v : x) {
      const std::uint32_t m = magnitude_bits(v);
      largest = std::max(largest, m);
      if (m != 0) smallest = std::min(smallest, m);
    }
    const simd::MagnitudeRange range = simd::magnitude_range(x.data(), n);
    EXPECT_EQ(range.smallest, smallest);
    EXPECT_EQ(range.largest, largest);
    if (largest == 0) return;
    const int shift = std::max(static_cast<int>(below(rng, 25)), static_cast<int>(std::bit_width(largest - smallest)) - 15);
    std::vector<bool> rounded;
    std::vector<std::uint16_t> want, got(x.size());
    for (const float v : x) {
      const std::uint32_t m = magnitude_bits(v);
      want.push_back(static_cast<std::uint16_t>(m == 0 ? 0 : (m >> shift) - (smallest >> shift) + 1));
      rounded.push_back((m >> shift << shift) != m);
    }
    EXPECT_EQ(simd::magnitude_keys(x.data(), shift, smallest >> shift, got.data(), n), count_true(rounded) > 0);
    EXPECT_EQ(got, want);
    Words marks = words_for(n);
    EXPECT_EQ(simd::mark_rounded(x.data(), shift, marks.data(), n), count_true(rounded));
    EXPECT_EQ(marks, as_words(rounded));
  });
}

TEST(SimdSelect, DecisionsByRank) {
  at_every_level([](std::int64_t n, Rng& rng) {
    std::vector<std::uint32_t> limits, ranks, random;
    for (std::int64_t i = 0; i < n; ++i) limits.push_back(below(rng, 5) == 0 ? 0xFFFFFFFFu : static_cast<std::uint32_t>(rng()));
    for (std::int64_t i = 0; i < n; ++i) {
      ranks.push_back(static_cast<std::uint32_t>(below(rng, n)));
      const std::uint32_t near = limits[ranks.back()] + static_cast<std::uint32_t>(below(rng, 5)) - 2;
      random.push_back(below(rng, 2) == 0 ? near : static_cast<std::uint32_t>(rng()));
    }
    EXPECT_EQ(simd::largest_count(limits.data(), n), limits.empty() ? 0u : *std::max_element(limits.begin(), limits.end()));
    const auto certain_from = static_cast<std::uint32_t>(below(rng, n + 1));
    for (const std::uint32_t margin : {0u, 1u, 5000u, 0x40000000u, 0x7FFFFFFFu, 0x80000000u}) {
      std::vector<bool> drawn, near;
      std::vector<std::uint32_t> tagged, got;
      for (std::size_t i = 0; i < ranks.size(); ++i) {
        const std::uint32_t limit = limits[ranks[i]];
        got.push_back(limit);
        drawn.push_back(random[i] < limit || ranks[i] >= certain_from);
        tagged.push_back(static_cast<std::uint32_t>(i) | (drawn.back() ? simd::kDrawnFlag : 0u));
        // The distance on the circle of 2^32 numbers.
        near.push_back(std::min(random[i] - limit, limit - random[i]) <= margin);
      }
      Words marks = words_for(n), near_marks = words_for(n);
      simd::decide_by_rank(ranks.data(), random.data(), {certain_from, margin}, got.data(), marks.data(), near_marks.data(), n);
      EXPECT_EQ(got, tagged);
      EXPECT_EQ(marks, as_words(drawn));
      EXPECT_EQ(near_marks, as_words(near)) << margin;
      EXPECT_EQ(simd::count_drawn(got.data(), n), count_true(drawn));
    }
  });
}

}  // namespace
}  // namespace crucible::test
