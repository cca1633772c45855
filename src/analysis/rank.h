// How many directions a matrix really uses.
//
//   stable rank      ||W||_F^2 / ||W||_2^2: 1 for an outer product, min(rows, columns) for a multiple of an orthogonal matrix
//   effective rank   exp(-sum p ln p), p = s_i / sum s over the singular values s_i (Roy and Vetterli, 2007)
//   rank_90          how many of the largest singular values hold 90 % of the sum of their squares
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace crucible {

struct RankFacts {
  double stable = 0;  // exact with the effective rank, else by power iteration, which errs upwards, by less than 1 % as a rule
  std::optional<double> effective;      // where the shorter side is at most kMaxGramSide
  std::optional<std::int64_t> rank_90;  // the same
};

inline constexpr std::int64_t kMaxGramSide = 512;
// Elements of a matrix that is looked at.
inline constexpr std::int64_t kMaxRankElems = std::int64_t{1} << 26;

// Of a row-major matrix of finite numbers; all zero where it is. May write to `w`.
RankFacts rank_of(std::vector<float>& w, std::int64_t rows, std::int64_t columns);

// Eigenvalues of a symmetric matrix (row-major, n x n, overwritten), ascending: Householder's tridiagonal form, then bisection.
std::vector<double> symmetric_eigenvalues(std::vector<double>& a, std::int64_t n);

}  // namespace crucible
