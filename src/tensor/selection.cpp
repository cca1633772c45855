#include "tensor/selection.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace crucible {
namespace {

constexpr std::int64_t kChunk = 4096;  // elements whose digits stay in the first cache level

// The values of one tile inside a coarse bucket: in each slot a fine digit + 1 and how often it was seen, or 0.
constexpr std::int64_t kValueSlots = 8;
constexpr int kCountBits = 40;
constexpr std::uint64_t kTooMany = ~std::uint64_t{0};  // in the first slot
// With more tiles the values would need more counters than a pass has.
constexpr std::int64_t kMostTiles = kFineBuckets / kValueSlots;

void note_value(std::uint64_t* slots, std::uint32_t digit) noexcept {
  const std::uint64_t value = std::uint64_t{digit} + 1;
  for (std::int64_t k = 0; k < kValueSlots; ++k) {
    if (slots[k] == 0) slots[k] = value << kCountBits;
    if (slots[k] >> kCountBits != value) continue;
    ++slots[k];
    return;
  }
  slots[0] = kTooMany;
}

// How often a tile has the digit; empty where that was not noted.
std::optional<std::uint64_t> noted_count(std::span<const std::uint64_t> slots, std::uint32_t digit) noexcept {
  if (slots[0] == kTooMany) return std::nullopt;
  for (const std::uint64_t slot : slots) {
    if (slot >> kCountBits == std::uint64_t{digit} + 1) return slot & ((std::uint64_t{1} << kCountBits) - 1);
  }
  return 0;
}

// Calls see(fine digit) for each element of a coarse bucket.
template <typename See>
void for_each_fine(const float* x, std::int64_t n, std::uint32_t bucket, const See& see) noexcept {
  std::uint32_t found[kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t m = simd::pick_magnitudes(x + at, kCoarseShift, bucket, found, std::min(kChunk, n - at));
    for (std::int64_t i = 0; i < m; ++i) see(found[i] & static_cast<std::uint32_t>(kFineBuckets - 1));
  }
}

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
  for_each_fine(x, n, bucket, [counts](std::uint32_t digit) { ++counts[digit]; });
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

bool RankCuts::notes_values() const noexcept { return ties_ == Ties::kByIndex && tiles_ <= kMostTiles; }

std::int64_t RankCuts::second_size() const noexcept { return kFineBuckets + (notes_values() ? tiles_ * kValueSlots : 0); }

std::int64_t RankCuts::count_size(int pass) const noexcept {
  const auto cuts = static_cast<std::int64_t>(cuts_.size());
  return pass == 0 ? kCoarseBuckets : pass == 1 ? cuts * second_size() : cuts * tiles_;
}

void RankCuts::reduce(int pass, std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) const noexcept {
  if (pass == 0) return count_coarse(x, n, counts);
  for (const RankCut& cut : cuts_) {
    if (pass == 1 && notes_values()) {
      std::uint64_t* slots = counts + kFineBuckets + tile * kValueSlots;
      for_each_fine(x, n, cut.coarse_bucket(), [counts, slots](std::uint32_t digit) {
        ++counts[digit];
        if (slots[0] != kTooMany) note_value(slots, digit);
      });
    } else if (pass == 1) {
      count_fine(x, n, cut.coarse_bucket(), counts);
    } else {
      counts[tile] += count_equal(x, n, cut.magnitude());
    }
    counts += pass == 1 ? second_size() : tiles_;
  }
}

bool RankCuts::ties_from_values(RankCut& cut, std::span<const std::uint64_t> values) const {
  std::vector<std::uint64_t> per_tile;
  for (std::size_t at = 0; at < values.size(); at += kValueSlots) {
    const auto count = noted_count(values.subspan(at, kValueSlots), cut.magnitude() & static_cast<std::uint32_t>(kFineBuckets - 1));
    if (!count) return false;
    per_tile.push_back(*count);
  }
  cut.see_ties(per_tile);
  return true;
}

bool RankCuts::seal(int pass, std::span<const std::uint64_t> counts) noexcept {
  bool ties_left = false;
  for (std::size_t i = 0; i < cuts_.size(); ++i) {
    RankCut& cut = cuts_[i];
    if (pass == 0) {
      cut.see_coarse(counts);
    } else if (pass == 1) {
      const auto mine = counts.subspan(i * static_cast<std::size_t>(second_size()), static_cast<std::size_t>(second_size()));
      cut.see_fine(mine.first(static_cast<std::size_t>(kFineBuckets)));
      if (!cut.needs_ties()) continue;
      const bool found = notes_values() && ties_from_values(cut, mine.subspan(static_cast<std::size_t>(kFineBuckets)));
      ties_left = ties_left || !found;
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
