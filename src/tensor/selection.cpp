#include "tensor/selection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/checked.h"

namespace crucible {
namespace {

constexpr std::int64_t kChunk = 4096;  // elements whose digits stay in the first cache level

// The values of a chunk inside a coarse bucket: in each slot a fine digit + 1 and how often it was seen, or 0.
constexpr std::int64_t kValueSlots = 8;
constexpr int kCountBits = 40;
constexpr std::uint64_t kTooMany = ~std::uint64_t{0};  // in the first slot
// With more chunks the values would need more counters (8 bytes in a slot) than they are worth.
constexpr std::int64_t kMostGroups = std::int64_t{1} << 14;

// One of so many pieces is looked at to find about where the cuts lie; with few pieces the look costs as much as it saves.
constexpr std::int64_t kSampleStride = 16;
constexpr std::int64_t kFewPieces = 4 * kSampleStride;
// A sample is counted by fewer buckets: 32,768.
constexpr int kSampleShift = kCoarseShift + 1;
constexpr std::int64_t kSampleBuckets = std::int64_t{1} << (31 - kSampleShift);
// Of these, what a window reaches on each side of the place, at least: 2 to 5 % of the magnitude. It reaches further where few magnitudes
// differ, as in differences of 16-bit numbers: over the ranks that the sample may be off by. A chunk keeps a sixteenth of its elements at
// most: up to 5 % lie in the window where magnitudes are normally distributed, and equal ones of a tile count once.
constexpr std::uint32_t kWindowReach = 6;
constexpr std::uint32_t kFarthestReach = 2048;  // so that the counters of windows are no more than those of the other passes
constexpr std::int64_t kKeptOfChunk = 16;

// Counts values that may be equal, a limited number of different ones.
class ValueCounts {
 public:
  static constexpr std::int64_t kMost = 1024;

  // There must be room for one more: number() < kMost.
  void add(std::uint32_t value) noexcept {
    std::size_t at = value * 0x9E3779B1u >> (32 - kBits);
    while (slots_[at].count != 0 && slots_[at].value != value) at = (at + 1) % kSlots;
    if (slots_[at].count++ > 0) return;
    slots_[at].value = value;
    used_[static_cast<std::size_t>(number_++)] = static_cast<std::uint16_t>(at);
  }
  std::int64_t number() const noexcept { return number_; }
  void clear() noexcept {
    for (std::int64_t i = 0; i < number_; ++i) slots_[used_[static_cast<std::size_t>(i)]].count = 0;
    number_ = 0;
  }
  // Calls see(value with its count) for each, in the order in which they came.
  template <typename See>
  void for_each(const See& see) const {
    for (std::int64_t i = 0; i < number_; ++i) see(slots_[used_[static_cast<std::size_t>(i)]]);
  }

 private:
  static constexpr int kBits = 11;
  static constexpr std::size_t kSlots = std::size_t{1} << kBits;
  std::array<ValueCount, kSlots> slots_{};
  std::array<std::uint16_t, kMost> used_{};
  std::int64_t number_ = 0;
};

// Appends m values, equal ones as one, or as many as there is room for; returns how many those are.
std::int64_t append_values(const std::uint32_t* found, std::int64_t m, std::int64_t room, std::vector<ValueCount>& values) {
  thread_local ValueCounts different;  // cleared by what is in it: most of it is empty
  different.clear();
  std::int64_t i = 0;
  for (; i < m && different.number() < std::min(room, ValueCounts::kMost); ++i) different.add(found[i]);
  different.for_each([&values](const ValueCount& v) { values.push_back(v); });
  return i;
}

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

// How often a chunk has the digit; empty where that was not noted.
std::optional<std::uint64_t> noted_count(std::span<const std::uint64_t> slots, std::uint32_t digit) noexcept {
  if (slots[0] == kTooMany) return std::nullopt;
  for (const std::uint64_t slot : slots) {
    if (slot >> kCountBits == std::uint64_t{digit} + 1) return slot & ((std::uint64_t{1} << kCountBits) - 1);
  }
  return 0;
}

// Calls see(found magnitudes, how many) for the magnitudes in [low, high], and returns how many are greater.
template <typename See>
std::int64_t for_each_between(const float* x, std::int64_t n, std::uint32_t low, std::uint32_t high, const See& see) noexcept {
  std::uint32_t found[kChunk];
  std::int64_t all_above = 0;
  for (std::int64_t at = 0; at < n; at += kChunk) {
    std::int64_t above = 0;
    const std::int64_t m = simd::pick_magnitudes(x + at, low, high, found, above, std::min(kChunk, n - at));
    all_above += above;
    see(found, m);
  }
  return all_above;
}

void count_digits(const float* x, std::int64_t n, int shift, std::uint64_t* counts) noexcept {
  std::uint16_t digits[kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t m = std::min(kChunk, n - at);
    simd::magnitude_digits(x + at, shift, digits, m);
    for (std::int64_t i = 0; i < m; ++i) ++counts[digits[i]];
  }
}

// Calls see(fine digit) for each element of a coarse bucket.
template <typename See>
void for_each_fine(const float* x, std::int64_t n, std::uint32_t bucket, const See& see) noexcept {
  const std::uint32_t low = bucket << kCoarseShift;
  for_each_between(x, n, low, low | static_cast<std::uint32_t>(kFineBuckets - 1), [&see](const std::uint32_t* found, std::int64_t m) {
    for (std::int64_t i = 0; i < m; ++i) see(found[i] & static_cast<std::uint32_t>(kFineBuckets - 1));
  });
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

enum class Way : std::int64_t { kDown = -1, kUp = 1 };

// The bucket on the way from `from` with which those passed hold so many elements, or the last that holds any within reach.
std::uint32_t reach(std::span<const std::uint64_t> counts, std::uint32_t from, Way way, std::int64_t elems) noexcept {
  std::uint32_t reached = from;
  std::uint32_t held = 0;
  for (std::int64_t distance = 1; elems > 0 && held < kWindowReach && distance <= kFarthestReach; ++distance) {
    const std::int64_t b = from + static_cast<std::int64_t>(way) * distance;
    if (b < 0 || b >= kSampleBuckets) break;
    const auto here = static_cast<std::int64_t>(counts[static_cast<std::size_t>(b)]);
    if (here == 0) continue;
    elems -= here;
    reached = static_cast<std::uint32_t>(b);
    ++held;
  }
  return reached;
}

}  // namespace

void count_coarse(const float* x, std::int64_t n, std::uint64_t* counts) noexcept { count_digits(x, n, kCoarseShift, counts); }

void count_fine(const float* x, std::int64_t n, std::uint32_t bucket, std::uint64_t* counts) noexcept {
  for_each_fine(x, n, bucket, [counts](std::uint32_t digit) { ++counts[digit]; });
}

std::uint64_t count_equal(const float* x, std::int64_t n, std::uint32_t magnitude) noexcept {
  return static_cast<std::uint64_t>(simd::count_magnitude(x, magnitude, n));
}

void RankCut::see_coarse(std::span<const std::uint64_t> counts) noexcept {
  bucket_ = static_cast<std::uint32_t>(find_from_top(counts, take_, above_));
}

void RankCut::see_bucket(std::uint32_t bucket, std::int64_t above) noexcept {
  bucket_ = bucket;
  above_ = above;
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

void RankCut::see_ties(std::span<const std::uint64_t> each, std::int64_t first, std::int64_t before) noexcept {
  std::int64_t left = take_equal_ - before;
  last_tile_ = first;
  for (const std::uint64_t count : each) {
    if (static_cast<std::int64_t>(count) >= left) break;
    left -= static_cast<std::int64_t>(count);
    ++last_tile_;
  }
  ties_of_last_ = left;
}

std::int64_t RankCut::ties_to_take(std::int64_t tile) const noexcept {
  if (last_tile_ < 0) return take_equal_ > 0 ? simd::kAllTies : 0;
  return tile < last_tile_ ? simd::kAllTies : tile == last_tile_ ? ties_of_last_ : 0;
}

std::int64_t share_of(double share, std::int64_t n) noexcept {
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(share * static_cast<double>(n)), 0, n);
}

RankCuts::RankCuts(Spec spec) : spec_(std::move(spec)) {
  if (spec_.share_of_nonzero) spec_.takes = {0};
  for (const std::int64_t take : spec_.takes) cuts_.emplace_back(take);
  if (ceil_div(spec_.tiles, sampled_tiles()) >= kFewPieces && window_bytes() <= spec_.keep_budget_bytes) stage_ = Stage::kSample;
}

bool RankCuts::wants(std::int64_t tile) const noexcept {
  if (stage_ == Stage::kSample) return tile / sampled_tiles() % kSampleStride == 0;
  if (stage_ != Stage::kTieTiles) return true;
  return std::any_of(cuts_.begin(), cuts_.end(), [&](const RankCut& c) { return c.needs_ties() && c.last_tile() == tile / group(); });
}

std::int64_t RankCuts::group() const noexcept { return spec_.chunk_tiles * std::max<std::int64_t>(1, ceil_div(chunks(), kMostGroups)); }

std::int64_t RankCuts::second_size() const noexcept { return kFineBuckets + (notes_values() ? groups() * kValueSlots : 0); }

std::int64_t RankCuts::count_size() const noexcept {
  const auto cuts = static_cast<std::int64_t>(cuts_.size());
  const std::int64_t zeros = spec_.share_of_nonzero ? 1 : 0;  // the first counter
  switch (stage_) {
    case Stage::kSample: return zeros + kSampleBuckets;
    case Stage::kCoarse: return zeros + kCoarseBuckets;
    case Stage::kWindow:
      return std::accumulate(windows_.begin(), windows_.end(), zeros, [](std::int64_t n, const Window& w) { return n + w.counters(); });
    case Stage::kFine: return cuts * second_size();
    case Stage::kTies: return cuts * groups();
    case Stage::kTieTiles: return cuts * group();
  }
  return 0;
}

void RankCuts::reduce(std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) noexcept {
  if (!wants(tile)) return;
  // Zeros are told from the smallest numbers by the lower bits only.
  if (spec_.share_of_nonzero && stage_ <= Stage::kCoarse) *counts++ += count_equal(x, n, 0);
  if (stage_ == Stage::kSample) return count_digits(x, n, kSampleShift, counts);
  if (stage_ == Stage::kCoarse) return count_coarse(x, n, counts);
  for (std::size_t c = 0; c < cuts_.size(); ++c) {
    switch (stage_) {
      case Stage::kWindow:
        reduce_window(windows_[c], tile, x, n, counts);
        counts += windows_[c].counters();
        break;
      case Stage::kFine:
        reduce_fine(cuts_[c], tile, x, n, counts);
        counts += second_size();
        break;
      case Stage::kTies:
        counts[tile / group()] += count_equal(x, n, cuts_[c].magnitude());
        counts += groups();
        break;
      default:
        if (cuts_[c].last_tile() == tile / group()) counts[tile % group()] += count_equal(x, n, cuts_[c].magnitude());
        counts += group();
    }
  }
}

void RankCuts::reduce_window(Window& window, std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) noexcept {
  Window::Chunk& chunk = window.chunks[static_cast<std::size_t>(tile / spec_.chunk_tiles)];
  const std::int64_t most = chunk_elems() / kKeptOfChunk;
  if (!chunk.too_many) chunk.values.reserve(static_cast<std::size_t>(most));
  const auto count = [&](const ValueCount& v) { counts[1 + (v.value >> kCoarseShift) - window.first] += v.count; };
  *counts +=
      static_cast<std::uint64_t>(for_each_between(x, n, window.low(), window.high(), [&](const std::uint32_t* found, std::int64_t m) {
        std::int64_t kept = 0;
        if (!chunk.too_many) kept = append_values(found, m, most - std::ssize(chunk.values), chunk.values);
        chunk.too_many = chunk.too_many || kept < m;
        for (std::int64_t i = kept; i < m; ++i) count({found[i], 1});
      }));
  if (chunk.too_many) {
    for (const ValueCount& v : std::exchange(chunk.values, {})) count(v);
  }
  window.ends[static_cast<std::size_t>(tile)] = static_cast<std::uint32_t>(chunk.values.size());
}

void RankCuts::reduce_fine(const RankCut& cut, std::int64_t tile, const float* x, std::int64_t n, std::uint64_t* counts) const noexcept {
  if (!notes_values()) return count_fine(x, n, cut.coarse_bucket(), counts);
  std::uint64_t* slots = counts + kFineBuckets + tile / group() * kValueSlots;
  for_each_fine(x, n, cut.coarse_bucket(), [counts, slots](std::uint32_t digit) {
    ++counts[digit];
    if (slots[0] != kTooMany) note_value(slots, digit);
  });
}

bool RankCuts::ties_from_values(RankCut& cut, std::span<const std::uint64_t> values) const {
  std::vector<std::uint64_t> each;
  for (std::size_t at = 0; at < values.size(); at += kValueSlots) {
    const auto count = noted_count(values.subspan(at, kValueSlots), cut.magnitude() & static_cast<std::uint32_t>(kFineBuckets - 1));
    if (!count) return false;
    each.push_back(*count);
  }
  cut.see_ties(each);
  return true;
}

void RankCuts::see_zeros(std::uint64_t zeros) noexcept {
  nonzero_ = spec_.elems - static_cast<std::int64_t>(zeros);
  cuts_.front() = RankCut(share_of(*spec_.share_of_nonzero, nonzero_));
}

RankCuts::Stage RankCuts::place_windows(std::span<const std::uint64_t> counts) noexcept {
  std::int64_t seen = 0;
  for (const std::uint64_t c : counts) seen += static_cast<std::int64_t>(c);
  if (seen == 0) return Stage::kCoarse;
  windows_.resize(cuts_.size());
  for (std::size_t c = 0; c < cuts_.size(); ++c) {
    const double share = static_cast<double>(cuts_[c].take()) / static_cast<double>(std::max<std::int64_t>(spec_.elems, 1));
    const std::int64_t sampled = share_of(share, seen);
    const auto doubt =
        static_cast<std::int64_t>(5 * std::sqrt(share * (1 - share) * static_cast<double>(seen)) + static_cast<double>(seen) / 512);
    std::int64_t above = 0;
    const auto middle = static_cast<std::uint32_t>(find_from_top(counts, std::max<std::int64_t>(1, sampled), above));
    const std::int64_t down_to_middle = above + static_cast<std::int64_t>(counts[middle]);
    Window& window = windows_[c];
    const std::uint32_t first = reach(counts, middle, Way::kDown, sampled + doubt - down_to_middle);
    const std::uint32_t last = reach(counts, middle, Way::kUp, above - (sampled - doubt));
    constexpr auto kOfSample = std::uint32_t{1} << (kSampleShift - kCoarseShift);  // coarse buckets
    window.first = std::min(first, middle - std::min(middle, kWindowReach)) * kOfSample;
    window.last = std::min(std::max(last, middle + kWindowReach) * kOfSample + kOfSample, static_cast<std::uint32_t>(kCoarseBuckets)) - 1;
    window.chunks.resize(static_cast<std::size_t>(chunks()));
    window.ends.resize(static_cast<std::size_t>(spec_.tiles));
  }
  return Stage::kWindow;
}

std::optional<RankCuts::Stage> RankCuts::see_windows(std::span<const std::uint64_t> counts) noexcept {
  bool decided = true;
  for (std::size_t c = 0; c < cuts_.size(); ++c) {
    RankCut& cut = cuts_[c];
    const auto size = static_cast<std::size_t>(windows_[c].counters());
    const auto mine = counts.first(size);
    counts = counts.subspan(size);
    const auto above = static_cast<std::int64_t>(mine.front());
    // Chunks that kept their values did not count them.
    std::vector<std::uint64_t> buckets(mine.begin() + 1, mine.end());
    for (const Window::Chunk& chunk : windows_[c].chunks) {
      for (const ValueCount& v : chunk.values) buckets[(v.value >> kCoarseShift) - windows_[c].first] += v.count;
    }
    std::int64_t inside = 0;
    for (const std::uint64_t n : buckets) inside += static_cast<std::int64_t>(n);
    if (cut.take() > 0 && (above >= cut.take() || above + inside < cut.take())) return Stage::kCoarse;
    std::int64_t above_inside = 0;
    const std::size_t bucket = find_from_top(buckets, cut.take() - above, above_inside);
    cut.see_bucket(windows_[c].first + static_cast<std::uint32_t>(bucket), above + above_inside);
    decided = decided && std::none_of(windows_[c].chunks.begin(), windows_[c].chunks.end(), [](const auto& k) { return k.too_many; });
  }
  if (!decided) return Stage::kFine;
  for (std::size_t c = 0; c < cuts_.size(); ++c) settle(cuts_[c], windows_[c]);
  return std::nullopt;
}

void RankCuts::settle(RankCut& cut, const Window& window) const {
  std::vector<std::uint64_t> fine(static_cast<std::size_t>(kFineBuckets));
  for (const Window::Chunk& chunk : window.chunks) {
    for (const ValueCount& v : chunk.values) {
      if (v.value >> kCoarseShift == cut.coarse_bucket()) fine[v.value & static_cast<std::uint32_t>(kFineBuckets - 1)] += v.count;
    }
  }
  cut.see_fine(fine);
  if (spec_.ties != Ties::kByIndex || !cut.needs_ties()) return;
  const auto equal = [&cut](std::span<const ValueCount> values) {
    std::uint64_t count = 0;
    for (const ValueCount& v : values) count += v.value == cut.magnitude() ? v.count : 0;
    return count;
  };
  std::vector<std::uint64_t> each;
  for (const Window::Chunk& chunk : window.chunks) each.push_back(equal(chunk.values));
  cut.see_ties(each);
  const std::span<const ValueCount> last = window.chunks[static_cast<std::size_t>(cut.last_tile())].values;
  const std::int64_t first = cut.last_tile() * spec_.chunk_tiles;
  each.clear();
  std::size_t from = 0;
  for (std::int64_t t = first; t < std::min(spec_.tiles, first + spec_.chunk_tiles); ++t) {
    const std::size_t end = window.ends[static_cast<std::size_t>(t)];
    each.push_back(equal(last.subspan(from, end - from)));
    from = end;
  }
  cut.see_ties(each, first, cut.ties_before_last());
}

std::optional<RankCuts::Stage> RankCuts::see_fine(std::span<const std::uint64_t> counts) noexcept {
  bool ties = false, unknown = false;
  const auto size = static_cast<std::size_t>(second_size());
  for (std::size_t c = 0; c < cuts_.size(); ++c) {
    const auto mine = counts.subspan(c * size, size);
    cuts_[c].see_fine(mine.first(static_cast<std::size_t>(kFineBuckets)));
    if (spec_.ties != Ties::kByIndex || !cuts_[c].needs_ties()) continue;
    ties = true;
    const bool noted = notes_values() && ties_from_values(cuts_[c], mine.subspan(static_cast<std::size_t>(kFineBuckets)));
    unknown = unknown || !noted;
  }
  if (unknown) return Stage::kTies;
  return ties && spec_.chunk_tiles > 1 ? std::optional(Stage::kTieTiles) : std::nullopt;
}

std::optional<RankCuts::Stage> RankCuts::see_ties(std::span<const std::uint64_t> counts) noexcept {
  const std::size_t size = counts.size() / cuts_.size();
  for (std::size_t c = 0; c < cuts_.size(); ++c) {
    RankCut& cut = cuts_[c];
    if (!cut.needs_ties()) continue;
    const auto mine = counts.subspan(c * size, size);
    if (stage_ == Stage::kTies) {
      cut.see_ties(mine);
    } else {
      cut.see_ties(mine, cut.last_tile() * group(), cut.ties_before_last());
    }
  }
  return stage_ == Stage::kTies && group() > 1 ? std::optional(Stage::kTieTiles) : std::nullopt;
}

bool RankCuts::seal(std::span<const std::uint64_t> counts) noexcept {
  std::optional<Stage> next;
  if (spec_.share_of_nonzero && stage_ <= Stage::kCoarse) {
    std::uint64_t zeros = counts.front();
    counts = counts.subspan(1);
    if (stage_ == Stage::kSample) {
      const std::uint64_t seen = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
      const double share = static_cast<double>(zeros) / static_cast<double>(std::max<std::uint64_t>(seen, 1));
      zeros = static_cast<std::uint64_t>(share_of(share, spec_.elems));
    }
    see_zeros(zeros);
  }
  switch (stage_) {
    case Stage::kSample: next = place_windows(counts); break;
    case Stage::kWindow:
      next = see_windows(counts);
      windows_ = {};
      break;
    case Stage::kCoarse:
      for (RankCut& cut : cuts_) cut.see_coarse(counts);
      next = Stage::kFine;
      break;
    case Stage::kFine: next = see_fine(counts); break;
    case Stage::kTies:
    case Stage::kTieTiles: next = see_ties(counts); break;
  }
  if (next) stage_ = *next;
  return next.has_value();
}

std::int64_t RankCuts::window_bytes() const noexcept {
  const auto of_chunk = chunk_elems() / kKeptOfChunk * std::int64_t{sizeof(ValueCount)} + std::int64_t{sizeof(Window::Chunk)};
  return std::ssize(cuts_) * (chunks() * of_chunk + spec_.tiles * 4);
}

std::int64_t RankCuts::most_counter_bytes(std::int64_t cuts, std::int64_t tiles) noexcept {
  const std::int64_t notes = std::min(tiles, kMostGroups) * kValueSlots;
  return 8 * std::max(1 + kCoarseBuckets, cuts * (kFineBuckets + notes));
}

std::int64_t RankCuts::kept_bytes() const noexcept { return stage_ == Stage::kSample ? window_bytes() : 0; }

}  // namespace crucible
