// What is measured of one job while its tiles are in cache: exact counts by the kernel, and by the runner a sketch of a fixed sample of
// the elements (norms, inner products, histograms). All of it is additive over tiles. Tables have cache lines of their own, since each
// thread adds to its own at every tile.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/aligned.h"

namespace crucible {

inline constexpr int kDeciles = 10;

// The sample of a tensor: of every segment of its tiles one block, at a place that depends on the element's number only.
inline constexpr std::int64_t kSampleSegment = 8192;
inline constexpr std::int64_t kSampleWhole = std::int64_t{1} << 16;  // a tensor of at most this many elements is taken whole
inline constexpr std::int64_t kSampleBlock = 256;
// Of each block the first elements are computed once more, one by one.
inline constexpr std::int64_t kSpotElems = 64;

// Of the rows of a larger tensor, one in so many is counted by tenth of its ranks.
inline constexpr std::int64_t kRowsToCounted = 8;
constexpr bool is_counted_by_tenth(std::int64_t begin, std::int64_t row, std::int64_t tensor_elems) noexcept {
  return tensor_elems <= kSampleWhole || begin / row % kRowsToCounted == 0;
}

// Calls visit(offset in the tile, elements) for what lies in the tile [begin, begin + count) of the blocks of the sample, one block of each
// segment of the tensor. A small tensor is taken whole.
template <typename Visit>
void for_each_sample(std::int64_t begin, std::int64_t count, std::int64_t tensor_elems, const Visit& visit) {
  if (tensor_elems <= kSampleWhole) return visit(std::int64_t{0}, count);
  for (std::int64_t at = begin / kSampleSegment * kSampleSegment; at < begin + count; at += kSampleSegment) {
    const std::int64_t n = std::min(kSampleSegment, tensor_elems - at);
    std::int64_t place = 0;
    if (n > kSampleBlock) {
      // A cheap mixing of the segment's place: a fixed stride would fall in step with the rows of some tensors.
      auto h = static_cast<std::uint64_t>(at) * 0x9E3779B97F4A7C15u;
      h ^= h >> 29;
      place = static_cast<std::int64_t>(h % (static_cast<std::uint64_t>((n - kSampleBlock) / 16 + 1))) * 16;
    }
    const std::int64_t from = std::max(begin, at + place);
    const std::int64_t to = std::min({begin + count, at + place + kSampleBlock, at + n});
    if (from < to) visit(from - begin, to - from);
  }
}

inline bool has_sample(std::int64_t begin, std::int64_t count, std::int64_t tensor_elems) {
  bool any = false;
  for_each_sample(begin, count, tensor_elems, [&any](std::int64_t, std::int64_t) { any = true; });
  return any;
}

// How many values of a sample have their magnitude in [2^e, 2^(e+1)), e from kFirstExponent on; the ends take what lies beyond.
struct Histogram {
  static constexpr int kFirstExponent = -44;
  static constexpr int kBuckets = 64;
  std::array<std::uint32_t, kBuckets> counts{};
  std::uint64_t zeros = 0;
  void add(const Histogram& other) noexcept;
  std::uint64_t total() const noexcept;
};

// Norms and inner products of a job's vectors over the sample. y_i is x_i - base, or x_i where there is no base; the last y is that of the
// output. f64 sums of f32 values, before the output is rounded to its type.
struct Sketch {
  std::int64_t elems = 0;
  AlignedVector<double> gram;  // <y_i, y_j>, lower triangle by rows; the output is the last row
  double base_square = 0;
  double out_square = 0;
  double base_out = 0;
  AlignedVector<double> input_square, input_out;  // of x_i itself, and with the output
  AlignedVector<Histogram> histograms;            // of every y
  void add(const Sketch& other);
  bool empty() const noexcept { return elems == 0; }
};

// What was measured for one input model of a job. A kernel reports each element once, in reduce or in map.
struct ModelMeasure {
  std::int64_t elems = 0;  // elements that a sparsifier looked at
  std::int64_t kept = 0;   // of those, kept
  // By magnitude rank inside the ranking scope, smallest first: of all scopes, or of the rows that is_counted_by_tenth chooses.
  std::array<std::int64_t, kDeciles> decile_elems{};
  std::array<std::int64_t, kDeciles> decile_kept{};
  std::int64_t votes = 0;       // non-zero weighted entries that took part in a sign election
  std::int64_t votes_lost = 0;  // of those, on the losing side
  // Norms of the task vector over the sample: as it is, where it survives, as the survivors
  // were left, and with the scale that the method put on them.
  double l1_before = 0, l1_survivors = 0, l1_kept = 0, l1_after = 0;
  double l2_before = 0, l2_after = 0;  // squares
  // The L1 norm of the whole task vector, before sparsifying and after rescaling, where the method takes it anyway; else 0.
  double whole_l1_before = 0, whole_l1_after = 0;
  void add(const ModelMeasure& other);
};

// Elements of the sample that were computed a second time from the formula, in plain f64, with the parameters as the plan has them.
struct SpotCheck {
  std::int64_t seen = 0;
  std::int64_t wrong = 0;
  AlignedVector<std::int64_t> explained;  // of the wrong ones, what each of the kernel's alternatives would give
  void add(const SpotCheck& other);
};

struct Measure {
  AlignedVector<ModelMeasure> models;
  std::int64_t elems = 0;
  std::int64_t sign_conflicts = 0;  // elements where models disagreed about the sign
  std::int64_t nonfinite = 0;       // output elements that are not finite
  std::int64_t saturated = 0;       // output elements of the largest finite magnitude of their type
  SpotCheck spot;
  Sketch sketch;
  void add(const Measure& other);
};

}  // namespace crucible
