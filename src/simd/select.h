// Loops over magnitudes and over marks: one bit per element, element i in bit i % 64 of word i / 64. A function that writes marks writes
// whole words, with the bits past the end cleared. Compiled per CPU level as simd/ops.h is, with the same promise: every level gives the
// same bits. The magnitude of a float is its bits without the sign.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace crucible::simd {

// kept[i] = x[i] where marked, else 0.
void keep_marked(const float* x, const std::uint64_t* marks, float* kept, std::int64_t n) noexcept;
// The L1 norms of all elements and of the marked ones, summed as in simd/ops.h.
struct MarkedNorms {
  double all = 0;
  double marked = 0;
};
MarkedNorms marked_norms(const float* x, const std::uint64_t* marks, std::int64_t n) noexcept;
// The sum of (x[i] - y[i])^2 over the marked elements, in f64, summed as in simd/ops.h.
double marked_square_difference(const float* x, const float* y, const std::uint64_t* marks, std::int64_t n) noexcept;

std::int64_t count_marks(const std::uint64_t* marks, std::int64_t n) noexcept;

// Marks the draws that are below the threshold (probability * 2^32) by their upper halves, and in `equal` those whose upper half is the
// threshold's. Returns the number of the former.
std::int64_t mark_below(const std::uint16_t* upper, std::uint64_t threshold, std::uint64_t* marks, std::uint64_t* equal,
                        std::int64_t n) noexcept;

// A cut through magnitudes: what is above lies inside, and so do the first `ties` elements of exactly that magnitude. The walk over a
// span takes the ties that it passes from the number, unless that is kAllTies or used up.
inline constexpr std::int64_t kAllTies = std::numeric_limits<std::int64_t>::max();
struct MagnitudeCut {
  std::uint32_t magnitude = 0xFFFFFFFFu;  // nothing reaches this one
  std::int64_t ties = 0;
};
// What lies inside the outer cut and not inside the inner one: kept (else 0), or marked. Returns how many.
std::int64_t keep_band(const float* x, MagnitudeCut& outer, MagnitudeCut& inner, float* kept, std::int64_t n) noexcept;
std::int64_t mark_band(const float* x, MagnitudeCut& outer, MagnitudeCut& inner, std::uint64_t* marks, std::int64_t n) noexcept;

// How many elements have exactly this magnitude.
std::int64_t count_magnitude(const float* x, std::uint32_t magnitude, std::int64_t n) noexcept;
// Writes magnitude >> shift of every element.
void magnitude_digits(const float* x, int shift, std::uint16_t* digits, std::int64_t n) noexcept;
// Writes the magnitudes in [low, high], one after the other, and returns how many there are. `found` has room for n (2^31 at most);
// `above` becomes the number of magnitudes greater than high.
std::int64_t pick_magnitudes(const float* x, std::uint32_t low, std::uint32_t high, std::uint32_t* found, std::int64_t& above,
                             std::int64_t n) noexcept;

// The largest magnitude, and the mean exponent (bits 23 to 30) of the first 2^20 elements, those that are 0 left out.
struct MagnitudeRange {
  std::uint32_t largest = 0;
  std::uint32_t exponent = 0;
};
MagnitudeRange magnitude_range(const float* x, std::int64_t n) noexcept;
// Keys that sort as magnitudes do: 0 for 0, else the bits of |x| + origin >> shift, less those of origin, plus 1. Up to the origin, a
// power of two, keys are equally wide, and beyond it in each octave. Without one (0) they are the bits of |x|: for infinities and NaN.
struct KeyScale {
  float origin = 0;
  int shift = 0;
};
// Writes the keys, which must fit 16 bits. Returns whether any is rounded: a bit was shifted out, or the sum less the origin is
// not |x|.
bool magnitude_keys(const float* x, const KeyScale& scale, std::uint16_t* keys, std::int64_t n) noexcept;
// Marks the elements with a rounded key, and returns how many they are. A key that none of its elements rounds is of one magnitude.
std::int64_t mark_rounded(const float* x, const KeyScale& scale, std::uint64_t* marks, std::int64_t n) noexcept;

// Marks the elements with this key.
void mark_key(const std::uint16_t* keys, std::uint16_t key, std::uint64_t* marks, std::int64_t n) noexcept;

// The largest of n numbers; 0 where there is none.
std::uint32_t largest_count(const std::uint32_t* counts, std::int64_t n) noexcept;

// The thresholds of ranks, near enough, in units of 2 so that they fit 31 bits: first + step * rank in f32, cut to [lowest, highest].
struct RankLine {
  float first = 0;
  float step = 0;
  float lowest = 0;
  float highest = 0;  // below 2^31
};
std::int32_t threshold_of(const RankLine& line, std::uint32_t rank) noexcept;
// A draw in these units, near enough: the middle of those with its upper half. It is off by less than kDrawMargin.
inline constexpr std::int32_t kDrawMargin = 1 << 14;
constexpr std::int32_t middle_draw(std::uint16_t upper) noexcept { return std::int32_t{upper} << 15 | kDrawMargin; }
// Decisions by rank: marks the elements whose draw is below the threshold of their rank, and in `near` those where the two are no further
// apart than `margin` (2^31 - 1 at most). Ranks are below 2^31.
void decide_by_rank(const std::uint32_t* rank, const std::uint16_t* upper, const RankLine& line, std::int32_t margin, std::uint64_t* marks,
                    std::uint64_t* near, std::int64_t n) noexcept;
// How many of the marked elements have a rank of bounds[b] or more, for each bound. Ranks and bounds are at most 2^31 - 1.
void count_marked_from(const std::uint32_t* rank, const std::uint64_t* marks, std::span<const std::uint32_t> bounds, std::int64_t* counts,
                       std::int64_t n) noexcept;

}  // namespace crucible::simd
