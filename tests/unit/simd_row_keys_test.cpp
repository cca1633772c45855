// Every loop of simd/row_keys.h against a plain twin, on every CPU level of this machine: equal bytes.
#include "simd/row_keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <vector>

#include "simd/select.h"
#include "support/cpu_levels.h"
#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

using Words = std::vector<std::uint64_t>;

std::vector<float> finite_values(std::int64_t n, Rng& rng) {
  return make_values(kAllValues[static_cast<std::size_t>(below(rng, std::ssize(kAllValues)))], n, rng);
}
void set_bit(Words& words, std::int64_t i) { words[static_cast<std::size_t>(i / 64)] |= std::uint64_t{1} << (i % 64); }
std::uint32_t magnitude(float x) { return std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu; }

TEST(SimdRowKeys, MeanIsThatOfWhatIsNotZero) {
  at_every_level([](std::int64_t n, Rng& rng) {
    std::vector<float> x = finite_values(n, rng);
    for (float& v : x) v = below(rng, 3) == 0 ? -0.0f : v;
    double sum = 0, number = 0;
    for (const float v : x) {
      sum += std::abs(static_cast<double>(v));
      number += v != 0 ? 1 : 0;
    }
    const double want = number == 0 ? 0 : sum / number;
    EXPECT_NEAR(static_cast<double>(simd::mean_magnitude(x.data(), n)), want, 1e-4 * want);
    if (n == 0) return;
    x[static_cast<std::size_t>(below(rng, n))] = below(rng, 2) == 0 ? NAN : -INFINITY;
    EXPECT_FALSE(std::isfinite(simd::mean_magnitude(x.data(), n)));
  });
}

TEST(SimdRowKeys, KeysRiseWithMagnitudes) {
  at_every_level([](std::int64_t n, Rng& rng) {
    const std::vector<float> x = finite_values(n, rng);
    const auto factor = static_cast<float>(std::exp2(uniform(rng, -8, 12)));
    std::vector<std::uint8_t> keys(x.size());
    simd::row_keys(x.data(), factor, keys.data(), n);
    std::vector<std::uint32_t> counts(simd::kRowKeys), want(simd::kRowKeys);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float scaled = std::abs(x[i]) * factor;
      ASSERT_EQ(keys[i], static_cast<int>(std::min(scaled, 127.0f))) << x[i];
      ++want[keys[i]];
    }
    simd::count_row_keys(keys.data(), n, counts.data());
    EXPECT_EQ(counts, want);
  });
}

TEST(SimdRowKeys, DecisionsFollowTheLimitsOfTheKey) {
  at_every_level([](std::int64_t n, Rng& rng) {
    simd::KeyLimits limits;
    for (std::size_t key = 0; key < simd::kRowKeys; ++key) {
      limits.drawn[key] = static_cast<std::uint8_t>(below(rng, 256));
      limits.missed[key] = static_cast<std::uint8_t>(limits.drawn[key] + below(rng, 256 - limits.drawn[key]));
    }
    std::vector<std::uint8_t> keys(static_cast<std::size_t>(n));
    std::vector<std::uint16_t> upper(keys.size());
    Words marks = words_for(n), open = words_for(n), want_marks(marks.size()), want_open(marks.size());
    for (std::int64_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      keys[k] = static_cast<std::uint8_t>(below(rng, simd::kRowKeys));
      const std::int64_t kind = below(rng, 6);  // often next to a limit
      const int draw = kind < 3 ? limits.drawn[keys[k]] + static_cast<int>(kind) - 1 : limits.missed[keys[k]] + static_cast<int>(kind) - 4;
      upper[k] = static_cast<std::uint16_t>(std::clamp(draw, 0, 255) << 8 | static_cast<int>(below(rng, 256)));
      const int byte = upper[k] >> 8;
      if (byte < limits.drawn[keys[k]]) {
        set_bit(want_marks, i);
      } else if (byte <= limits.missed[keys[k]]) {
        set_bit(want_open, i);
      }
    }
    simd::decide_by_key(keys.data(), upper.data(), limits, marks.data(), open.data(), n);
    EXPECT_EQ(marks, want_marks);
    EXPECT_EQ(open, want_open);
  });
}

TEST(SimdRowKeys, CountedRanksAreThoseOfAStableSort) {
  at_every_level([](std::int64_t n, Rng& rng) {
    if (n == 0) return;
    const std::vector<float> x = finite_values(n, rng);
    std::set<std::uint32_t> chosen;
    const auto number = 1 + below(rng, static_cast<std::int64_t>(simd::kRanksAtOnce));
    // Often next to each other, in one vector.
    const std::int64_t first = below(rng, n);
    for (std::int64_t k = 0; k < number; ++k) {
      chosen.insert(static_cast<std::uint32_t>(below(rng, 2) == 0 ? below(rng, n) : std::min(first + k, n - 1)));
    }
    const std::vector<std::uint32_t> elems(chosen.begin(), chosen.end());
    std::vector<std::uint32_t> ranks(elems.size()), want;
    for (const std::uint32_t i : elems) {
      std::uint32_t before = 0;
      for (std::size_t j = 0; j < x.size(); ++j) {
        before += magnitude(x[j]) < magnitude(x[i]) || (magnitude(x[j]) == magnitude(x[i]) && j < i) ? 1u : 0u;
      }
      want.push_back(before);
    }
    simd::ranks_by_counting(x.data(), elems, ranks.data(), n);
    EXPECT_EQ(ranks, want);
  });
}

void check_half(std::int64_t n, Rng& rng) {
  std::vector<std::uint16_t> halves(static_cast<std::size_t>(n));
  for (auto& h : halves) h = static_cast<std::uint16_t>(below(rng, 2) == 0 ? 0x8000 - 2 + below(rng, 4) : below(rng, 0x10000));
  const auto half = n > 0 && below(rng, 4) != 0 ? halves[static_cast<std::size_t>(below(rng, n))] : std::uint16_t{0x8000};
  Words rounded = words_for(n), marks = words_for(n), want_marks(marks.size());
  for (auto& w : rounded) w = rng();
  std::vector<std::uint32_t> before(marks.size() + 1, 77u), want_before(1, 0u);
  std::uint32_t smaller = 0, whole = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    smaller += halves[static_cast<std::size_t>(i)] < half ? 1u : 0u;
    if (halves[static_cast<std::size_t>(i)] == half) {
      set_bit(want_marks, i);
      whole += (rounded[static_cast<std::size_t>(i / 64)] >> (i % 64) & 1) == 0 ? 1u : 0u;
    }
    if (i % 64 == 63 || i + 1 == n) want_before.push_back(whole);
  }
  EXPECT_EQ(simd::mark_half(halves.data(), half, rounded.data(), marks.data(), before.data(), n), smaller);
  EXPECT_EQ(marks, want_marks);
  EXPECT_EQ(before, want_before);
}

TEST(SimdRowKeys, HalvesAreMarkedAndCounted) { at_every_level(check_half); }

// More than a lane of 16 bits can count.
TEST(SimdRowKeys, HalvesOfLongRows) {
  Rng rng(3);
  for (const std::int64_t n : {std::int64_t{1} << 15, (std::int64_t{1} << 21) + 70}) check_half(n, rng);
}

}  // namespace
}  // namespace crucible::test
