#include "tensor/selection.h"

#include <algorithm>
#include <limits>

namespace crucible {
namespace {

constexpr std::int64_t kChunk = 4096;  // elements whose digits stay in the first cache level

// The bucket in which the running count, from the top, reaches `take`; `above` becomes the count before it.
std::size_t find_from_top(std::span<const std::uint64_t> counts, std::int64_t take, std::int64_t& above) noexcept {
  above = 0;
  std::size_t last = 0;
  for (std::size_t i = counts.size(); i-- > 0;) {
    const auto here = static_cast<std::int64_t>(counts[i]);
    if (here == 0) continue;
    last = i;
    if (above + here >= take) return i;
    above += here;
  }
  above -= counts.empty() ? 0 : static_cast<std::int64_t>(counts[last]);
  return last;
}

}  // namespace

void count_coarse(const float* x, std::int64_t n, std::uint64_t* counts) noexcept {
  std::uint16_t digits[kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t m = std::min(kChunk, n - at);
    simd::magnitude_digits(x + at, kCoarseShift, digits, m);
    for (std::int64_t i = 0; i < m; ++i) ++counts[digits[i]];
  }
}

void count_fine(const float* x, std::int64_t n, std::uint32_t bucket, std::uint64_t* counts) noexcept {
  std::uint32_t found[kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t m = simd::pick_magnitudes(x + at, kCoarseShift, bucket, found, std::min(kChunk, n - at));
    for (std::int64_t i = 0; i < m; ++i) ++counts[found[i] & (kFineBuckets - 1)];
  }
}

std::uint64_t count_equal(const float* x, std::int64_t n, std::uint32_t magnitude) noexcept {
  return static_cast<std::uint64_t>(simd::count_magnitude(x, magnitude, n));
}

void RankCut::see_coarse(std::span<const std::uint64_t> counts) noexcept {
  bucket_ = static_cast<std::uint32_t>(find_from_top(counts, take_, above_));
}

void RankCut::see_fine(std::span<const std::uint64_t> counts) noexcept {
  if (take_ <= 0) {
    magnitude_ = std::numeric_limits<std::uint32_t>::max();  // nothing reaches it
    return;
  }
  std::int64_t above_inside = 0;
  const std::size_t fine = find_from_top(counts, take_ - above_, above_inside);
  magnitude_ = (bucket_ << kCoarseShift) | static_cast<std::uint32_t>(fine);
  equal_ = counts.empty() ? 0 : static_cast<std::int64_t>(counts[fine]);
  take_equal_ = std::clamp<std::int64_t>(take_ - above_ - above_inside, 0, equal_);
}

void RankCut::see_ties(std::span<const std::uint64_t> per_tile) {
  before_.resize(per_tile.size());
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < per_tile.size(); ++i) {
    before_[i] = sum;
    sum += static_cast<std::int64_t>(per_tile[i]);
  }
}

std::int64_t RankCut::ties_to_take(std::int64_t tile) const noexcept {
  if (before_.empty()) return take_equal_ > 0 ? std::numeric_limits<std::int64_t>::max() : 0;
  return std::max<std::int64_t>(0, take_equal_ - before_[static_cast<std::size_t>(tile)]);
}

RankCuts::RankCuts(const std::vector<std::int64_t>& takes, std::int64_t tiles, Ties ties) : tiles_(tiles), ties_(ties) {
  for (const std::int64_t take : takes) cuts_.emplace_back(take);
}

std::int64_t RankCuts::count_size(int pass) const noexcept {
  const auto cuts = static_cast<std::int64_t>(cuts_.size());
  return pass == 0 ? kCoarseBuckets : pass == 1 ? cuts * kFineBuckets : cuts * tiles_;
}

void RankCuts::reduce(int pass, std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) const noexcept {
  if (pass == 0) return count_coarse(x, n, counts);
  for (const RankCut& cut : cuts_) {
    if (pass == 1) {
      count_fine(x, n, cut.coarse_bucket(), counts);
      counts += kFineBuckets;
    } else {
      counts[tile] += count_equal(x, n, cut.magnitude());
      counts += tiles_;
    }
  }
}

bool RankCuts::seal(int pass, std::span<const std::uint64_t> counts) noexcept {
  bool ties_left = false;
  for (std::size_t i = 0; i < cuts_.size(); ++i) {
    RankCut& cut = cuts_[i];
    if (pass == 0) {
      cut.see_coarse(counts);
    } else if (pass == 1) {
      cut.see_fine(counts.subspan(i * static_cast<std::size_t>(kFineBuckets), static_cast<std::size_t>(kFineBuckets)));
      ties_left = ties_left || cut.needs_ties();
    } else if (cut.needs_ties()) {
      cut.see_ties(counts.subspan(i * static_cast<std::size_t>(tiles_), static_cast<std::size_t>(tiles_)));
    }
  }
  return pass == 0 || (ties_ == Ties::kByIndex && ties_left);
}

std::int64_t RankCuts::kept_bytes() const noexcept {
  return ties_ == Ties::kByIndex ? static_cast<std::int64_t>(cuts_.size()) * 8 * tiles_ : 0;
}

}  // namespace crucible
