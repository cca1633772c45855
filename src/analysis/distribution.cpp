#include "analysis/distribution.h"

#include <algorithm>
#include <cmath>

namespace crucible {
namespace {

constexpr std::uint8_t kNoSlot = 255;
constexpr int kLanes = 8;

// Sums term(i) in fixed lanes.
template <class Term>
double lane_sum(std::int64_t n, const Term& term) noexcept {
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) lanes[k] += term(i + k);
  }
  for (int k = 0; i + k < n; ++k) lanes[k] += term(i + k);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

}  // namespace

void Moments::add(const Moments& o) noexcept {
  if (o.n == 0) return;
  if (n == 0) {
    *this = o;
    return;
  }
  const double na = static_cast<double>(n), nb = static_cast<double>(o.n), total = na + nb;
  const double d = o.mean - mean, d_n = d / total;
  const double m4_ab = d * d_n * d_n * d_n * na * nb * (na * na - na * nb + nb * nb) + 6 * d_n * d_n * (na * na * o.m2 + nb * nb * m2) +
                       4 * d_n * (na * o.m3 - nb * m3);
  const double m3_ab = d * d_n * d_n * na * nb * (na - nb) + 3 * d_n * (na * o.m2 - nb * m2);
  m4 += o.m4 + m4_ab;
  m3 += o.m3 + m3_ab;
  m2 += o.m2 + d * d_n * na * nb;
  mean += d_n * nb;
  n += o.n;
}

double Moments::deviation() const noexcept { return n > 0 ? std::sqrt(m2 / static_cast<double>(n)) : 0; }

double Moments::skewness() const noexcept { return m2 > 0 ? std::sqrt(static_cast<double>(n)) * m3 / std::pow(m2, 1.5) : 0; }

double Moments::excess_kurtosis() const noexcept { return m2 > 0 ? static_cast<double>(n) * m4 / (m2 * m2) - 3 : 0; }

Moments moments_of(const float* x, std::int64_t n) noexcept {
  Moments m;
  if (n == 0) return m;
  m.n = n;
  m.mean = lane_sum(n, [x](std::int64_t i) { return static_cast<double>(x[i]); }) / static_cast<double>(n);
  double s2[kLanes] = {}, s3[kLanes] = {}, s4[kLanes] = {};
  const auto add = [&](std::int64_t i, int k) {
    const double d = static_cast<double>(x[i]) - m.mean, d2 = d * d;
    s2[k] += d2;
    s3[k] += d2 * d;
    s4[k] += d2 * d2;
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) add(i + k, k);
  }
  for (int k = 0; i + k < n; ++k) add(i + k, k);
  const auto fold = [](const double* s) { return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])); };
  m.m2 = fold(s2);
  m.m3 = fold(s3);
  m.m4 = fold(s4);
  return m;
}

void count_keys(const float* x, std::int64_t n, SortBy by, std::uint64_t* packed) noexcept {
  constexpr std::uint64_t kOne = std::uint64_t{1} << kCountShift;
  if (by == SortBy::kMagnitude) {
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint32_t key = sort_key(x[i], SortBy::kMagnitude);
      packed[key >> 16] += kOne + (key & 0xFFFFu);
    }
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint32_t key = sort_key(x[i], SortBy::kValue);
      packed[key >> 16] += kOne + (key & 0xFFFFu);
    }
  }
}

void Distribution::add_coarse(const std::uint64_t* packed) {
  constexpr std::uint64_t kLow = (std::uint64_t{1} << kCountShift) - 1;
  coarse_.resize(kKeyBuckets);
  low_sums_.resize(kKeyBuckets);
  for (std::size_t i = 0; i < kKeyBuckets; ++i) {
    coarse_[i] += packed[i] >> kCountShift;
    low_sums_[i] += packed[i] & kLow;
  }
}

bool Distribution::seal_coarse() {
  total_ = 0;
  for (const std::uint64_t c : coarse_) total_ += static_cast<std::int64_t>(c);
  if (total_ == 0) return false;
  slot_of_.assign(kKeyBuckets, kNoSlot);
  for (const double q : quantiles_) {
    const auto wanted = static_cast<std::int64_t>(std::ceil(q * static_cast<double>(total_))) - 1;
    const std::int64_t rank = std::clamp<std::int64_t>(wanted, 0, total_ - 1);
    std::int64_t below = 0;
    std::uint32_t bucket = 0;
    while (below + static_cast<std::int64_t>(coarse_[bucket]) <= rank) below += static_cast<std::int64_t>(coarse_[bucket++]);
    Target t{bucket, rank - below, -1};
    // Where all lower halves are zero (or all ones, in negative keys), as in bfloat16, the bucket is one number.
    if (low_sums_[bucket] == 0xFFFFu * coarse_[bucket]) {
      t.low = 0xFFFFu;
    } else if (low_sums_[bucket] != 0) {
      if (slot_of_[bucket] == kNoSlot) {
        slot_of_[bucket] = static_cast<std::uint8_t>(wanted_.size());
        wanted_.push_back(bucket);
      }
      t.slot = slot_of_[bucket];
    }
    targets_.push_back(t);
  }
  if (!wanted_.empty()) {
    fine_.assign(wanted_.size() * kKeyBuckets, 0);
    return true;
  }
  seal_fine();
  return false;
}

void Distribution::count_fine(const float* x, std::int64_t n, std::uint32_t* counts) const noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t key = sort_key(x[i], by_);
    const std::uint8_t slot = slot_of_[key >> 16];
    if (slot != kNoSlot) ++counts[slot * static_cast<std::size_t>(kKeyBuckets) + (key & 0xFFFFu)];
  }
}

void Distribution::add_fine(const std::uint32_t* counts) {
  for (std::size_t i = 0; i < fine_.size(); ++i) fine_[i] += counts[i];
}

void Distribution::seal_fine() {
  for (const Target& t : targets_) {
    std::uint32_t low = t.low;
    if (t.slot >= 0) {
      low = 0;
      const std::uint64_t* counts = fine_.data() + static_cast<std::size_t>(t.slot) * kKeyBuckets;
      std::int64_t below = 0;
      while (low + 1 < kKeyBuckets && below + static_cast<std::int64_t>(counts[low]) <= t.rank_inside) {
        below += static_cast<std::int64_t>(counts[low++]);
      }
    }
    values_.push_back(static_cast<double>(key_value((t.bucket << 16) | low, by_)));
  }
  fine_ = {};
}

std::vector<Distribution::Held> Distribution::held_by_largest(std::span<const double> densities) const {
  std::vector<Held> all(densities.size());
  if (total_ == 0) return all;
  // Densities ascend, so one walk from the top serves all.
  std::size_t next = 0;
  std::int64_t taken = 0;
  Held sum;
  const auto take_of = [&](std::size_t i) { return std::llround(densities[i] * static_cast<double>(total_)); };
  for (std::int64_t b = kKeyBuckets - 1; b >= 0 && next < densities.size(); --b) {
    const auto bucket = static_cast<std::size_t>(b);
    const auto here = static_cast<std::int64_t>(coarse_[bucket]);
    if (here == 0) continue;
    const auto key = static_cast<std::uint32_t>(bucket << 16);
    // The lowest bit of such a key is always zero.
    const double low = static_cast<double>(key_value(key, by_)), high = static_cast<double>(key_value(key | 0xFFFEu, by_));
    const double mean = low + (high - low) / 65534.0 * static_cast<double>(low_sums_[bucket]) / static_cast<double>(here);
    while (next < densities.size() && take_of(next) <= taken + here) {
      const double inside = static_cast<double>(take_of(next) - taken);
      all[next++] = {sum.l1 + inside * mean, sum.l2 + inside * mean * mean};
    }
    taken += here;
    sum.l1 += static_cast<double>(here) * mean;
    sum.l2 += static_cast<double>(here) * mean * mean;
  }
  for (; next < densities.size(); ++next) all[next] = sum;
  return all;
}

}  // namespace crucible
