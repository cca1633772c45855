// What the output of a method with random masks says about them.
//
// Of n models, each element of the output is base + f(the subset of models whose task vector was kept there). All 2^n subsets are
// tried; a subset is likely where its value agrees with the stored one within the rounding. With the keep rates by magnitude and the
// scale of each model and tensor, which are estimated along with them, this is a mixture whose likelihood is maximised (EM, then steps by
// Fisher's scores). What cannot be told (a task vector below the rounding, a loser of a sign election) adds no information, and the
// standard errors say so.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "audit/foreign_parts.h"
#include "methods/shared/task_arithmetic.h"

namespace crucible::foreign {

inline constexpr int kTenths = 10;
inline constexpr std::size_t kMostModels = 6;

// Sampled rows of one tensor.
struct Block {
  std::size_t job = 0;
  bool whole = false;  // all rows of the tensor
  DType working = DType::kF32;
  DType stored = DType::kF32;
  std::size_t elems = 0;
  std::vector<float> base, out;
  std::vector<std::vector<float>> delta;         // by model
  std::vector<std::vector<float>> rho;           // magnitude rank in the row, 0 to 1
  std::vector<std::vector<std::uint8_t>> tenth;  // of the ranks
  std::vector<int> group;                        // by model: whose keep rates
};

// How the method combines, for one block: as asked, or with one parameter at its neutral value.
struct Combine {
  std::vector<double> weight;
  std::vector<double> density, epsilon;  // what the scale is expected to come from
  double lambda = 1;
  bool normalize = false;
  bool elects = false;
  task_arithmetic::Rescale rescale = task_arithmetic::Rescale::kNone;
};

// Keep rates of one group (models with the same density and epsilon) by tenth of the magnitudes.
struct GroupRates {
  std::array<double, kTenths> rate{}, error{}, rho{};
  std::array<std::int64_t, kTenths> elems{};
};

struct MaskFit {
  double likelihood = 0;  // logarithm
  double explained = 0;   // share of the informative elements that some subset explains
  std::int64_t informative = 0;
  std::vector<GroupRates> groups;
};

// `combine` by block. `starts`: density that each group is asked for.
MaskFit fit_masks(const std::vector<Block>& blocks, const std::vector<Combine>& combine, const std::vector<double>& starts);

}  // namespace crucible::foreign
