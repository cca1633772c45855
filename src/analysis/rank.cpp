#include "analysis/rank.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "simd/ops.h"

namespace crucible {
namespace {

constexpr int kMostIterations = 200;
constexpr double kSettled = 1e-5;  // relative change of the estimate from one iteration to the next

// The largest squared singular value, from below.
double largest_square(const std::vector<float>& w, std::int64_t rows, std::int64_t columns) {
  const auto side = static_cast<std::size_t>(columns);
  std::vector<float> v(side);
  std::vector<double> next(side);
  // Any start that is not orthogonal to the first singular vector; a mix of signs and sizes is orthogonal to none in practice.
  std::uint64_t state = 0x9E3779B97F4A7C15u;
  for (float& x : v) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x = static_cast<float>(static_cast<double>(state >> 40) / 16777216.0 - 0.5);
  }
  double before = 0;
  for (int i = 0; i < kMostIterations; ++i) {
    const double norm = std::sqrt(simd::sum_squares(v.data(), columns));
    if (norm == 0) return before;
    simd::scale(v.data(), 1 / norm, v.data(), columns);
    std::fill(next.begin(), next.end(), 0.0);
    double square = 0;  // ||W v||^2
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* row = w.data() + r * columns;
      const double y = simd::dot(row, v.data(), columns);
      square += y * y;
      for (std::size_t c = 0; c < side; ++c) next[c] += y * static_cast<double>(row[c]);
    }
    double largest = 0;
    for (const double x : next) largest = std::max(largest, std::abs(x));
    if (largest == 0) return square;
    for (std::size_t c = 0; c < side; ++c) v[c] = static_cast<float>(next[c] / largest);
    if (i > 0 && square <= before * (1 + kSettled)) return std::max(square, before);
    before = square;
  }
  return before;
}

std::vector<double> gram_of_rows(const std::vector<float>& w, std::int64_t rows, std::int64_t columns) {
  std::vector<double> gram(static_cast<std::size_t>(rows * rows));
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      const double d = simd::dot(w.data() + i * columns, w.data() + j * columns, columns);
      gram[static_cast<std::size_t>(i * rows + j)] = gram[static_cast<std::size_t>(j * rows + i)] = d;
    }
  }
  return gram;
}

void transpose(std::vector<float>& w, std::int64_t rows, std::int64_t columns) {
  std::vector<float> out(w.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) out[static_cast<std::size_t>(c * rows + r)] = w[static_cast<std::size_t>(r * columns + c)];
  }
  w = std::move(out);
}

// Eigenvalues below x of a tridiagonal matrix: the signs of the pivots of its shifted factorisation (Sturm).
std::int64_t count_below(const std::vector<double>& d, const std::vector<double>& e, double x) {
  std::int64_t count = 0;
  double pivot = 1;
  for (std::size_t i = 0; i < d.size(); ++i) {
    const double off = i == 0 ? 0 : e[i - 1];
    pivot = d[i] - x - (i == 0 ? 0 : off * off / pivot);
    if (pivot == 0) pivot = -std::numeric_limits<double>::min();
    count += pivot < 0;
  }
  return count;
}

}  // namespace

std::vector<double> symmetric_eigenvalues(std::vector<double>& a, std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  std::vector<double> d(n), e(n > 0 ? n - 1 : 0), v(n), p(n);
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return a[i * n + j]; };
  for (std::size_t k = 0; k + 2 < n; ++k) {
    double norm = 0;
    for (std::size_t i = k + 1; i < n; ++i) norm += at(i, k) * at(i, k);
    norm = std::sqrt(norm);
    const double alpha = at(k + 1, k) > 0 ? -norm : norm;
    e[k] = alpha;
    for (std::size_t i = k + 1; i < n; ++i) v[i] = at(i, k);
    v[k + 1] -= alpha;
    double vv = 0;
    for (std::size_t i = k + 1; i < n; ++i) vv += v[i] * v[i];
    if (vv == 0) continue;
    const double beta = 2 / vv;
    double vp = 0;
    for (std::size_t i = k + 1; i < n; ++i) {
      double sum = 0;
      for (std::size_t j = k + 1; j < n; ++j) sum += at(i, j) * v[j];
      p[i] = beta * sum;
      vp += v[i] * p[i];
    }
    const double half = beta / 2 * vp;
    for (std::size_t i = k + 1; i < n; ++i) p[i] -= half * v[i];
    for (std::size_t i = k + 1; i < n; ++i) {
      for (std::size_t j = k + 1; j < n; ++j) at(i, j) -= v[i] * p[j] + p[i] * v[j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) d[i] = at(i, i);
  if (n > 1) e[n - 2] = at(n - 1, n - 2);
  double reach = 0;
  for (std::size_t i = 0; i < n; ++i) {
    reach = std::max(reach, std::abs(d[i]) + (i > 0 ? std::abs(e[i - 1]) : 0) + (i + 1 < n ? std::abs(e[i]) : 0));
  }
  std::vector<double> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    double low = i > 0 ? values[i - 1] : -reach, high = reach;
    while (high - low > 1e-14 * reach) {
      const double middle = low + (high - low) / 2;
      if (middle == low || middle == high) break;
      (count_below(d, e, middle) > static_cast<std::int64_t>(i) ? high : low) = middle;
    }
    values[i] = low + (high - low) / 2;
  }
  return values;
}

RankFacts rank_of(std::vector<float>& w, std::int64_t rows, std::int64_t columns) {
  RankFacts facts;
  const double frobenius = simd::sum_squares(w.data(), rows * columns);
  if (frobenius == 0) return facts;
  const std::int64_t side = std::min(rows, columns);
  if (side > kMaxGramSide) {
    facts.stable = std::clamp(frobenius / largest_square(w, rows, columns), 1.0, static_cast<double>(side));
    return facts;
  }
  if (columns < rows) transpose(w, rows, columns);
  std::vector<double> gram = gram_of_rows(w, side, std::max(rows, columns));
  std::vector<double> squares = symmetric_eigenvalues(gram, side);
  double sum = 0, total = 0;
  for (double& s : squares) {
    // Below this, squares are rounding of the Gram matrix.
    if (s < 1e-13 * squares.back()) s = 0;
    sum += std::sqrt(s);
    total += s;
  }
  double entropy = 0, held = 0;
  std::int64_t count = 0;
  for (std::size_t i = squares.size(); i-- > 0;) {
    const double p = std::sqrt(squares[i]) / sum;
    if (p > 0) entropy -= p * std::log(p);
    if (held < 0.9 * total * (1 - 1e-12)) {
      held += squares[i];
      ++count;
    }
  }
  facts.stable = total / squares.back();
  facts.effective = std::exp(entropy);
  facts.rank_90 = count;
  return facts;
}

}  // namespace crucible
