// The distribution of the numbers of a tensor, gathered tile by tile: moments, and a histogram of float bits from which quantiles are
// exact and shares of L1 and L2 nearly so.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace crucible {

// Count, mean and central moments, added by the formulas of Chan et al. (1979) and Pebay (2008): no cancellation however far the mean
// lies from zero.
struct Moments {
  std::int64_t n = 0;
  double mean = 0;
  double m2 = 0, m3 = 0, m4 = 0;  // sums of (x - mean)^k

  void add(const Moments& other) noexcept;
  double deviation() const noexcept;        // of the population
  double skewness() const noexcept;         // 0 where all are equal
  double excess_kurtosis() const noexcept;  // 0 for a normal distribution, and where all are equal
};
// Of finite numbers.
Moments moments_of(const float* x, std::int64_t n) noexcept;

// What is sorted: numbers, or their magnitudes.
enum class SortBy { kValue, kMagnitude };

// A float as an integer that sorts as `by` does. Both zeros are one key.
inline std::uint32_t sort_key(float x, SortBy by) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (by == SortBy::kMagnitude) return bits << 1;
  if (bits << 1 == 0) return 0x80000000u;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
inline float key_value(std::uint32_t key, SortBy by) noexcept {
  if (by == SortBy::kMagnitude) return std::bit_cast<float>(key >> 1);
  return std::bit_cast<float>(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

inline constexpr std::int64_t kKeyBuckets = 1 << 16;  // by the upper half of the key

// Adds a tile of at most 2^23 finite numbers to kKeyBuckets packed counters: the count in the upper bits, the sum of the lower halves of
// the keys below. Inside a bucket a number is linear in its key, so the sum of a bucket's numbers is exact.
inline constexpr int kCountShift = 40;
void count_keys(const float* x, std::int64_t n, SortBy by, std::uint64_t* packed) noexcept;

class Distribution {
 public:
  Distribution(SortBy by, std::span<const double> quantiles) : by_(by), quantiles_(quantiles.begin(), quantiles.end()) {}

  // Adds the packed counters of a tile.
  void add_coarse(const std::uint64_t* packed);
  // All tiles were added. Is a second pass wanted, for quantiles whose bucket holds more than one number?
  bool seal_coarse();
  // The second pass: slots() * kKeyBuckets counters of a tile.
  std::size_t slots() const noexcept { return wanted_.size(); }
  void count_fine(const float* x, std::int64_t n, std::uint32_t* counts) const noexcept;
  void add_fine(const std::uint32_t* counts);
  void seal_fine();

  std::int64_t count() const noexcept { return total_; }
  // quantile_values()[i] is the element of rank ceil(q n) (at least the first) in ascending order: the inverse of the empirical
  // distribution function. Exact once sealed. Empty without elements.
  const std::vector<double>& quantile_values() const noexcept { return values_; }

  // For SortBy::kMagnitude: what the largest round(density * n) magnitudes hold of the sums of |x| and of x^2, as those sums. A bucket
  // is 0.4 % wide: the sums of |x| are exact up to the bucket at the cut, those of x^2 to about 1e-5.
  struct Held {
    double l1 = 0, l2 = 0;
  };
  std::vector<Held> held_by_largest(std::span<const double> densities) const;

  // The histogram is no longer needed.
  void forget() {
    coarse_ = {};
    low_sums_ = {};
    fine_ = {};
  }

 private:
  struct Target {
    std::uint32_t bucket = 0;
    std::int64_t rank_inside = 0;  // 0-based
    int slot = -1;                 // -1: the bucket holds one number,
    std::uint32_t low = 0;         // with this lower half
  };

  SortBy by_;
  std::vector<double> quantiles_;
  std::vector<std::uint64_t> coarse_, low_sums_;
  std::int64_t total_ = 0;
  std::vector<Target> targets_;
  std::vector<std::uint32_t> wanted_;  // buckets of the second pass
  std::vector<std::uint8_t> slot_of_;  // by bucket; kNoSlot
  std::vector<std::uint64_t> fine_;
  std::vector<double> values_;
};

}  // namespace crucible
