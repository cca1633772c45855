// The methods that work with lengths and angles of whole vectors. All in long double, and on the vectors themselves: no Gram matrices,
// but for the projection, which is defined by one.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "support/reference_parts.h"

namespace crucible::test {
namespace {

using Real = long double;

// What f64 may lose of a scalar such as a cosine: its sums run over up to a million products.
constexpr double kNoise = 4e-15;
// One unit of `largest` in the comparison; an error of `relative` in all terms needs operands enlarged by this.
double enlarged(Real relative) { return 1 + static_cast<double>(relative) * 0x1p22; }

Real norm_of(const std::vector<double>& x, const Lines& lines, std::size_t line) {
  Real square = 0;
  for (std::size_t k = 0; k < lines.length; ++k)
    square += static_cast<Real>(x[lines.at(line, k)]) * static_cast<Real>(x[lines.at(line, k)]);
  return std::sqrt(square);
}
Real dot_of(const std::vector<double>& x, const std::vector<double>& y, const Lines& lines, std::size_t line) {
  Real sum = 0;
  for (std::size_t k = 0; k < lines.length; ++k) sum += static_cast<Real>(x[lines.at(line, k)]) * static_cast<Real>(y[lines.at(line, k)]);
  return sum;
}

// The vectors that a method works on: task vectors where there is a base, else the models.
std::vector<std::vector<double>> vectors_of(const MergeCase& merge) {
  std::vector<std::vector<double>> all;
  for (const auto& model : merge.models) {
    all.push_back(values_of(model));
    // Not rounded: angles between task vectors that nearly coincide live in their last digits.
    for (std::size_t i = 0; merge.base && i < model.size(); ++i) all.back()[i] -= static_cast<double>((*merge.base)[i]);
  }
  return all;
}
double base_at(const MergeCase& merge, std::size_t i) { return merge.base ? static_cast<double>((*merge.base)[i]) : 0.0; }

Expected copy_of(const MergeCase& merge, const std::vector<float>& x) {
  Expected e = blank(merge);
  for (std::size_t i = 0; i < x.size(); ++i) set(e, i, static_cast<double>(x[i]), 0);
  return e;
}

}  // namespace

Expected reference_nuslerp(const MergeCase& merge) {
  if (merge.models.size() == 1) return copy_of(merge, merge.models[0]);
  Expected e = blank(merge);
  const Real w0 = static_cast<Real>(number(merge.args_of(0), "weight", 1)), w1 = static_cast<Real>(number(merge.args_of(1), "weight", 1));
  const Real t = std::abs(w0 + w1) < 1e-6L ? 0.5L : w1 / (w0 + w1);
  const Lines lines = flag(merge.global, "nuslerp_flatten", true)     ? whole_tensor(merge)
                      : flag(merge.global, "nuslerp_row_wise", false) ? along_first_axis(merge)
                                                                      : along_last_axis(merge);
  const auto v = vectors_of(merge);
  for (std::size_t line = 0; line < lines.count; ++line) {
    const auto length = [&](std::size_t m) { return std::max(norm_of(v[m], lines, line), 1e-7L); };
    const Real cosine = std::clamp(dot_of(v[0], v[1], lines, line) / (length(0) * length(1)), -1.0L, 1.0L);
    const Real angle = std::acos(cosine), sine = std::sin(angle);
    Real a = 1 - t, b = t, lost = 0;
    if (sine >= 1e-6L) {
      a = std::sin((1 - t) * angle) / sine;
      b = std::sin(t * angle) / sine;
      // Nearly opposite vectors: their sum of terms that cancel has as few digits as the sine.
      if (cosine < 0) lost = static_cast<Real>(kNoise) / (sine * sine);
    }
    const bool open = cosine < 0 && std::abs(sine - 1e-6L) < 1e-8L;
    for (std::size_t k = 0; k < lines.length; ++k) {
      const std::size_t i = lines.at(line, k);
      const Real x = a * static_cast<Real>(v[0][i]), y = b * static_cast<Real>(v[1][i]);
      const double from = base_at(merge, i);
      set(e, i, static_cast<double>(static_cast<Real>(from) + x + y),
          std::max(std::abs(from), static_cast<double>(std::abs(x) + std::abs(y)) * enlarged(lost)));
      if (open) leave_open(e, i);
    }
  }
  return e;
}

Expected reference_multislerp(const MergeCase& merge) {
  if (merge.models.size() == 1) return copy_of(merge, merge.models[0]);
  Expected e = blank(merge);
  const Lines all = whole_tensor(merge);
  const Real eps = static_cast<Real>(number(merge.global, "eps", 1e-8));
  const auto v = vectors_of(merge);
  std::vector<Real> w, n;
  Real total = 0;
  for (std::size_t m = 0; m < v.size(); ++m) {
    w.push_back(static_cast<Real>(number(merge.args_of(m), "weight", 1)));
    n.push_back(norm_of(v[m], all, 0));
    total += w.back();
  }
  if (flag(merge.global, "normalize_weights", true)) {
    for (Real& x : w) x /= total;
  }
  Real square = 0, mean_length = 0, lengths = 0, terms = 0;
  for (std::size_t i = 0; i < e.value.size(); ++i) {
    Real sum = 0;
    for (std::size_t m = 0; m < v.size(); ++m) sum += w[m] * static_cast<Real>(v[m][i]) / (n[m] + eps);
    square += sum * sum;
  }
  for (std::size_t m = 0; m < v.size(); ++m) {
    mean_length += w[m] * n[m];
    lengths += std::abs(w[m]) * n[m];
    terms += n[m] > 0 ? std::abs(w[m]) * n[m] / (n[m] + eps) : 0;
  }
  const Real norm = std::sqrt(square);
  const bool short_sum = norm < eps;
  // Directions that cancel to seven digits: on which side of eps their sum is, is rounding.
  const bool open = norm < 1e-7L * terms || std::abs(norm - eps) < 1e-9L * eps;
  const Real scale = short_sum ? 1 : std::cos(eps) * mean_length / norm;
  const Real largest_scale = short_sum ? 1 : std::max(std::abs(scale), 1e-8L * lengths / norm);
  for (std::size_t i = 0; i < e.value.size(); ++i) {
    Real sum = 0, size = 0;
    for (std::size_t m = 0; m < v.size(); ++m) {
      const Real term = w[m] * static_cast<Real>(v[m][i]) / (short_sum ? 1 : n[m] + eps);
      sum += term;
      size += std::abs(term);
    }
    const double from = base_at(merge, i);
    set(e, i, static_cast<double>(static_cast<Real>(from) + scale * sum),
        std::max(std::abs(from), static_cast<double>(largest_scale * size)));
    if (open && size > 0) leave_open(e, i);
  }
  return e;
}

namespace {

// The mean direction on the sphere. `share`: what each unit vector contributes to it, for the sizes of the terms.
template <typename Number>
struct Direction {
  std::vector<Number> u;
  std::vector<Number> share;
  bool open = false;  // a threshold is within rounding
};

template <typename Number>
Direction<Number> mean_direction(const std::vector<std::vector<Number>>& units, std::int64_t max_iter, Number tol) {
  const std::size_t models = units.size(), n = units[0].size();
  const Number part = Number(1) / static_cast<Number>(models);
  Direction<Number> mean{std::vector<Number>(n), std::vector<Number>(models, part)};
  const auto norm = [](const std::vector<Number>& x) {
    Number square = 0;
    for (const Number v : x) square += v * v;
    return std::sqrt(square);
  };
  // f64 has the squares of short lengths, and of small angles, to `kNoise`.
  const auto near = [](Number x, Number threshold) {
    return std::abs(x * x - threshold * threshold) < Number(1e-6) * threshold * threshold + static_cast<Number>(kNoise);
  };
  for (std::size_t m = 0; m < models; ++m) {
    for (std::size_t i = 0; i < n; ++i) mean.u[i] += part * units[m][i];
  }
  const auto divide = [&](Number by) {
    for (Number& x : mean.u) x /= by;
    for (Number& x : mean.share) x /= by;
  };
  const Number first = norm(mean.u);
  mean.open = near(first, tol) || (first >= tol && first < Number(1e-4));
  if (first < tol) {
    mean.u = units[0];
    mean.share.assign(models, 0);
    mean.share[0] = 1;
  } else {
    divide(first);
  }
  for (std::int64_t step = 0; step < max_iter; ++step) {
    std::vector<Number> tangent(n), factor(models), cosine(models);
    for (std::size_t m = 0; m < models; ++m) {
      Number d = 0;
      for (std::size_t i = 0; i < n; ++i) d += mean.u[i] * units[m][i];
      d = std::clamp(d, Number(-1), Number(1));
      cosine[m] = d;
      const Number angle = std::acos(d);
      mean.open = mean.open || near(angle, tol) || (d < 0 && 1 + d > Number(1e-12) && 1 + d < Number(1e-8));
      // Opposite vectors have no shortest way between them, and pull nowhere.
      if (angle < tol || 1 + d <= Number(1e-12)) continue;
      factor[m] = part * angle / std::sin(angle);
      for (std::size_t i = 0; i < n; ++i) tangent[i] += factor[m] * (units[m][i] - d * mean.u[i]);
    }
    const Number size = norm(tangent);
    mean.open = mean.open || near(size, tol);
    if (size < tol) break;
    const Number along = std::cos(size), across = std::sin(size) / size;
    Number radial = 0;
    for (std::size_t m = 0; m < models; ++m) radial += factor[m] * cosine[m];
    for (std::size_t i = 0; i < n; ++i) mean.u[i] = along * mean.u[i] + across * tangent[i];
    for (std::size_t m = 0; m < models; ++m) mean.share[m] = (along - across * radial) * mean.share[m] + across * factor[m];
    const Number after = norm(mean.u);
    if (after > tol) divide(after);
  }
  return mean;
}

template <typename Number>
std::vector<std::vector<Number>> units_of(const std::vector<std::vector<double>>& x, const std::vector<Real>& norms, Real tol) {
  std::vector<std::vector<Number>> units;
  for (std::size_t m = 0; m < x.size(); ++m) {
    if (!(norms[m] > tol)) continue;
    units.emplace_back();
    for (const double v : x[m]) units.back().push_back(static_cast<Number>(static_cast<Real>(v) / norms[m]));
  }
  return units;
}

}  // namespace

Expected reference_karcher(const MergeCase& merge) {
  if (merge.models.size() == 1) return copy_of(merge, merge.models[0]);
  Expected e = blank(merge);
  const Real tol = static_cast<Real>(number(merge.global, "tol", 1e-5));
  const auto max_iter = static_cast<std::int64_t>(number(merge.global, "max_iter", 10));
  const Lines all = whole_tensor(merge);
  std::vector<std::vector<double>> x;
  std::vector<Real> norms;
  Real scale = 0;
  bool open = false;
  for (const auto& model : merge.models) {
    x.push_back(values_of(model));
    norms.push_back(norm_of(x.back(), all, 0));
    scale += norms.back() / static_cast<Real>(merge.models.size());
    open = open || std::abs(norms.back() - tol) < 1e-9L * tol;
  }
  const auto units = units_of<Real>(x, norms, tol);
  if (units.empty()) {
    for (std::size_t i = 0; i < e.value.size(); ++i) {
      set(e, i, 0, 0);
      if (open) leave_open(e, i);
    }
    return e;
  }
  const Direction<Real> mean = mean_direction(units, max_iter, tol);
  // Vectors that point everywhere: steps may enlarge rounding until it decides where they end.
  const Direction<double> rough = mean_direction(units_of<double>(x, norms, tol), max_iter, static_cast<double>(tol));
  Real apart = 0;
  for (std::size_t i = 0; i < mean.u.size(); ++i) apart = std::max(apart, std::abs(mean.u[i] - static_cast<Real>(rough.u[i])));
  open = open || mean.open || apart > 1e-12L;
  for (std::size_t i = 0; i < e.value.size(); ++i) {
    Real size = 0;
    for (std::size_t m = 0; m < units.size(); ++m) size += std::abs(mean.share[m] * units[m][i]);
    set(e, i, static_cast<double>(scale * mean.u[i]), static_cast<double>(scale * size));
    if (open) leave_open(e, i);
  }
  return e;
}

namespace {

// How far to go along each task vector of one line.
struct Steps {
  std::vector<Real> alpha;
  std::vector<Real> size;  // the same without cancellation, and with what rounding enlarges
  bool open = false;
};

Steps by_mean_cosine(const std::vector<std::vector<Real>>& gram, bool clamp) {
  const std::size_t n = gram.size();
  const Real models = static_cast<Real>(n);
  Real sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) {
      const Real norms = std::sqrt(gram[i][i]) * std::sqrt(gram[j][j]);
      sum += norms > 0 ? std::clamp(gram[i][j] / norms, -1.0L, 1.0L) : 0;
    }
  }
  const Real c = sum / (models * (models - 1) / 2);
  const Real divisor = 1 + (models - 1) * c;
  Steps steps;
  // The vectors cancel: t goes to minus infinity.
  if (divisor < 1e-12L) {
    steps.open = !clamp;
    steps.alpha.assign(n, 0);
    steps.size.assign(n, 0);
    return steps;
  }
  Real t = models * c / divisor;
  if (clamp) t = std::clamp(t, 0.0L, 1.0L);
  steps.alpha.assign(n, t / models);
  steps.size.assign(n, std::max(std::abs(t), 1e-8L) / models * static_cast<Real>(enlarged(static_cast<Real>(kNoise) / divisor)));
  return steps;
}

// alpha = m G^-1 1, by Cholesky on the matrix of cosines.
Steps by_projection(const std::vector<std::vector<Real>>& gram, bool clamp) {
  const std::size_t n = gram.size();
  Steps steps{std::vector<Real>(n), std::vector<Real>(n), true};
  std::vector<Real> norms(n), y(n);
  Real mean = 0, mean_size = 0, smallest = 1;
  for (std::size_t i = 0; i < n; ++i) {
    norms[i] = std::sqrt(gram[i][i]);
    if (!(norms[i] > 0)) return by_mean_cosine(gram, clamp);
  }
  std::vector<std::vector<Real>> lower(n, std::vector<Real>(n));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      Real rest = gram[i][j] / (norms[i] * norms[j]);
      for (std::size_t k = 0; k < j; ++k) rest -= lower[i][k] * lower[j][k];
      if (i == j) {
        smallest = std::min(smallest, rest);
        if (rest < 1e-6L) {
          // Dependent task vectors have no projection; next to that there are no digits left.
          Steps mean_form = by_mean_cosine(gram, clamp);
          mean_form.open = mean_form.open || rest > 1e-15L;
          if (mean_form.open) std::fill(mean_form.size.begin(), mean_form.size.end(), Real(1));
          return mean_form;
        }
        lower[i][i] = std::sqrt(rest);
      } else {
        lower[i][j] = rest / lower[j][j];
        mean += gram[i][j];
        mean_size += norms[i] * norms[j];
      }
    }
  }
  const Real pairs = static_cast<Real>(n * (n - 1)) / 2;
  mean /= pairs;
  mean_size /= pairs;
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = 1 / norms[i];
    for (std::size_t k = 0; k < i; ++k) y[i] -= lower[i][k] * y[k];
    y[i] /= lower[i][i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) y[i] -= lower[k][i] * y[k];
    y[i] /= lower[i][i];
  }
  Real sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += mean * y[i] / norms[i];
  const Real scale = !clamp ? 1 : sum > 1 ? 1 / sum : sum < 0 ? 0 : 1;
  Real longest = 0;
  for (std::size_t i = 0; i < n; ++i) longest = std::max(longest, std::abs(y[i]));
  for (std::size_t i = 0; i < n; ++i) {
    steps.alpha[i] = scale * mean * y[i] / norms[i];
    steps.size[i] = scale * std::max(std::abs(mean), 1e-8L * mean_size) * std::max(std::abs(y[i]), longest * 1e-8L / smallest) / norms[i];
  }
  steps.open = false;
  return steps;
}

}  // namespace

Expected reference_model_stock(const MergeCase& merge) {
  const std::size_t models = merge.models.size();
  if (models == 0) return copy_of(merge, *merge.base);
  Expected e = blank(merge);
  const Lines lines = flag(merge.global, "filter_wise", false) ? along_last_axis(merge) : whole_tensor(merge);
  const bool clamp = flag(merge.global, "clamp", false), project = text(merge.global, "form", "mean_cosine") == "projection";
  const auto v = vectors_of(merge);
  for (std::size_t line = 0; line < lines.count; ++line) {
    std::vector<std::vector<Real>> gram(models, std::vector<Real>(models));
    for (std::size_t i = 0; i < models; ++i) {
      for (std::size_t j = 0; j < models; ++j) gram[i][j] = dot_of(v[i], v[j], lines, line);
    }
    const Steps steps = project ? by_projection(gram, clamp) : by_mean_cosine(gram, clamp);
    for (std::size_t k = 0; k < lines.length; ++k) {
      const std::size_t i = lines.at(line, k);
      const double from = base_at(merge, i);
      Real move = 0, size = 0, moved = 0;
      for (std::size_t m = 0; m < models; ++m) {
        move += steps.alpha[m] * static_cast<Real>(v[m][i]);
        size += steps.size[m] * static_cast<Real>(std::abs(v[m][i]));
        moved += static_cast<Real>(std::abs(v[m][i]));
      }
      set(e, i, static_cast<double>(static_cast<Real>(from) + move), std::max(std::abs(from), static_cast<double>(size)));
      if (steps.open && moved > 0) leave_open(e, i);
    }
  }
  return e;
}

}  // namespace crucible::test
