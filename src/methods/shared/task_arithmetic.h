// Generalised task arithmetic: eight methods, one design.
//
//   delta_i = x_i - base                        task vectors
//   d_i     = sparsify(delta_i) * s_i           s_i restores the L1 norm of delta_i, or is 1
//   W_i     = w_i * d_i                         weights
//   m       = sum_i W_i                         or, with sign election, the sum over the models on the winning side
//   m       = m / (sum of the weights)          where normalize says so (with election: of the winners, element by element)
//   out     = base + lambda * m
//
// A method of the family states which parameters it has, how it sparsifies, and whether it elects signs.
#pragma once

#include <memory>
#include <vector>

#include "methods/method.h"
#include "methods/shared/sparsifier.h"

namespace crucible::task_arithmetic {

enum class Rescale { kL1, kNone, kPerElement };
enum class RankScope { kRow, kTensor };
enum class TrimScope { kTensor, kModel };
enum class Elect { kMergekit, kPaper };

// The parameters of the whole family; a method picks those that it uses.
struct Global {
  bool normalize = false;
  double lambda = 1.0;
  Rescale rescale = Rescale::kNone;
  RankScope rank_scope = RankScope::kRow;
  TrimScope trim_scope = TrimScope::kTensor;
  Elect elect = Elect::kMergekit;
};
struct Model {
  double weight = 1.0;
  double density = 1.0;
  double gamma = 0.01;
  double epsilon = 0.15;
  double window = 0.30;
};

// Their declarations, one place for all methods.
Field normalize_field(bool default_value);
Field lambda_field();
Field rescale_field(Rescale default_value, bool per_element_exists);
Field rank_scope_field(RankScope default_value);
Field trim_scope_field();
Field elect_field();
Field weight_field();
Field density_field();
Field gamma_field();
Field epsilon_field();
Field window_field();

enum class Election { kNone, kBySum };

// Makes one model's sparsifier from its parameters.
using MakeSparsifier = std::unique_ptr<Sparsifier> (*)(const KernelSpec& spec, std::size_t model, Rescale rescale);

struct Design {
  Election election = Election::kNone;
  MakeSparsifier sparsify = nullptr;  // null: all entries are kept
};

std::unique_ptr<Kernel> make_kernel(const KernelSpec& spec, const Design& design);

// A sum of weights below this divides nothing (without election; as in mergekit).
inline constexpr double kNoDivisor = 1e-8;

}  // namespace crucible::task_arithmetic
