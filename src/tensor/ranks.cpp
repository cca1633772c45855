#include "tensor/ranks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/checked.h"
#include "simd/row_keys.h"
#include "tensor/marks.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

constexpr std::int64_t kWord = 64;
constexpr std::int64_t kShortRow = 32;
constexpr std::size_t kMostGroups = 16;
constexpr std::int64_t kLongestByKey = 1 << 15;  // ranking single elements takes a look at all of the row
constexpr std::uint64_t kFewListed = 24;         // so many elements of a row are ranked by looking at all of it for each
constexpr std::size_t kFewKeys = 16;             // the elements of so many keys are found by comparing all, those of more in one walk

// As many keys as elements: about one for two to four of them, since magnitudes are not spread evenly.
std::uint32_t key_limit(std::int64_t row) noexcept {
  return std::bit_floor(static_cast<std::uint32_t>(std::clamp<std::int64_t>(row, 64, 1 << 15)));
}

std::uint64_t sort_key(float x, std::uint32_t index) noexcept { return std::uint64_t{magnitude_bits(x)} << 32 | index; }

void sort_keys(std::uint64_t* begin, std::uint64_t* end) noexcept {
  if (end - begin > kShortRow) return std::sort(begin, end);
  for (std::uint64_t* at = begin; at < end; ++at) {
    const std::uint64_t here = *at;
    std::uint64_t* to = at;
    for (; to > begin && to[-1] > here; --to) *to = to[-1];
    *to = here;
  }
}

// How the magnitudes of a row become keys, and how many there may be. Most of a row's magnitudes lie within a few octaves around the mean;
// keys that are as wide below it as around it, not narrower by octaves, are met by about equally many elements.
struct RowScale : simd::KeyScale {
  std::uint32_t keys = 0;
};
RowScale scale_of(const float* x, std::int64_t n) noexcept {
  constexpr std::uint32_t kInfinity = 0x7F800000u;
  const simd::MagnitudeRange range = simd::magnitude_range(x, n);
  const std::uint32_t origin = range.largest < kInfinity ? std::max(range.exponent, 1u) << 23 : 0;
  RowScale scale{{.origin = std::bit_cast<float>(origin)}};
  const std::uint32_t last = origin == 0 ? range.largest : std::bit_cast<std::uint32_t>(std::bit_cast<float>(range.largest) + scale.origin);
  const auto keys = [&] { return (last >> scale.shift) - (origin >> scale.shift) + 2; };
  while (keys() > key_limit(n)) ++scale.shift;
  scale.keys = keys();
  return scale;
}

// Turns counts by key into first places.
void to_places(std::uint32_t* counts, std::uint32_t keys) noexcept {
  std::uint32_t place = 0;
  for (std::uint32_t key = 0; key < keys; ++key) {
    const std::uint32_t here = counts[key];
    counts[key] = place;
    place += here;
  }
}

// The line of a ramp whose ends may be cut.
simd::RankLine line_through(const std::vector<std::uint64_t>& thresholds) noexcept {
  constexpr float kHighest = 0x1.fffffep+30;  // of f32, below 2^31
  if (thresholds.empty()) return {};
  const auto halved = [&thresholds](std::ptrdiff_t r) { return static_cast<double>(thresholds[static_cast<std::size_t>(r)]) / 2; };
  const auto last = std::ssize(thresholds) - 1;
  const auto value = [kHighest](double v) { return std::min(static_cast<float>(v), kHighest); };
  simd::RankLine line{value(halved(0)), 0, value(halved(0)), value(halved(last))};
  // The ranks between the two ends.
  auto from = std::upper_bound(thresholds.begin(), thresholds.end(), thresholds.front()) - thresholds.begin();
  auto to = std::lower_bound(thresholds.begin(), thresholds.end(), thresholds.back()) - thresholds.begin() - 1;
  if (from >= to) {  // none, or one
    from = std::max<std::ptrdiff_t>(from - 1, 0);
    to = std::min(to + 1, last);
  }
  if (from >= to) return line;
  const double step = (halved(to) - halved(from)) / static_cast<double>(to - from);
  line.step = static_cast<float>(step);
  line.first = static_cast<float>(halved(from) - step * static_cast<double>(from));
  return line;
}

enum class KeyState : std::uint8_t {
  kOutOfOrder,  // its elements may not be in the order of their ranks
  kOpen,        // ... and will be put in order
  kInOrder,
};

// Where the parts of the work memory lie.
struct Work {
  std::uint64_t* sorted;  // elements of the keys that are settled, key after key
  std::uint64_t* near;    // marks
  std::uint32_t* ranks;   // by element: its place
  std::uint32_t* listed;  // elements
  std::uint32_t* next;    // by key: the next place; after the walk, the end of the key's places
  std::uint32_t* open;    // keys to settle
  std::uint32_t* to;      // by key: the next place in `sorted`
  std::uint16_t* keys;    // by element
  KeyState* states;       // by key, where keys are shared

  static std::int64_t bytes(std::int64_t n) noexcept {
    const auto keys = static_cast<std::int64_t>(key_limit(n));
    return 8 * n + 8 * ceil_div(n, kWord) + 4 * n + 4 * n + std::int64_t{3} * 4 * keys + 2 * n + keys;
  }
  Work(std::byte* memory, std::int64_t n) noexcept {
    const auto take = [&memory]<typename T>(T*& part, std::int64_t count) {
      part = reinterpret_cast<T*>(memory);
      memory += static_cast<std::size_t>(count) * sizeof(T);
    };
    const auto keys_at_most = static_cast<std::int64_t>(key_limit(n));
    take(sorted, n);
    take(near, ceil_div(n, kWord));
    take(ranks, n);
    take(listed, n);
    take(next, keys_at_most);
    take(open, keys_at_most);
    take(to, keys_at_most);
    take(keys, n);
    take(states, keys_at_most);
  }

  std::uint32_t begin(std::uint32_t key) const noexcept { return key == 0 ? 0 : next[key - 1]; }  // after the walk
};

// The keys of a row, and the first place of each.
struct Keys {
  std::uint32_t number = 0;
  bool shared = false;        // do some stand for several magnitudes?
  std::uint32_t longest = 0;  // elements of one that may be, at most
};
Keys count_keys(const float* x, std::int64_t n, const Work& work) noexcept {
  const RowScale scale = scale_of(x, n);
  Keys keys{scale.keys, simd::magnitude_keys(x, scale, work.keys, n)};
  std::memset(work.next, 0, scale.keys * sizeof(std::uint32_t));
  for (std::int64_t i = 0; i < n; ++i) ++work.next[work.keys[i]];
  if (keys.shared) {
    // Only keys with a rounded magnitude may stand for several.
    const std::int64_t rounded = simd::mark_rounded(x, scale, work.near, n);
    const bool few = rounded < n / 8;
    std::fill_n(work.states, scale.keys, few ? KeyState::kInOrder : KeyState::kOutOfOrder);
    if (few) {
      for_each_mark(work.near, n, [&](std::int64_t i) {
        work.states[work.keys[i]] = KeyState::kOutOfOrder;
        keys.longest = std::max(keys.longest, work.next[work.keys[i]]);
      });
    } else {
      keys.longest = simd::largest_count(work.next + 1, scale.keys - 1);  // key 0 has zeros only
    }
    work.states[0] = KeyState::kInOrder;
  }
  to_places(work.next, scale.keys);
  return keys;
}

// The keys that are to be settled, each once.
class OpenKeys {
 public:
  explicit OpenKeys(const Work& work) noexcept : work_(work) {}

  void add(std::uint32_t key) noexcept {
    if (work_.states[key] != KeyState::kOutOfOrder) return;
    work_.states[key] = KeyState::kOpen;
    work_.open[number_++] = key;
  }

  // Puts the elements of the keys into the order of their ranks and calls see(rank, element) for each.
  template <typename See>
  void settle(const float* x, std::int64_t n, const See& see) noexcept {
    if (number_ <= kFewKeys) return settle_each(x, n, see);
    std::uint32_t places = 0;
    for (std::size_t k = 0; k < number_; ++k) {
      const std::uint32_t key = work_.open[k];
      work_.to[key] = places;
      places += work_.next[key] - work_.begin(key);
    }
    std::size_t listed = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      work_.listed[listed] = static_cast<std::uint32_t>(i);
      listed += work_.states[work_.keys[i]] == KeyState::kOpen ? 1 : 0;
    }
    for (std::size_t k = 0; k < listed; ++k) {
      const std::uint32_t i = work_.listed[k];
      work_.sorted[work_.to[work_.keys[i]]++] = sort_key(x[i], i);
    }
    std::uint64_t* at = work_.sorted;
    for (std::size_t k = 0; k < number_; ++k) at = see_sorted(work_.open[k], at, see);
  }

 private:
  // Looks through the row for each key. The marks of what is near are not needed any more.
  template <typename See>
  void settle_each(const float* x, std::int64_t n, const See& see) noexcept {
    for (std::size_t k = 0; k < number_; ++k) {
      simd::mark_key(work_.keys, static_cast<std::uint16_t>(work_.open[k]), work_.near, n);
      std::uint64_t* to = work_.sorted;
      for_each_mark(work_.near, n, [&](std::int64_t i) { *to++ = sort_key(x[i], static_cast<std::uint32_t>(i)); });
      see_sorted(work_.open[k], work_.sorted, see);
    }
  }

  // Sorts the elements of a key, which begin at `at`, and returns where they end.
  template <typename See>
  std::uint64_t* see_sorted(std::uint32_t key, std::uint64_t* at, const See& see) noexcept {
    std::uint32_t rank = work_.begin(key);
    std::uint64_t* const end = at + (work_.next[key] - rank);
    sort_keys(at, end);
    for (; at < end; ++at, ++rank) see(rank, static_cast<std::uint32_t>(*at));
    return end;
  }

  const Work& work_;
  std::size_t number_ = 0;
};

}  // namespace

struct RankDraw::Row {
  const float* x;
  const RandomDraws& draws;
  std::uint64_t* marks;
  std::int64_t n;
  Work work;
};

// The upper 16 bits of a row's magnitudes, and marks of those that have more. Differences of 16-bit numbers seldom do.
struct RankDraw::Halves {
  static constexpr int kShift = 15;
  static constexpr std::int64_t kMostRounded = 32;  // of so many elements one may be
  std::uint16_t* upper;
  std::uint64_t* rounded;
  std::uint32_t* before;  // of one half: whole elements in the words before each

  // In the memory of `sorted`, which is not used beside them.
  Halves(const Work& work, std::int64_t n) noexcept
      : upper(reinterpret_cast<std::uint16_t*>(work.sorted)),
        rounded(work.sorted + ceil_div(n, std::int64_t{4})),
        before(reinterpret_cast<std::uint32_t*>(rounded + ceil_div(n, kWord))) {}
  // Says no where too many have more bits.
  bool take(const float* x, std::int64_t n) const noexcept {
    simd::magnitude_digits(x, kShift, upper, n);
    return simd::mark_rounded(x, {.origin = 0, .shift = kShift}, rounded, n) <= n / kMostRounded;
  }
};

RankDraw::RankDraw(const std::vector<std::uint64_t>& thresholds, const std::vector<std::int64_t>& group_ends)
    : thresholds_(thresholds), line_(line_through(thresholds)) {
  CHECK(!group_ends.empty() && group_ends.size() <= kMostGroups);
  for (std::size_t g = 0; g + 1 < group_ends.size(); ++g) bounds_.push_back(static_cast<std::uint32_t>(group_ends[g]));
  std::int64_t furthest = 0;  // from the line, in its units
  for (std::size_t r = 0; r < thresholds_.size(); ++r) {
    if (r > 0) steepest_ = std::max(steepest_, thresholds_[r] - thresholds_[r - 1]);
    const auto here = static_cast<std::int64_t>(thresholds_[r] / 2);
    furthest = std::max(furthest, std::abs(here - simd::threshold_of(line_, static_cast<std::uint32_t>(r))));
  }
  upper_thresholds_.assign(thresholds_.size() + 2, 0);
  std::transform(thresholds_.begin(), thresholds_.end(), upper_thresholds_.begin() + 1,
                 [](std::uint64_t threshold) { return static_cast<std::uint16_t>(std::min<std::uint64_t>(threshold >> 16, 0xFFFF)); });
  // Halving a threshold takes less than one from it.
  margin_ = static_cast<std::uint64_t>(furthest) + simd::kDrawMargin + 1;
}

std::int64_t RankDraw::work_bytes(std::int64_t row) noexcept { return Work::bytes(row); }

void RankDraw::draw(const float* row, const RandomDraws& draws, std::uint64_t* marks, std::int64_t* drawn_in,
                    std::byte* work) const noexcept {
  const auto n = std::ssize(thresholds_);
  const Row all{row, draws, marks, n, Work(work, n)};
  if (drawn_in == nullptr && n > kShortRow && draw_by_key(all)) return;
  n <= kShortRow ? draw_short_row(all) : draw_long_row(all);
  if (drawn_in == nullptr) return;
  std::array<std::int64_t, kMostGroups> from{};
  simd::count_marked_from(all.work.ranks, marks, bounds_, from.data(), n);
  std::int64_t left = simd::count_marks(marks, n);  // drawn in this group and in those after it
  for (std::size_t g = 0; g <= bounds_.size(); ++g) {
    const std::int64_t after = g < bounds_.size() ? from[g] : 0;
    drawn_in[g] += left - after;
    left = after;
  }
}

// Decides an element by its rank.
void RankDraw::put(const Row& row, std::uint32_t rank, std::uint32_t element) const noexcept {
  const bool drawn = row.draws.below(element, thresholds_[rank]);
  const std::uint64_t bit = std::uint64_t{1} << (element % kWord);
  std::uint64_t& word = row.marks[element / kWord];
  word = drawn ? word | bit : word & ~bit;
  row.work.ranks[element] = rank;
}

void RankDraw::draw_short_row(const Row& row) const noexcept {
  std::uint64_t* sorted = row.work.sorted;
  const auto n = static_cast<std::uint32_t>(row.n);
  for (std::uint32_t i = 0; i < n; ++i) sorted[i] = sort_key(row.x[i], i);
  sort_keys(sorted, sorted + n);
  if (n > 0) row.marks[0] = 0;
  for (std::uint32_t rank = 0; rank < n; ++rank) put(row, rank, static_cast<std::uint32_t>(sorted[rank]));
}

// Says no where the keys would decide too little; nothing is settled then.
bool RankDraw::draw_by_key(const Row& row) const noexcept {
  if (row.n > kLongestByKey) return false;
  constexpr float kKeysToMean = static_cast<float>(simd::kRowKeys) / 4;  // the last one takes what is above four times the mean
  const float factor = kKeysToMean / simd::mean_magnitude(row.x, row.n);
  if (!(factor > 0 && factor < std::numeric_limits<float>::infinity())) return false;  // all are 0, or not all are finite
  auto* keys = reinterpret_cast<std::uint8_t*>(row.work.keys);
  std::uint64_t* open = row.work.near;
  simd::row_keys(row.x, factor, keys, row.n);
  std::uint32_t ends[simd::kRowKeys];
  simd::count_row_keys(keys, row.n, ends);
  simd::KeyLimits limits;
  // Of a key's lowest and highest rank; a key without elements decides nothing.
  const auto lowest_of = [this](std::uint32_t begin) { return upper_thresholds_[begin + 1]; };
  const auto highest_of = [this](std::uint32_t end) { return upper_thresholds_[end]; };
  std::uint32_t begin = 0;
  std::uint64_t expected = 0;  // elements that only their rank decides, times 2^16
  for (std::size_t key = 0; key < simd::kRowKeys; ++key) {
    const std::uint32_t end = ends[key] += begin;
    const std::uint32_t lowest = lowest_of(begin);
    const std::uint32_t highest = highest_of(end);
    limits.drawn[key] = static_cast<std::uint8_t>(lowest >> 8);
    limits.missed[key] = static_cast<std::uint8_t>(highest >> 8);
    expected += std::uint64_t{end - begin} * (highest - lowest);
    begin = end;
  }
  const bool few = expected >> 16 <= kFewListed;
  const Halves halves(row.work, row.n);
  if (!few && !halves.take(row.x, row.n)) return false;
  simd::decide_by_key(keys, row.draws.upper, limits, row.marks, open, row.n);

  // Most of what is open is decided by 16 bits of its draw; the rest by its rank. Without a branch, which would look random.
  std::size_t number = 0;
  std::uint32_t* listed = row.work.listed;
  for_each_mark(open, row.n, [&](std::int64_t i) {
    const std::uint8_t key = keys[i];
    const std::uint32_t draw = row.draws.upper[i];
    const bool drawn = draw < lowest_of(key == 0 ? 0 : ends[key - 1]);
    row.marks[i / kWord] |= static_cast<std::uint64_t>(drawn) << (i % kWord);
    listed[number] = static_cast<std::uint32_t>(i);
    number += !drawn && draw <= highest_of(ends[key]) ? 1u : 0u;
  });
  few ? settle_by_counting(row, number) : settle_by_half(row, halves, number);
  return true;
}

// Decides the first elements in `listed` by their ranks.
void RankDraw::settle_by_counting(const Row& row, std::size_t number) const noexcept {
  const std::uint32_t* listed = row.work.listed;
  for (std::size_t at = 0; at < number; at += simd::kRanksAtOnce) {
    const std::size_t some = std::min(number - at, simd::kRanksAtOnce);
    std::uint32_t ranks[simd::kRanksAtOnce];
    simd::ranks_by_counting(row.x, {listed + at, some}, ranks, row.n);
    for (std::size_t k = 0; k < some; ++k) put(row, ranks[k], listed[at + k]);
  }
}

// ... where many elements share few magnitudes: all those of one half at once. Its whole elements are equal, and come before the others.
void RankDraw::settle_by_half(const Row& row, const Halves& halves, std::size_t number) const noexcept {
  std::uint32_t* listed = row.work.listed;
  std::uint64_t* same = row.work.near;
  const std::int64_t words = ceil_div(row.n, kWord);
  while (number > 0) {  // once for each half
    const std::uint16_t half = halves.upper[listed[0]];
    const std::uint32_t smaller = simd::mark_half(halves.upper, half, halves.rounded, same, halves.before, row.n);
    std::size_t left = 0;
    for (std::size_t k = 0; k < number; ++k) {
      const std::uint32_t i = listed[k];
      if (halves.upper[i] != half) {
        listed[left++] = i;
        continue;
      }
      const std::int64_t word = i / kWord;
      const std::uint64_t bit = std::uint64_t{1} << (i % kWord);
      std::uint32_t rank = smaller;
      if ((halves.rounded[word] & bit) == 0) {
        rank += halves.before[word] + static_cast<std::uint32_t>(std::popcount(same[word] & ~halves.rounded[word] & (bit - 1)));
      } else {
        rank += halves.before[words];
        const std::uint64_t mine = sort_key(row.x[i], i);
        for (std::int64_t w = 0; w < words; ++w) {
          const std::uint64_t others = same[w] & halves.rounded[w];
          for_each_mark(&others, kWord, [&](std::int64_t in_word) {
            const auto other = static_cast<std::uint32_t>(w * kWord + in_word);
            rank += sort_key(row.x[other], other) < mine ? 1u : 0u;
          });
        }
      }
      put(row, rank, i);
    }
    number = left;
  }
}

void RankDraw::draw_long_row(const Row& row) const noexcept {
  const Work work = row.work;  // on the stack, where no store through a pointer can change it
  const Keys keys = count_keys(row.x, row.n, work);
  for (std::int64_t i = 0; i < row.n; ++i) work.ranks[i] = work.next[work.keys[i]]++;
  // Where keys are shared a place is off by less than the elements of a key.
  const std::uint64_t margin = margin_ + (keys.shared ? keys.longest * steepest_ / 2 + 1 : 0);
  constexpr std::uint64_t kWidest = 0x7FFFFFFF;
  simd::decide_by_rank(work.ranks, row.draws.upper, line_, static_cast<std::int32_t>(std::min(margin, kWidest)), row.marks, work.near,
                       row.n);
  OpenKeys open(work);
  for_each_mark(work.near, row.n, [&](std::int64_t i) {
    if (!keys.shared || work.states[work.keys[i]] == KeyState::kInOrder) {
      put(row, work.ranks[i], static_cast<std::uint32_t>(i));
    } else {
      open.add(work.keys[i]);
    }
  });
  if (!keys.shared) return;
  for (const std::uint32_t bound : bounds_) {  // keys with ranks of two groups
    const auto key = static_cast<std::uint32_t>(std::upper_bound(work.next, work.next + keys.number, bound) - work.next);
    if (key < keys.number && work.begin(key) < bound) open.add(key);
  }
  open.settle(row.x, row.n, [this, &row](std::uint32_t rank, std::uint32_t i) { put(row, rank, i); });
}

const std::uint32_t* RankDraw::order(const float* row, std::byte* memory) const noexcept {
  const auto n = std::ssize(thresholds_);
  const Work work(memory, n);
  const Keys keys = count_keys(row, n, work);
  for (std::int64_t i = 0; i < n; ++i) work.ranks[i] = work.next[work.keys[i]]++;
  if (keys.shared) {
    OpenKeys open(work);
    for (std::uint32_t key = 0; key < keys.number; ++key) open.add(key);
    open.settle(row, n, [&work](std::uint32_t rank, std::uint32_t i) { work.ranks[i] = rank; });
  }
  for (std::int64_t i = 0; i < n; ++i) work.listed[work.ranks[i]] = static_cast<std::uint32_t>(i);
  return work.listed;
}

}  // namespace crucible
