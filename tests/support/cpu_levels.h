// Tests of element loops at every CPU level of this machine.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "simd/levels.h"
#include "support/kernel_driver.h"

namespace crucible::test {

// Lengths around vectors, around words of marks and around blocks.
inline constexpr std::int64_t kLengths[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 200, 255, 256, 257, 1000, 5000};

// Words for the marks of n elements, full of what a loop must overwrite.
inline std::vector<std::uint64_t> words_for(std::int64_t n) {
  return std::vector<std::uint64_t>(static_cast<std::size_t>((n + 63) / 64), 0x5A5Au);
}

// Calls test() at each level, until one fails.
template <typename Test>
void at_each_level(const Test& test) {
  const auto levels = simd::available_levels();
  ASSERT_FALSE(levels.empty());
  for (const std::string& level : levels) {
    ASSERT_TRUE(simd::limit_level(level));
    EXPECT_EQ(simd::level_in_use(), level);
    SCOPED_TRACE(level);
    test();
    if (testing::Test::HasFailure()) break;
  }
  simd::limit_level("");
}

// Calls test(length, random numbers) for each length, at each level.
template <typename Test>
void at_every_level(const Test& test) {
  at_each_level([&] {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      for (const std::int64_t n : kLengths) {
        SCOPED_TRACE("n " + std::to_string(n) + " seed " + std::to_string(seed));
        Rng rng(seed);
        test(n, rng);
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

}  // namespace crucible::test
