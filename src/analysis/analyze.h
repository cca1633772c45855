// A base and models made from it, measured before a merge: the distribution of every tensor and of every task vector (model - base),
// and how the task vectors of the models lie to each other. Two streaming passes over each tensor, the second from the system's cache.
//
// Task vectors are the f32 differences that a merge works with. Elements that are not finite in one of the two count as not finite
// and take part in nothing else. All sums are f64.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/distribution.h"
#include "analysis/rank.h"
#include "analysis/stream.h"
#include "arch/layers.h"
#include "arch/roles.h"
#include "crucible/checkpoint.h"

namespace crucible {

// Quantiles of weights by value, of task vectors by magnitude.
inline constexpr std::array kWeightQuantiles = {0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999};
inline constexpr std::array kDeltaQuantiles = {0.5, 0.9, 0.99, 0.999};

// The densities at which it is told what the largest magnitudes of each tensor hold.
inline constexpr std::array kDensities = {0.01, 0.02, 0.05, 0.1,  0.15, 0.2,  0.25, 0.3,  0.35, 0.4,  0.45,
                                          0.5,  0.55, 0.6,  0.65, 0.7,  0.75, 0.8,  0.85, 0.9,  0.95, 1.0};
using HeldCurve = std::array<Distribution::Held, kDensities.size()>;

struct SeriesStats {
  Moments moments;
  std::int64_t nonfinite = 0, zeros = 0;
  double smallest = 0, largest = 0;          // by value
  double l1 = 0, l2 = 0;                     // sums of |x| and of x^2
  std::int64_t beyond_3 = 0, beyond_6 = 0;   // farther from the mean than 3 and 6 standard deviations
  std::int64_t below_10 = 0, below_100 = 0;  // |x| under a tenth and a hundredth of the root mean square
  std::vector<double> quantiles;             // empty without finite numbers
  std::int64_t rows = 0;                     // of tensors of two axes or more; 0 for others
  std::int64_t still_rows = 0;               // all zero; of a task vector: stored as in the base, value for value
  std::optional<RankFacts> rank;             // where asked, and the matrix is of a size for it

  double rms() const noexcept;
};

struct DeltaStats : SeriesStats {
  double base_l2 = 0;   // sum of base^2
  double dot_base = 0;  // <task vector, base>
  HeldCurve held{};

  double relative() const noexcept;  // ||task vector|| / ||base||
};

struct PairStats {
  double dot = 0, l2_first = 0, l2_second = 0;
  std::int64_t both = 0;   // elements that both models moved
  std::int64_t agree = 0;  // of those, in one direction

  void add(const PairStats& other) noexcept;
  double cosine() const noexcept;     // NaN where a task vector is zero
  double agreement() const noexcept;  // agree / both; NaN where both is 0
};

struct TensorStats {
  TensorInfo info;   // as in the first checkpoint that has it
  std::string role;  // its group
  std::optional<LayerName> layer;
  std::optional<SeriesStats> base;
  std::vector<std::optional<SeriesStats>> models;
  std::vector<std::optional<DeltaStats>> deltas;
  std::vector<std::optional<PairStats>> pairs;  // see pair_index
  std::int64_t conflicts = 0;                   // elements that models moved in both directions
  std::int64_t moved = 0;                       // elements that at least one model moved
};

// Of models first > second.
constexpr std::size_t pair_index(std::size_t first, std::size_t second) { return first * (first - 1) / 2 + second; }

// What adds up over tensors.
struct DeltaTotals {
  std::int64_t tensors = 0, equal_tensors = 0, elems = 0, zeros = 0, nonfinite = 0, beyond_6 = 0, below_10 = 0, below_100 = 0;
  double l1 = 0, l2 = 0, base_l2 = 0, dot_base = 0;
  HeldCurve held{};  // by the largest of each tensor

  void add(const DeltaStats& d) noexcept;
  double norm() const noexcept;
  double relative() const noexcept;
  double held_energy(std::size_t density) const noexcept;  // share of the sum of squares; 1 where that is zero
  double held_l1(std::size_t density) const noexcept;
};

struct GroupStats {
  std::string name;  // "all", a role, or "model.layers.3"
  std::int64_t elems = 0, conflicts = 0, moved = 0;
  std::vector<DeltaTotals> deltas;  // per model
  std::vector<PairStats> pairs;
};

struct Analysis {
  std::string base;
  std::vector<std::string> models;
  std::vector<TensorStats> tensors;  // sorted by name
  std::int64_t skipped = 0;          // tensors that are not of a real number type
  GroupStats all;
  std::vector<GroupStats> roles, layers;
};

enum class RankWish { kNo, kYes };
struct AnalyzeOptions {
  std::string pattern;  // of tensor names; empty = all
  RankWish rank = RankWish::kNo;
  StreamOptions stream;
};

// What does not fit together (missing tensors, other shapes) is a notice; such tensors have no task vector.
Analysis analyze_checkpoints(const Checkpoint& base, const std::vector<Checkpoint>& models, const AnalyzeOptions& options,
                             Diagnostics& diagnostics);

}  // namespace crucible
