// MagPrune's keep probabilities (DELLA, arXiv 2406.11617), as mergekit spaces them and saturating where they leave [0, 1].
#pragma once

#include <cstdint>

#include "methods/measure.h"

namespace crucible {

// The tenth of the magnitude ranks that a rank of n falls into, and the first rank of a tenth.
inline int decile_of(std::int64_t rank, std::int64_t n) noexcept { return static_cast<int>(rank * kDeciles / n); }
inline std::int64_t decile_begin(int decile, std::int64_t n) noexcept { return (decile * n + kDeciles - 1) / kDeciles; }

// p(r) = clamp(center - epsilon + 2 epsilon r / (n - 1), 0, 1) for magnitude ranks r = 0 (smallest) .. n - 1, with `center` solved so
// that the mean of p over the n ranks is exactly the density. center = density as long as density +- epsilon stays inside [0, 1].
// A row of one element is kept with probability density.
class KeepRamp {
 public:
  KeepRamp(double density, double epsilon, std::int64_t n);

  double center() const noexcept { return center_; }
  std::int64_t size() const noexcept { return n_; }
  double probability(std::int64_t rank) const noexcept;
  // Over the ranks from `begin` to before `end`: the sum of p, and that of p (1 - p).
  struct Moments {
    double mean = 0;
    double variance = 0;
  };
  Moments moments(std::int64_t begin, std::int64_t end) const noexcept;
  // The number below which a 32-bit random number keeps the element.
  std::uint64_t threshold(std::int64_t rank) const noexcept { return static_cast<std::uint64_t>(probability(rank) * 4294967296.0); }
  // Share of the ranks with p = 1 and with p = 0.
  double share_always_kept() const noexcept;
  double share_never_kept() const noexcept;

 private:
  double mean_at(double center) const noexcept;

  double density_;
  double epsilon_;
  std::int64_t n_;
  double center_;
};

}  // namespace crucible
