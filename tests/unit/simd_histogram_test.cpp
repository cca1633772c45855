// Counts of magnitudes against counts taken one by one, on every CPU level.
#include "simd/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/cpu_levels.h"
#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

constexpr auto kBuckets = static_cast<std::size_t>(simd::kExponentBuckets);

TEST(Histogram, CountsPowersOfTwo) {
  Rng rng(7);
  for (const std::int64_t n : kLengths) {
    std::vector<float> x = make_values(Values::kNormal, n, rng), base = make_values(Values::kNormal, n, rng);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i % 9 == 0) x[i] = base[i];                                           // a zero less the base
      if (i % 7 == 1) x[i] = std::ldexp(x[i], static_cast<int>(i % 140) - 70);  // beyond both ends
      if (i % 31 == 2) x[i] = 0x1p-149f;
      if (i % 37 == 3) x[i] = NAN;
      if (i % 41 == 4) x[i] = -INFINITY;
      if (i % 43 == 5) x[i] = -0.0f;
    }
    for (const float* less : {static_cast<const float*>(nullptr), static_cast<const float*>(base.data())}) {
      for (const int first : {-44, 0}) {
        std::vector<std::uint32_t> expected(kBuckets, 3);
        std::int64_t zeros = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const float y = less == nullptr ? x[i] : x[i] - less[i];
          if (y == 0) {
            ++zeros;
            continue;
          }
          const int last = simd::kExponentBuckets - 1;
          int bucket = last;  // what is not finite
          if (std::isfinite(y)) bucket = std::min(std::max(std::ilogb(y) - first, 0), last);
          ++expected[static_cast<std::size_t>(bucket)];
        }
        at_each_level([&] {
          std::vector<std::uint32_t> counts(kBuckets, 3);
          EXPECT_EQ(simd::count_exponents(less, x.data(), first, counts.data(), n), zeros) << n;
          EXPECT_EQ(counts, expected) << n;
        });
      }
    }
  }
}

}  // namespace
}  // namespace crucible::test
