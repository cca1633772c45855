#include "methods/shared/keep_ramp.h"

#include <algorithm>
#include <cmath>

namespace crucible {
namespace {

struct Counts {
  std::int64_t zero;  // ranks with p = 0: the first ones
  std::int64_t one;   // ranks with p = 1: the last ones
};

Counts saturated(double center, double epsilon, std::int64_t n) {
  const double step = 2 * epsilon / static_cast<double>(n - 1);
  const double first = center - epsilon;
  const auto clamp_count = [n](double v) { return static_cast<std::int64_t>(std::clamp(v, 0.0, static_cast<double>(n))); };
  // p(r) <= 0 for r <= -first / step; p(r) >= 1 for r >= (1 - first) / step.
  const std::int64_t zero = clamp_count(std::floor(-first / step) + 1);
  const std::int64_t below_one = clamp_count(std::ceil((1 - first) / step));
  return {zero, n - below_one};
}

}  // namespace

KeepRamp::KeepRamp(double density, double epsilon, std::int64_t n) : density_(density), epsilon_(epsilon), n_(n), center_(density) {
  const bool inside = density - epsilon >= 0 && density + epsilon <= 1;
  if (inside || n < 2 || epsilon == 0) return;
  if (density <= 0 || density >= 1) {
    center_ = density >= 1 ? 1 + epsilon : -epsilon;  // the whole line lies outside (0, 1)
    return;
  }
  double low = -epsilon;
  double high = 1 + epsilon;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    (mean_at(middle) < density ? low : high) = middle;
  }
  // Between two changes of the saturated counts the mean is linear in the center: solve that piece exactly.
  const Counts s = saturated(high, epsilon, n);
  const std::int64_t free = n - s.zero - s.one;
  center_ = high;
  if (free > 0) {
    const double step = 2 * epsilon / static_cast<double>(n - 1);
    const double rank_sum = (static_cast<double>(s.zero) + static_cast<double>(n - s.one - 1)) / 2 * static_cast<double>(free);
    center_ = (density * static_cast<double>(n) - static_cast<double>(s.one) - step * rank_sum) / static_cast<double>(free) + epsilon;
  }
}

double KeepRamp::mean_at(double center) const noexcept {
  const Counts s = saturated(center, epsilon_, n_);
  const std::int64_t free = n_ - s.zero - s.one;
  if (free <= 0) return static_cast<double>(s.one) / static_cast<double>(n_);
  const double step = 2 * epsilon_ / static_cast<double>(n_ - 1);
  const double rank_sum = (static_cast<double>(s.zero) + static_cast<double>(n_ - s.one - 1)) / 2 * static_cast<double>(free);
  return (static_cast<double>(s.one) + (center - epsilon_) * static_cast<double>(free) + step * rank_sum) / static_cast<double>(n_);
}

double KeepRamp::probability(std::int64_t rank) const noexcept {
  if (n_ < 2) return std::clamp(density_, 0.0, 1.0);
  const double rho = static_cast<double>(rank) / static_cast<double>(n_ - 1);
  return std::clamp(center_ - epsilon_ + 2 * epsilon_ * rho, 0.0, 1.0);
}

KeepRamp::Moments KeepRamp::moments(std::int64_t begin, std::int64_t end) const noexcept {
  Moments m;
  if (n_ < 2 || epsilon_ == 0) {
    const double p = probability(0);
    m.mean = p * static_cast<double>(end - begin);
    m.variance = m.mean * (1 - p);
    return m;
  }
  const Counts s = saturated(center_, epsilon_, n_);
  // Between the ranks of p = 0 and those of p = 1 the ramp is a line: p = p0 + k * step for k = 0 .. count - 1.
  const std::int64_t from = std::clamp(s.zero, begin, end), to = std::clamp(n_ - s.one, from, end);
  const auto count = static_cast<double>(to - from);
  m.mean = static_cast<double>(end - to);
  if (count <= 0) return m;
  const double step = 2 * epsilon_ / static_cast<double>(n_ - 1);
  const double p0 = center_ - epsilon_ + step * static_cast<double>(from);
  const double first = (count - 1) * count / 2, second = (count - 1) * count * (2 * count - 1) / 6;
  const double sum = p0 * count + step * first;
  m.mean += sum;
  m.variance = std::max(0.0, sum - (p0 * p0 * count + 2 * p0 * step * first + step * step * second));
  return m;
}

double KeepRamp::share_always_kept() const noexcept {
  if (n_ < 2 || epsilon_ == 0) return center_ >= 1 ? 1 : 0;
  return static_cast<double>(saturated(center_, epsilon_, n_).one) / static_cast<double>(n_);
}

double KeepRamp::share_never_kept() const noexcept {
  if (n_ < 2 || epsilon_ == 0) return center_ <= 0 ? 1 : 0;
  return static_cast<double>(saturated(center_, epsilon_, n_).zero) / static_cast<double>(n_);
}

}  // namespace crucible
