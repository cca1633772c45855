#include "tensor/ranks.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "simd/select.h"
#include "tensor/selection.h"

namespace crucible {
namespace {

constexpr std::int64_t kWord = 64;

// Keys of a row: about one for two to four elements that differ.
std::uint32_t key_limit(std::int64_t row) noexcept {
  return std::bit_floor(static_cast<std::uint32_t>(std::clamp<std::int64_t>(row, 64, 1 << 15)));
}

}  // namespace

// Where the parts of the work memory lie.
struct RankDraw::Work {
  std::uint64_t* sorted;    // magnitude above, index below, of the elements of one key
  std::uint32_t* order;     // by rank: the element
  std::uint32_t* doubtful;  // ranks near their threshold
  std::uint32_t* next;      // by key: the next place; after the walk, the end of the key's places
  std::uint16_t* keys;      // by element
  std::uint8_t* drawn;      // by rank: is it drawn?
  std::uint8_t* settled;    // by key: are its elements in the order of their ranks?

  static std::int64_t bytes(std::int64_t n) noexcept {
    const auto keys = static_cast<std::int64_t>(key_limit(n));
    return n * 8 + n * 4 + n * 4 + keys * 4 + n * 2 + n + keys + 8;
  }
  Work(std::byte* memory, std::int64_t n) noexcept {
    const auto take = [&memory]<typename T>(T*& part, std::int64_t count) {
      part = reinterpret_cast<T*>(memory);
      memory += static_cast<std::size_t>(count) * sizeof(T);
    };
    const auto keys_at_most = static_cast<std::int64_t>(key_limit(n));
    take(sorted, n);
    take(order, n);
    take(doubtful, n);
    take(next, keys_at_most);
    take(keys, n);
    take(drawn, n);
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
  draw_row({row, random, marks, n, Work(work, n)}, Settle::kDoubtful, drawn_in);
}

const std::uint32_t* RankDraw::draw_in_order(const float* row, const std::uint32_t* random, std::uint64_t* marks, std::int64_t* drawn_in,
                                             std::byte* work) const noexcept {
  const auto n = std::ssize(limits_);
  const Row all{row, random, marks, n, Work(work, n)};
  draw_row(all, Settle::kAll, drawn_in);
  return all.work.order;
}

bool RankDraw::is_drawn(std::uint32_t random, std::uint32_t rank) const noexcept { return random < limits_[rank] || rank >= certain_from_; }

// No two thresholds of so many ranks in a row are further apart. One more, for the threshold that its limit is one short of.
std::uint32_t RankDraw::margin_of(std::uint32_t elements) const noexcept {
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 31;
  return static_cast<std::uint32_t>(std::min(elements * std::min(steepest_, kHalf) + 1, kHalf));
}

void RankDraw::draw_row(const Row& row, Settle settle, std::int64_t* drawn_in) const noexcept {
  const Work& work = row.work;
  bool shared = false;
  std::uint32_t fullest = 0;
  const std::uint32_t used = count_keys(row, shared, fullest);
  if (!shared) {
    // Every place is a rank.
    settle == Settle::kAll ? place<true>(row, 0) : place<false>(row, 0);
  } else {
    std::memset(work.settled, 0, used);
    work.settled[0] = 1;  // zeros only
    const std::int64_t doubtful = place<true>(row, margin_of(fullest));
    if (settle == Settle::kAll) {
      for (std::uint32_t key = 1; key < used; ++key) settle_key(row, key);
    }
    for (std::int64_t k = 0; k < doubtful; ++k) settle_key(row, work.keys[work.order[work.doubtful[k]]]);
    // A key with ranks of two groups.
    for (const std::int64_t end : group_ends_) {
      if (end > 0 && end < row.n) settle_key(row, work.keys[work.order[end]]);
    }
  }
  std::int64_t begin = 0;
  for (std::size_t g = 0; g < group_ends_.size(); ++g) {
    drawn_in[g] += simd::count_flags(work.drawn + begin, group_ends_[g] - begin);
    begin = group_ends_[g];
  }
}

// Counts the elements of each key and turns the counts into first places. Returns the number of keys.
std::uint32_t RankDraw::count_keys(const Row& row, bool& shared, std::uint32_t& fullest) const noexcept {
  const Work& work = row.work;
  const std::uint32_t limit = key_limit(row.n);
  const simd::MagnitudeRange range = simd::magnitude_range(row.x, row.n);
  const std::uint32_t smallest = std::min(range.smallest, range.largest);
  int shift = 0;
  while ((range.largest >> shift) - (smallest >> shift) + 2 > limit) ++shift;
  shared = simd::magnitude_keys(row.x, shift, smallest >> shift, work.keys, row.n);
  const std::uint32_t used = (range.largest >> shift) - (smallest >> shift) + 2;

  std::memset(work.next, 0, used * sizeof(std::uint32_t));
  for (std::int64_t i = 0; i < row.n; ++i) ++work.next[work.keys[i]];
  std::uint32_t place = work.next[0];
  work.next[0] = 0;
  fullest = 0;
  for (std::uint32_t key = 1; key < used; ++key) {
    const std::uint32_t here = work.next[key];
    work.next[key] = place;
    place += here;
    fullest = std::max(fullest, here);
  }
  return used;
}

// Gives each element its place and decides by it. Where the order is wanted, also lists the places whose random number is within `margin`
// of their limit, and returns how many they are.
template <bool kInOrder>
std::int64_t RankDraw::place(const Row& row, std::uint32_t margin) const noexcept {
  const Work work = row.work;  // on the stack, where no store through a pointer can change it
  const std::uint32_t* const randoms = row.random;
  const std::uint32_t* const limits = limits_.data();
  const std::uint32_t certain_from = certain_from_;
  const std::uint32_t width = 2 * margin - (margin == std::uint32_t{1} << 31 ? 1 : 0);
  std::int64_t doubtful = 0;
  for (std::int64_t at = 0; at < row.n; at += kWord) {
    const std::int64_t m = std::min(kWord, row.n - at);
    std::uint64_t word = 0;
    for (std::int64_t k = 0; k < m; ++k) {
      const std::int64_t i = at + k;
      const std::uint32_t rank = work.next[work.keys[i]]++;
      const std::uint32_t random = randoms[i];
      const std::uint32_t limit = limits[rank];
      const bool drawn = (random < limit) | (rank >= certain_from);
      word |= std::uint64_t{drawn} << k;
      work.drawn[rank] = drawn;
      if constexpr (kInOrder) {
        work.order[rank] = static_cast<std::uint32_t>(i);
        work.doubtful[doubtful] = rank;
        doubtful += random - limit + margin <= width ? 1 : 0;
      }
    }
    row.marks[at / kWord] = word;
  }
  return doubtful;
}

// Puts the elements of a key into the order of their ranks and decides them again.
void RankDraw::settle_key(const Row& row, std::uint32_t key) const noexcept {
  const Work& work = row.work;
  if (work.settled[key] != 0) return;
  work.settled[key] = 1;
  const std::uint32_t begin = work.next[key - 1];
  const std::uint32_t end = work.next[key];
  bool in_order = true;
  for (std::uint32_t r = begin; r < end; ++r) {
    const std::uint32_t i = work.order[r];
    work.sorted[r] = std::uint64_t{magnitude_bits(row.x[i])} << 32 | i;
    in_order = in_order && (r == begin || work.sorted[r - 1] < work.sorted[r]);
  }
  if (in_order) return;
  constexpr std::uint32_t kFew = 24;
  if (end - begin > kFew) {
    std::sort(work.sorted + begin, work.sorted + end);
  } else {
    for (std::uint32_t r = begin + 1; r < end; ++r) {
      const std::uint64_t here = work.sorted[r];
      std::uint32_t k = r;
      for (; k > begin && work.sorted[k - 1] > here; --k) work.sorted[k] = work.sorted[k - 1];
      work.sorted[k] = here;
    }
  }
  for (std::uint32_t rank = begin; rank < end; ++rank) {
    const auto i = static_cast<std::uint32_t>(work.sorted[rank]);
    const bool drawn = is_drawn(row.random[i], rank);
    const std::uint64_t bit = std::uint64_t{1} << (i % kWord);
    std::uint64_t& word = row.marks[i / kWord];
    word = drawn ? word | bit : word & ~bit;
    work.order[rank] = i;
    work.drawn[rank] = drawn ? 1 : 0;
  }
}

}  // namespace crucible
