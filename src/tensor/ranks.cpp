#include "tensor/ranks.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/checked.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

constexpr std::int64_t kWord = 64;
constexpr std::int64_t kShortRow = 32;

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

// How the magnitudes of a row become keys.
struct KeyScale {
  int shift = 0;
  std::uint32_t first = 0;  // the smallest magnitude, shifted
  std::uint32_t keys = 0;
};
KeyScale scale_of(const float* x, std::int64_t n) noexcept {
  const simd::MagnitudeRange range = simd::magnitude_range(x, n);
  const std::uint32_t smallest = std::min(range.smallest, range.largest);
  const std::uint32_t limit = key_limit(n);
  int shift = 0;
  while ((range.largest >> shift) - (smallest >> shift) + 2 > limit) ++shift;
  return {shift, smallest >> shift, (range.largest >> shift) - (smallest >> shift) + 2};
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

template <typename See>
void for_each_mark(const std::uint64_t* marks, std::int64_t n, const See& see) noexcept {
  for (std::int64_t w = 0; w < ceil_div(n, kWord); ++w) {
    for (std::uint64_t word = marks[w]; word != 0; word &= word - 1) see(w * kWord + std::countr_zero(word));
  }
}

}  // namespace

// Where the parts of the work memory lie.
struct RankDraw::Work {
  std::uint32_t* order;   // by rank: the element, tagged
  std::uint32_t* ranks;   // by element: its place
  std::uint32_t* tagged;  // by element: the limit of its rank, then its tagged number
  std::uint64_t* sorted;  // of one key, in the memory of ranks and tags, which are no longer needed then
  std::uint64_t* near;    // marks
  std::uint32_t* next;    // by key: the next place; after the walk, the end of the key's places
  std::uint16_t* keys;    // by element
  std::uint8_t* settled;  // by key: are its elements in the order of their ranks?

  static std::int64_t bytes(std::int64_t n) noexcept {
    const auto keys = static_cast<std::int64_t>(key_limit(n));
    return 8 * n + 8 * ceil_div(n, kWord) + 4 * n + 4 * keys + 2 * n + keys;
  }
  Work(std::byte* memory, std::int64_t n) noexcept {
    const auto take = [&memory]<typename T>(T*& part, std::int64_t count) {
      part = reinterpret_cast<T*>(memory);
      memory += static_cast<std::size_t>(count) * sizeof(T);
    };
    const auto keys_at_most = static_cast<std::int64_t>(key_limit(n));
    take(sorted, n);
    ranks = reinterpret_cast<std::uint32_t*>(sorted);
    tagged = ranks + n;
    take(near, ceil_div(n, kWord));
    take(order, n);
    take(next, keys_at_most);
    take(keys, n);
    take(settled, keys_at_most);
  }
};

struct RankDraw::Row {
  const float* x;
  const std::uint32_t* random;
  std::uint64_t* marks;
  std::int64_t n;
  Work work;
};

RankDraw::RankDraw(const std::vector<std::uint64_t>& thresholds, std::vector<std::int64_t> group_ends)
    : group_ends_(std::move(group_ends)), certain_from_(static_cast<std::uint32_t>(thresholds.size())) {
  constexpr std::uint64_t kLargest = 0xFFFFFFFFu;
  limits_.reserve(thresholds.size());
  for (const std::uint64_t t : thresholds) {
    if (t > kLargest) certain_from_ = std::min(certain_from_, static_cast<std::uint32_t>(limits_.size()));
    if (!limits_.empty()) steepest_ = std::max(steepest_, std::min(t, kLargest) - limits_.back());
    limits_.push_back(static_cast<std::uint32_t>(std::min(t, kLargest)));
  }
}

std::int64_t RankDraw::work_bytes(std::int64_t row) noexcept { return Work::bytes(row); }

void RankDraw::draw(const float* row, const std::uint32_t* random, std::uint64_t* marks, std::int64_t* drawn_in,
                    std::byte* work) const noexcept {
  const auto n = std::ssize(limits_);
  draw_row({row, random, marks, n, Work(work, n)}, Settle::kNearLimits, drawn_in);
}

const std::uint32_t* RankDraw::draw_in_order(const float* row, const std::uint32_t* random, std::uint64_t* marks, std::int64_t* drawn_in,
                                             std::byte* work) const noexcept {
  const auto n = std::ssize(limits_);
  const Row all{row, random, marks, n, Work(work, n)};
  draw_row(all, Settle::kAll, drawn_in);
  return all.work.order;
}

void RankDraw::draw_row(const Row& row, Settle settle, std::int64_t* drawn_in) const noexcept {
  row.n <= kShortRow ? draw_short_row(row) : draw_long_row(row, settle);
  std::int64_t begin = 0;
  for (std::size_t g = 0; g < group_ends_.size(); ++g) {
    drawn_in[g] += simd::count_drawn(row.work.order + begin, group_ends_[g] - begin);
    begin = group_ends_[g];
  }
}

// Decides an element by its rank.
void RankDraw::put(const Row& row, std::uint32_t rank, std::uint32_t element) const noexcept {
  const bool drawn = row.random[element] < limits_[rank] || rank >= certain_from_;
  const std::uint64_t bit = std::uint64_t{1} << (element % kWord);
  std::uint64_t& word = row.marks[element / kWord];
  word = drawn ? word | bit : word & ~bit;
  row.work.order[rank] = element | (drawn ? simd::kDrawnFlag : 0u);
}

void RankDraw::draw_short_row(const Row& row) const noexcept {
  std::uint64_t* sorted = row.work.sorted;
  const auto n = static_cast<std::uint32_t>(row.n);
  for (std::uint32_t i = 0; i < n; ++i) sorted[i] = sort_key(row.x[i], i);
  sort_keys(sorted, sorted + n);
  if (n > 0) row.marks[0] = 0;
  for (std::uint32_t rank = 0; rank < n; ++rank) put(row, rank, static_cast<std::uint32_t>(sorted[rank]));
}

// No two thresholds of so many ranks in a row are further apart. One more, for the threshold that its limit is one short of.
std::uint32_t RankDraw::margin_of(std::uint32_t elements) const noexcept {
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 31;
  return static_cast<std::uint32_t>(std::min(elements * std::min(steepest_, kHalf) + 1, kHalf));
}

void RankDraw::draw_long_row(const Row& row, Settle settle) const noexcept {
  const Work work = row.work;  // on the stack, where no store through a pointer can change it
  const KeyScale scale = scale_of(row.x, row.n);
  const bool shared = simd::magnitude_keys(row.x, scale.shift, scale.first, work.keys, row.n);
  std::memset(work.next, 0, scale.keys * sizeof(std::uint32_t));
  for (std::int64_t i = 0; i < row.n; ++i) ++work.next[work.keys[i]];
  std::uint32_t margin = 0;
  if (shared) {
    // Key 0 has zeros only.
    margin = margin_of(simd::largest_count(work.next + 1, scale.keys - 1));
    // Only keys with a rounded magnitude may stand for several.
    const std::int64_t rounded = simd::mark_rounded(row.x, scale.shift, work.near, row.n);
    const bool few = rounded < row.n / 8;
    std::memset(work.settled, few ? 1 : 0, scale.keys);
    if (few) for_each_mark(work.near, row.n, [&work](std::int64_t i) { work.settled[work.keys[i]] = 0; });
  }
  to_places(work.next, scale.keys);
  const std::uint32_t* const limits = limits_.data();
  for (std::int64_t i = 0; i < row.n; ++i) {
    const std::uint32_t rank = work.next[work.keys[i]]++;
    work.ranks[i] = rank;
    work.tagged[i] = limits[rank];
  }
  simd::decide_by_rank(work.ranks, row.random, {certain_from_, margin}, work.tagged, row.marks, work.near, row.n);
  for (std::int64_t i = 0; i < row.n; ++i) work.order[work.ranks[i]] = work.tagged[i];
  if (!shared) return;
  if (settle == Settle::kAll) {
    for (std::uint32_t key = 1; key < scale.keys; ++key) settle_key(row, key);
    return;
  }
  for_each_mark(work.near, row.n, [this, &row, &work](std::int64_t i) { settle_key(row, work.keys[i]); });
  // Keys with ranks of two groups.
  for (const std::int64_t end : group_ends_) {
    if (end > 0 && end < row.n) settle_key(row, work.keys[work.order[end] & ~simd::kDrawnFlag]);
  }
}

// Puts the elements of a key into the order of their ranks and decides them again.
void RankDraw::settle_key(const Row& row, std::uint32_t key) const noexcept {
  const Work& work = row.work;
  if (key == 0 || work.settled[key] != 0) return;
  work.settled[key] = 1;
  const std::uint32_t begin = work.next[key - 1];
  const std::uint32_t end = work.next[key];
  bool in_order = true;
  for (std::uint32_t r = begin; r < end; ++r) {
    const std::uint32_t i = work.order[r] & ~simd::kDrawnFlag;
    work.sorted[r] = sort_key(row.x[i], i);
    in_order = in_order && (r == begin || work.sorted[r - 1] < work.sorted[r]);
  }
  if (in_order) return;
  sort_keys(work.sorted + begin, work.sorted + end);
  for (std::uint32_t rank = begin; rank < end; ++rank) put(row, rank, static_cast<std::uint32_t>(work.sorted[rank]));
}

}  // namespace crucible
