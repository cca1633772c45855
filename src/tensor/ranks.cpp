#include "tensor/ranks.h"

#include <algorithm>
#include <array>

#include "tensor/selection.h"

namespace crucible {
namespace {

constexpr int kDigitBits = 11;  // three digits cover the 31 bits of a magnitude
constexpr std::size_t kDigitValues = std::size_t{1} << kDigitBits;

void sort_short(std::uint64_t* keys, std::int64_t n) noexcept {
  for (std::int64_t i = 1; i < n; ++i) {
    const std::uint64_t key = keys[i];
    std::int64_t k = i;
    for (; k > 0 && keys[k - 1] > key; --k) keys[k] = keys[k - 1];
    keys[k] = key;
  }
}

}  // namespace

void order_by_magnitude(const float* x, std::int64_t n, std::uint32_t* order, std::uint64_t* work) noexcept {
  // Magnitude above, index below: a stable sort of the upper half keeps ties in index order.
  std::uint64_t* from = work;
  std::uint64_t* to = work + n;
  constexpr std::int64_t kShort = 48;
  if (n <= kShort) {
    for (std::int64_t i = 0; i < n; ++i) from[i] = (std::uint64_t{magnitude_bits(x[i])} << 32) | static_cast<std::uint64_t>(i);
    sort_short(from, n);
  } else {
    std::array<std::array<std::uint32_t, kDigitValues>, 3> counts{};
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint32_t m = magnitude_bits(x[i]);
      from[i] = (std::uint64_t{m} << 32) | static_cast<std::uint64_t>(i);
      ++counts[0][m & (kDigitValues - 1)];
      ++counts[1][(m >> kDigitBits) & (kDigitValues - 1)];
      ++counts[2][m >> (2 * kDigitBits)];
    }
    for (int digit = 0; digit < 3; ++digit) {
      auto& count = counts[static_cast<std::size_t>(digit)];
      const int shift = 32 + digit * kDigitBits;
      const auto digit_of = [shift](std::uint64_t key) { return static_cast<std::size_t>((key >> shift) & (kDigitValues - 1)); };
      // Differences of 16-bit numbers have few bits: a digit that is the same everywhere needs no pass.
      if (count[digit_of(from[0])] == static_cast<std::uint32_t>(n)) continue;
      std::uint32_t start = 0;
      for (std::uint32_t& c : count) {
        const std::uint32_t here = c;
        c = start;
        start += here;
      }
      for (std::int64_t i = 0; i < n; ++i) to[count[digit_of(from[i])]++] = from[i];
      std::swap(from, to);
    }
  }
  for (std::int64_t r = 0; r < n; ++r) order[r] = static_cast<std::uint32_t>(from[r]);
}

}  // namespace crucible
