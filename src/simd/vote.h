// Votes over the sign of a merged element: the election of TIES, and the vote of SCE.
#pragma once

#include <cstdint>
#include <span>

namespace crucible::simd {

// What a vote counted.
struct VoteCounts {
  std::int64_t conflicts = 0;          // elements with a losing vote, so with votes on both sides
  std::span<std::int64_t> votes;       // per model: non-zero values
  std::span<std::int64_t> votes_lost;  // per model: of those, on the losing side
};

// The sign election of TIES.
struct Election {
  std::span<const double> scales;   // W_i = scales[i] * x[i]; the vote and the value
  std::span<const double> weights;  // what a vote counts for in the divisor
  bool normalize = false;           // divide by the sum of the weights of the winners (0 -> 1)
  double factor = 1;                // lambda
  bool zero_is_plus = true;         // which side wins where the votes cancel
};
// s = sum_i W_i; the winning side is + when s > 0, or s = 0 and zero_is_plus; out = base + (sum of W_i on the winning side) * (factor [/
// sum of their weights]). NaN where s is NaN. n elements, all in f64, rounded once.
void elect(const float* base, std::span<const float* const> x, const Election& election, float* out, std::int64_t n,
           VoteCounts& counts) noexcept;

// s = sum_i (x_i - base) where marked (one bit an element, as in simd/select.h; null: everywhere), else 0; the winning side is + when s >=
// 0; out = base + (sum of weights[i] * (x_i - base) of the winners) * (1 / max(sum of their weights, floor)). NaN where s is NaN. In f64,
// as above.
void merge_majority(const float* base, std::span<const float* const> x, const std::uint64_t* marks, std::span<const double> weights,
                    double floor, float* out, std::int64_t n, VoteCounts& counts) noexcept;

}  // namespace crucible::simd
