// The methods that decide element by element what becomes of the models' values.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/reference_parts.h"

namespace crucible::test {
namespace {

std::vector<std::vector<double>> task_vectors_of(const MergeCase& merge) {
  std::vector<std::vector<double>> all;
  for (std::size_t m = 0; m < merge.models.size(); ++m) all.push_back(task_vector(merge, m));
  return all;
}

}  // namespace

Expected reference_nearswap(const MergeCase& merge) {
  Expected e = blank(merge);
  const double t = number(merge.global, "t", 0);
  for (std::size_t i = 0; i < e.value.size(); ++i) {
    const double a = static_cast<double>((*merge.base)[i]), b = static_cast<double>(merge.models[0][i]);
    const double distance = std::max(std::abs(a - b), 1e-6);
    const double w = std::clamp(t / distance, 0.0, 1.0);
    // The distance may be rounded to f32: below a weight of 1 that moves both terms by as much of a.
    const bool between = w > 0 && t < distance * (1 + 1e-6);
    set(e, i, w * b + (1 - w) * a, between ? std::abs(a) + std::abs(b) : 0);
  }
  return e;
}

namespace {

// Which entries touch their position. An entry within rounding of epsilon may or may not: `lenient` says which.
using Touched = std::vector<std::vector<char>>;
bool near_epsilon(double x, double epsilon) { return std::abs(x) != epsilon && std::abs(std::abs(x) - epsilon) <= 0x1p-23 * epsilon; }
Touched touched(const std::vector<std::vector<double>>& delta, double epsilon, bool flip, bool& any_near) {
  Touched all;
  for (const auto& d : delta) {
    all.emplace_back();
    for (const double x : d) {
      const bool near = near_epsilon(x, epsilon);
      any_near = any_near || near;
      all.back().push_back((std::abs(x) > epsilon) != (near && flip) ? 1 : 0);
    }
  }
  return all;
}

struct Moves {
  std::vector<double> move, size;
};
// `amplify`: the factor of each model's entries that no other model touches.
Moves reinforced(const std::vector<std::vector<double>>& delta, const Touched& active, const std::vector<double>& amplify, std::size_t n) {
  Moves all{std::vector<double>(n), std::vector<double>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    long double sum = 0, size = 0;
    int count = 0;
    double alone = 1;
    for (std::size_t m = 0; m < delta.size(); ++m) {
      if (active[m][i] == 0) continue;
      ++count;
      alone = amplify[m];
      sum += static_cast<long double>(delta[m][i]);
      size += std::abs(static_cast<long double>(delta[m][i]));
    }
    if (count == 0) continue;
    all.move[i] = static_cast<double>(count == 1 ? sum * static_cast<long double>(alone) : sum / count);
    all.size[i] = static_cast<double>(count == 1 ? size * static_cast<long double>(std::abs(alone)) : size / count);
  }
  return all;
}

template <typename Amplify>
Expected reinforced_merge(const MergeCase& merge, Amplify amplify) {
  Expected e = blank(merge);
  const auto delta = task_vectors_of(merge);
  const double epsilon = number(merge.global, "epsilon", 1e-5);
  bool any_near = false;
  const auto run = [&](bool flip) {
    const Touched active = touched(delta, epsilon, flip, any_near);
    return reinforced(delta, active, amplify(active, epsilon), e.value.size());
  };
  const Moves plain = run(false);
  const Moves flipped = any_near ? run(true) : plain;
  for (std::size_t i = 0; i < e.value.size(); ++i) {
    const double b = static_cast<double>((*merge.base)[i]);
    set(e, i, b + plain.move[i], std::max({std::abs(b), plain.size[i], flipped.size[i]}));
    e.other[i] = b + flipped.move[i];
  }
  return e;
}

}  // namespace

Expected reference_ram(const MergeCase& merge) {
  return reinforced_merge(merge, [](const Touched& active, double) { return std::vector<double>(active.size(), 1.0); });
}

Expected reference_ramplus_tl(const MergeCase& merge) {
  const double r = number(merge.global, "r", 0.1), alpha = number(merge.global, "alpha", 0.2);
  return reinforced_merge(merge, [r, alpha](const Touched& active, double epsilon) {
    std::vector<double> shared(active.size()), unique(active.size()), factors;
    for (std::size_t i = 0; !active.empty() && i < active[0].size(); ++i) {
      int count = 0;
      for (const auto& a : active) count += a[i];
      for (std::size_t m = 0; m < active.size(); ++m) (count > 1 ? shared : unique)[m] += active[m][i];
    }
    for (std::size_t m = 0; m < active.size(); ++m) {
      const double divisor = std::max(unique[m], epsilon);
      // Without unique entries the factor meets nothing.
      const double overlap = divisor > 0 ? shared[m] / divisor : alpha;
      factors.push_back(1 + r * std::min(std::max(overlap, 0.0), alpha));
    }
    return factors;
  });
}

namespace {

// Which positions take part, and where that is a matter of rounding.
struct Selection {
  std::vector<char> chosen, open;
  std::vector<std::size_t> band;  // the open positions
  std::size_t from_band = 0;      // how many of them are chosen
};

double variance(const std::vector<std::vector<double>>& delta, std::size_t i) {
  long double mean = 0, sum = 0;
  for (const auto& d : delta) mean += static_cast<long double>(d[i]);
  mean /= static_cast<long double>(delta.size());
  bool all_equal = true;
  for (const auto& d : delta) {
    all_equal = all_equal && d[i] == delta[0][i];
    sum += (static_cast<long double>(d[i]) - mean) * (static_cast<long double>(d[i]) - mean);
  }
  return all_equal ? 0 : static_cast<double>(sum / static_cast<long double>(delta.size()));
}

Selection select(const std::vector<std::vector<double>>& delta, double share, std::size_t n) {
  Selection s{std::vector<char>(n, 1), std::vector<char>(n, 0), {}, 0};
  if (share >= 1) return s;
  std::vector<double> spread(n);
  std::size_t nonzero = 0;
  for (std::size_t i = 0; i < n; ++i) {
    spread[i] = variance(delta, i);
    if (spread[i] != 0) ++nonzero;
  }
  const auto keep = static_cast<std::size_t>(std::max(share, 0.0) * static_cast<double>(nonzero));
  s.chosen.assign(n, 0);
  if (keep == 0) return s;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return spread[a] > spread[b]; });
  for (std::size_t r = 0; r < keep; ++r) s.chosen[order[r]] = 1;
  if (keep == n) return s;
  const double above = spread[order[keep - 1]], below = spread[order[keep]];
  if (below < above * (1 - 1e-6)) return s;
  for (std::size_t i = 0; i < n; ++i) {
    if (spread[i] > above * (1 + 1e-6) || spread[i] < below * (1 - 1e-6) || spread[i] == 0) continue;
    s.open[i] = 1;
    s.band.push_back(i);
    if (s.chosen[i] != 0) ++s.from_band;
  }
  return s;
}

// The models' shares of the squares, and by how much at most another choice among the open positions changes one, relatively.
struct Shares {
  std::vector<double> eta;
  double unsure = 0;
};
Shares shares_of(const std::vector<std::vector<double>>& delta, const Selection& s) {
  Shares shares;
  std::vector<long double> squares;
  long double total = 0;
  for (const auto& d : delta) {
    long double sum = 0;
    for (std::size_t i = 0; i < d.size(); ++i)
      sum += s.chosen[i] != 0 ? static_cast<long double>(d[i]) * static_cast<long double>(d[i]) : 0;
    squares.push_back(sum);
    total += sum;
    std::vector<double> in_band;
    for (const std::size_t i : s.band) in_band.push_back(d[i] * d[i]);
    std::sort(in_band.begin(), in_band.end());
    long double low = 0, high = 0;
    for (std::size_t r = 0; r < s.from_band; ++r) {
      low += static_cast<long double>(in_band[r]);
      high += static_cast<long double>(in_band[in_band.size() - 1 - r]);
    }
    if (high > low) shares.unsure = std::max(shares.unsure, static_cast<double>((high - low) / std::max(sum - high, 1e-30L * high)));
  }
  for (const long double x : squares)
    shares.eta.push_back(static_cast<double>(total > 0 ? x / total : 1 / static_cast<long double>(squares.size())));
  return shares;
}

struct Merged {
  double move = 0, size = 0;
};
// One position: the models whose sign wins, by their shares.
Merged erase_and_merge(const std::vector<double>& here, const std::vector<double>& eta, int side) {
  long double sum = 0, divisor = 0;
  for (std::size_t m = 0; m < here.size(); ++m) {
    if (side > 0 ? !(here[m] > 0) : !(here[m] < 0)) continue;
    sum += static_cast<long double>(here[m]) * static_cast<long double>(eta[m]);
    divisor += static_cast<long double>(eta[m]);
  }
  const auto move = static_cast<double>(sum / std::max(divisor, 1e-6L));
  return {move, std::abs(move)};  // the winners do not cancel
}

}  // namespace

Expected reference_sce(const MergeCase& merge) {
  Expected e = blank(merge);
  const std::size_t n = e.value.size();
  const auto delta = task_vectors_of(merge);
  const double share = number(merge.global, "select_topk", 1);
  const bool mask_deltas = text(merge.global, "select", "deltas") == "deltas";
  // The base moves no variance; rounded differences to it would.
  std::vector<std::vector<double>> values;
  for (const auto& model : merge.models) values.push_back(values_of(model));
  const Selection s = values.empty() ? Selection{std::vector<char>(n, 0), std::vector<char>(n, 0), {}, 0} : select(values, share, n);
  const bool empty = std::none_of(s.chosen.begin(), s.chosen.end(), [](char c) { return c != 0; });
  const bool nothing = delta.empty() || (empty && mask_deltas);
  // No selected position tells the models apart: they weigh the same.
  Shares shares = nothing || empty ? Shares{} : shares_of(delta, s);
  if (empty) shares.eta.assign(delta.size(), 1 / static_cast<double>(std::max<std::size_t>(delta.size(), 1)));
  std::vector<double> here(delta.size());
  for (std::size_t i = 0; i < n; ++i) {
    const double b = static_cast<double>((*merge.base)[i]);
    set(e, i, b, 0);
    if (nothing) continue;
    long double sum = 0;
    double size = 0, least = 0;
    int votes = 0;
    for (std::size_t m = 0; m < here.size(); ++m) {
      here[m] = delta[m][i];
      sum += static_cast<long double>(here[m]);
      size += std::abs(here[m]);
      if (here[m] == 0) continue;
      least = votes == 0 ? std::abs(here[m]) : std::min(least, std::abs(here[m]));
      ++votes;
    }
    const int side = sum >= 0 ? 1 : -1;
    const Merged merged = erase_and_merge(here, shares.eta, side);
    // Sums of f32 are exact in f64 unless they span too many powers of two: then their order decides what cancels.
    const bool tie = votes > 2 && std::abs(static_cast<double>(sum)) < 1e-12 * size && size > 0x1p26 * least;
    const Merged lost = tie ? erase_and_merge(here, shares.eta, -side) : merged;
    const double largest = std::max({std::abs(b), merged.size, lost.size}) + merged.size * std::min(shares.unsure, 1.0) * 0x1p23;
    const bool masked = mask_deltas && s.open[i] != 0;
    if (!mask_deltas || s.chosen[i] != 0) set(e, i, b + merged.move, largest);
    if (masked)
      e.other[i] = s.chosen[i] != 0 ? b : b + merged.move;
    else if (tie && (!mask_deltas || s.chosen[i] != 0))
      e.other[i] = b + lost.move;
    if (masked) e.largest[i] = std::max(e.largest[i], largest);
    if (masked && tie) leave_open(e, i);
  }
  return e;
}

namespace {

std::vector<double> softmax(const std::vector<float>& x, std::size_t begin, std::size_t length) {
  double largest = static_cast<double>(x[begin]);
  for (std::size_t k = 1; k < length; ++k) largest = std::max(largest, static_cast<double>(x[begin + k]));
  std::vector<double> p(length);
  long double sum = 0;
  for (std::size_t k = 0; k < length; ++k) {
    p[k] = std::exp(static_cast<double>(x[begin + k]) - largest);
    sum += static_cast<long double>(p[k]);
  }
  for (double& v : p) v = static_cast<double>(static_cast<long double>(v) / sum) + 1e-8;
  return p;
}

// Element trunc(q (n - 1)) of the ascending scores.
double quantile(const std::vector<double>& ascending, double q) {
  return ascending[static_cast<std::size_t>(q * static_cast<double>(ascending.size() - 1))];
}

}  // namespace

Expected reference_arcee_fusion(const MergeCase& merge) {
  Expected e = blank(merge);
  const std::size_t n = e.value.size();
  if (n == 0) return e;
  const Lines rows = along_last_axis(merge);
  const std::vector<float>&model = merge.models[0], &base = *merge.base;
  const std::vector<double> delta = task_vector(merge, 0);
  // Scores as intervals: the divergence of nearly equal rows is what is left of terms that cancel.
  std::vector<double> low(n), middle(n), high(n);
  for (std::size_t row = 0; row < rows.count; ++row) {
    const std::size_t begin = rows.at(row, 0);
    const std::vector<double> p = softmax(model, begin, rows.length), q = softmax(base, begin, rows.length);
    long double sum = 0;
    for (std::size_t k = 0; k < rows.length; ++k)
      sum += static_cast<long double>(p[k]) * std::log(static_cast<long double>(p[k]) / static_cast<long double>(q[k]));
    const auto kl = static_cast<double>(sum);
    const double unsure = rows.length == 1 ? 0 : 4e-15 + 1e-6 * std::abs(kl);
    for (std::size_t k = 0; k < rows.length; ++k) {
      const double distance = std::abs(delta[begin + k]);
      low[begin + k] = distance * std::max(kl - unsure, 0.0);
      middle[begin + k] = distance * kl;
      high[begin + k] = distance * (kl + unsure);
    }
  }
  auto sorted_low = low, sorted_middle = middle, sorted_high = high;
  for (auto* s : {&sorted_low, &sorted_middle, &sorted_high}) std::sort(s->begin(), s->end());
  const auto threshold = [](const std::vector<double>& up, const std::vector<double>& down) {
    return quantile(up, 0.5) + 1.5 * (quantile(up, 0.75) - quantile(down, 0.25));
  };
  const double at = threshold(sorted_middle, sorted_middle);
  const double at_least = threshold(sorted_low, sorted_high), at_most = threshold(sorted_high, sorted_low);
  for (std::size_t i = 0; i < n; ++i) {
    const double mine = static_cast<double>(model[i]), other = static_cast<double>(base[i]);
    const bool keep = middle[i] >= at;
    // Entries that do not move are the same either way, but for a zero's sign.
    const bool open = low[i] < at_most && high[i] >= at_least;
    set(e, i, keep ? mine : other, 0);
    if (!open) continue;
    e.other[i] = keep ? other : mine;
    e.largest[i] = std::max(std::abs(mine), std::abs(other));
  }
  return e;
}

}  // namespace crucible::test
