// Every loop of simd/select.h against a plain twin, on every CPU level of this machine: equal bytes.
#include "simd/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "simd/ops.h"
#include "support/cpu_levels.h"
#include "support/kernel_driver.h"
#include "support/slow_twins.h"

namespace crucible::test {
namespace {

using Floats = std::vector<float>;
using Words = std::vector<std::uint64_t>;

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
bool marked(const Words& words, std::size_t i) { return (words[i / 64] >> (i % 64) & 1) != 0; }
Words as_words(const std::vector<bool>& flags) {
  Words words((flags.size() + 63) / 64);
  for (std::size_t i = 0; i < flags.size(); ++i) words[i / 64] |= std::uint64_t{flags[i]} << (i % 64);
  return words;
}
std::int64_t count_true(const std::vector<bool>& flags) { return std::count(flags.begin(), flags.end(), true); }

TEST(SimdSelect, MarkedElementsAreTaken) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const Floats x = some_values(n, rng);
    Words marks = words_for(n);
    for (auto& w : marks) w = rng();
    Floats kept(x.size()), want_kept(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) want_kept[i] = marked(marks, i) ? x[i] : 0.0f;
    simd::keep_marked(x.data(), marks.data(), kept.data(), n);
    EXPECT_EQ(bits_of(kept), bits_of(want_kept));
  });
}

TEST(SimdSelect, MarkBelow) {
  at_every_level([](std::int64_t n, Rng& rng) {
    std::vector<std::uint16_t> upper(static_cast<std::size_t>(n));
    for (auto& u : upper) u = static_cast<std::uint16_t>(std::array<std::uint64_t, 6>{0, 1, 0x7FFF, 0x8000, 0xFFFF, rng()}[rng() % 6]);
    for (const std::uint64_t threshold : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x1FFFF}, std::uint64_t{0x80000000},
                                          std::uint64_t{0xFFFFFFFF}, std::uint64_t{1} << 32}) {
      std::vector<bool> below, equal;
      for (const std::uint16_t u : upper) below.push_back(u < threshold >> 16), equal.push_back(u == threshold >> 16);
      Words got = words_for(n), got_equal = words_for(n);
      EXPECT_EQ(simd::mark_below(upper.data(), threshold, got.data(), got_equal.data(), n), count_true(below)) << threshold;
      EXPECT_EQ(got, as_words(below)) << threshold;
      EXPECT_EQ(got_equal, as_words(equal)) << threshold;
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

TEST(SimdSelect, NormsOfMarked) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const Floats x = some_values(n, rng);
    std::vector<bool> marked;
    double all[16] = {}, kept[16] = {};
    for (std::size_t i = 0; i < x.size(); ++i) {
      marked.push_back(below(rng, 3) != 0);
      all[i % 16] += std::abs(static_cast<double>(x[i]));
      kept[i % 16] += marked[i] ? std::abs(static_cast<double>(x[i])) : 0.0;
    }
    const auto fold = [](const double* lane) {
      double four[4];
      for (int k = 0; k < 4; ++k) four[k] = (lane[k] + lane[k + 8]) + (lane[k + 4] + lane[k + 12]);
      return (four[0] + four[2]) + (four[1] + four[3]);
    };
    const simd::MarkedNorms got = simd::marked_norms(x.data(), as_words(marked).data(), n);
    const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    EXPECT_TRUE(same(got.all, fold(all))) << got.all;
    EXPECT_TRUE(same(got.marked, fold(kept))) << got.marked;
    // Squares of differences: as the plain sum with y in place of what is not marked.
    const Floats y = make_values(Values::kNormal, n, rng);
    Floats copy = y;
    for (std::size_t i = 0; i < copy.size(); ++i) copy[i] = marked[i] ? x[i] : y[i];
    EXPECT_TRUE(same(simd::marked_square_difference(x.data(), y.data(), as_words(marked).data(), n),
                     simd::sum_square_difference(copy.data(), y.data(), n)));
  });
}

TEST(SimdSelect, RangesAndKeys) {
  at_every_level([](std::int64_t n, Rng& rng) {
    Floats x = some_values(n, rng);
    if (below(rng, 5) == 0) std::fill(x.begin(), x.end(), -0.0f);
    std::uint32_t largest = 0;
    std::uint64_t exponents = 0, nonzero = 0;
    for (const float v : x) {
      const std::uint32_t m = magnitude_bits(v);
      largest = std::max(largest, m);
      exponents += m >> 23;
      nonzero += m != 0 ? 1 : 0;
    }
    const simd::MagnitudeRange range = simd::magnitude_range(x.data(), n);
    EXPECT_EQ(range.largest, largest);
    EXPECT_EQ(range.exponent, exponents / std::max<std::uint64_t>(nonzero, 1));
    // Any power of two serves as the origin, but not beside what is not finite.
    const bool finite = largest < 0x7F800000u;
    simd::KeyScale scale;
    if (finite && below(rng, 4) != 0) scale.origin = std::bit_cast<float>(static_cast<std::uint32_t>(1 + below(rng, 250)) << 23);
    const auto sum_of = [&scale](std::uint32_t m) {
      return scale.origin == 0 ? m : std::bit_cast<std::uint32_t>(std::bit_cast<float>(m) + scale.origin);
    };
    const std::uint32_t origin = std::bit_cast<std::uint32_t>(scale.origin);
    while ((sum_of(largest) >> scale.shift) - (origin >> scale.shift) > 0xFFF0u) ++scale.shift;
    std::vector<bool> rounded;
    std::vector<std::uint16_t> want, got(x.size());
    for (const float v : x) {
      const std::uint32_t m = magnitude_bits(v), sum = sum_of(m);
      want.push_back(static_cast<std::uint16_t>(m == 0 ? 0 : (sum >> scale.shift) - (origin >> scale.shift) + 1));
      const bool got_back = scale.origin == 0 || std::bit_cast<float>(sum) - scale.origin == std::bit_cast<float>(m);
      rounded.push_back(!got_back || (sum >> scale.shift << scale.shift) != sum);
    }
    EXPECT_EQ(simd::magnitude_keys(x.data(), scale, got.data(), n), count_true(rounded) > 0);
    EXPECT_EQ(got, want);
    Words marks = words_for(n);
    EXPECT_EQ(simd::mark_rounded(x.data(), scale, marks.data(), n), count_true(rounded));
    EXPECT_EQ(marks, as_words(rounded));
    // Keys keep the order of magnitudes, and one that nobody rounds is of one magnitude.
    std::map<std::uint16_t, std::set<std::uint32_t>> magnitudes;
    std::set<std::uint16_t> shared;
    for (std::size_t i = 0; i < x.size(); ++i) {
      magnitudes[got[i]].insert(magnitude_bits(x[i]));
      if (rounded[i]) shared.insert(got[i]);
    }
    std::uint32_t last = 0;
    for (const auto& [key, of_key] : magnitudes) {
      EXPECT_GE(*of_key.begin(), last);
      EXPECT_TRUE(of_key.size() == 1 || shared.contains(key));
      last = *of_key.rbegin();
    }
    if (x.empty()) return;
    const std::uint16_t key = got[static_cast<std::size_t>(below(rng, n))];
    std::vector<bool> equal;
    for (const std::uint16_t k : got) equal.push_back(k == key);
    simd::mark_key(got.data(), key, marks.data(), n);
    EXPECT_EQ(marks, as_words(equal));
  });
}

TEST(SimdSelect, DecisionsByRank) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const auto some = [&rng] { return static_cast<float>(uniform(rng, -0x1p30, 0x1p32)); };
    simd::RankLine line{some(), below(rng, 3) == 0 ? 0.0f : some() / static_cast<float>(n + 1), 0, 0};
    line.lowest = std::clamp(some(), 0.0f, 0x1.fffffep+30f);
    line.highest = std::clamp(some(), line.lowest, 0x1.fffffep+30f);
    std::vector<std::uint32_t> ranks;
    std::vector<std::uint16_t> upper;
    std::vector<std::int64_t> thresholds;
    for (std::int64_t i = 0; i < n; ++i) {
      ranks.push_back(static_cast<std::uint32_t>(below(rng, n)));
      const float on_line = line.first + line.step * static_cast<float>(ranks.back());
      thresholds.push_back(static_cast<std::int64_t>(std::clamp(on_line, line.lowest, line.highest)));
      EXPECT_EQ(simd::threshold_of(line, ranks.back()), thresholds.back());
      const auto near = static_cast<std::uint16_t>((thresholds.back() >> 15) + below(rng, 3) - 1);
      upper.push_back(below(rng, 2) == 0 ? near : static_cast<std::uint16_t>(rng()));
    }
    for (const std::int32_t margin : {0, 1, 5000, 16384, 20000, 0x40000000, 0x7FFFFFFF}) {
      std::vector<bool> drawn, near;
      for (std::size_t i = 0; i < ranks.size(); ++i) {
        const std::int64_t middle = upper[i] * 32768 + 16384;
        drawn.push_back(middle < thresholds[i]);
        near.push_back(std::abs(middle - thresholds[i]) <= margin);
      }
      Words marks = words_for(n), near_marks = words_for(n);
      simd::decide_by_rank(ranks.data(), upper.data(), line, margin, marks.data(), near_marks.data(), n);
      EXPECT_EQ(marks, as_words(drawn));
      EXPECT_EQ(near_marks, as_words(near)) << margin;
    }
  });
}

TEST(SimdSelect, LargestCount) {
  at_every_level([](std::int64_t n, Rng& rng) {
    std::vector<std::uint32_t> counts;
    for (std::int64_t i = 0; i < n; ++i) counts.push_back(static_cast<std::uint32_t>(rng()));
    EXPECT_EQ(simd::largest_count(counts.data(), n), counts.empty() ? 0u : *std::max_element(counts.begin(), counts.end()));
  });
}

TEST(SimdSelect, MarkedFromARankOn) {
  at_every_level([](std::int64_t n, Rng& rng) {
    std::vector<std::uint32_t> ranks, bounds;
    std::vector<bool> marked;
    const std::int64_t limit = below(rng, 2) == 0 ? 40 : 0x7FFFFFFF;
    for (std::int64_t i = 0; i < n; ++i) {
      ranks.push_back(static_cast<std::uint32_t>(below(rng, limit + 1)));
      marked.push_back(below(rng, 8) != 0);
    }
    for (std::int64_t b = below(rng, 21); b > 0; --b) bounds.push_back(static_cast<std::uint32_t>(below(rng, limit + 1)));
    std::vector<std::int64_t> got(bounds.size()), want(bounds.size());
    for (std::size_t b = 0; b < bounds.size(); ++b) {
      for (std::size_t i = 0; i < ranks.size(); ++i) want[b] += marked[i] && ranks[i] >= bounds[b] ? 1 : 0;
    }
    simd::count_marked_from(ranks.data(), as_words(marked).data(), bounds, got.data(), n);
    EXPECT_EQ(got, want);
  });
}

}  // namespace
}  // namespace crucible::test
