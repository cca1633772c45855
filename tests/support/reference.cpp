#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/check.h"
#include "support/reference_parts.h"
#include "tensor/convert.h"

namespace crucible::test {
namespace {

const Arg* find_arg(const Args& args, const std::string& name) {
  for (const Arg& a : args) {
    if (a.name == name) return &a;
  }
  return nullptr;
}

}  // namespace

double number(const Args& args, const std::string& name, double otherwise) {
  const Arg* a = find_arg(args, name);
  return a == nullptr ? otherwise : std::stod(a->text);
}
bool flag(const Args& args, const std::string& name, bool otherwise) {
  const Arg* a = find_arg(args, name);
  return a == nullptr ? otherwise : a->text == "true";
}
std::string text(const Args& args, const std::string& name, const std::string& otherwise) {
  const Arg* a = find_arg(args, name);
  return a == nullptr ? otherwise : a->text;
}

Expected blank(const MergeCase& merge) {
  const auto n = static_cast<std::size_t>(merge.elems());
  return {std::vector<double>(n), std::vector<double>(n), std::vector<double>(n), {}};
}
void set(Expected& e, std::size_t i, double value, double largest) {
  e.value[i] = value;
  e.other[i] = value;
  e.largest[i] = std::max(std::abs(value), largest);
}
void leave_open(Expected& e, std::size_t i) { e.largest[i] = std::numeric_limits<double>::infinity(); }

std::vector<double> values_of(const std::vector<float>& x) { return {x.begin(), x.end()}; }
std::vector<double> task_vector(const MergeCase& merge, std::size_t model) {
  std::vector<double> delta(merge.models[model].size());
  for (std::size_t i = 0; i < delta.size(); ++i)
    delta[i] = static_cast<double>(static_cast<float>(static_cast<double>(merge.models[model][i]) - static_cast<double>((*merge.base)[i])));
  return delta;
}

Lines whole_tensor(const MergeCase& merge) { return {1, static_cast<std::size_t>(merge.elems()), 1}; }
Lines along_last_axis(const MergeCase& merge) {
  const auto n = static_cast<std::size_t>(merge.elems());
  if (n == 0) return {};
  const std::size_t length = merge.shape.empty() ? 1 : static_cast<std::size_t>(merge.shape.back());
  return {n / length, length, 1};
}
Lines along_first_axis(const MergeCase& merge) {
  const auto n = static_cast<std::size_t>(merge.elems());
  if (n == 0) return {};
  const std::size_t length = merge.shape.empty() ? 1 : static_cast<std::size_t>(merge.shape.front());
  return {n / length, length, n / length};
}

namespace {

Expected linear(const MergeCase& merge) {
  Expected e = blank(merge);
  double weights = 0;
  for (std::size_t m = 0; m < merge.models.size(); ++m) weights += number(merge.args_of(m), "weight", 1);
  const double divisor = flag(merge.global, "normalize", true) ? weights : 1;
  for (std::size_t i = 0; i < e.value.size(); ++i) {
    double sum = 0, size = 0;
    for (std::size_t m = 0; m < merge.models.size(); ++m) {
      const double term = number(merge.args_of(m), "weight", 1) * static_cast<double>(merge.models[m][i]) / divisor;
      sum += term;
      size += std::abs(term);
    }
    set(e, i, sum, size);
  }
  return e;
}

Expected passthrough(const MergeCase& merge) {
  Expected e = blank(merge);
  for (std::size_t i = 0; i < e.value.size(); ++i)
    set(e, i, number(merge.args_of(0), "scale", 1) * static_cast<double>(merge.models[0][i]), 0);
  return e;
}

Expected slerp(const MergeCase& merge) {
  Expected e = blank(merge);
  const double t = number(merge.global, "t", 0.5);
  const std::vector<float>& a = *merge.base;
  const std::vector<float>& b = merge.models[0];
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  const double na = std::sqrt(aa) > 1e-8 ? std::sqrt(aa) : 1;
  const double nb = std::sqrt(bb) > 1e-8 ? std::sqrt(bb) : 1;
  for (std::size_t i = 0; i < a.size(); ++i) ab += (static_cast<double>(a[i]) / na) * (static_cast<double>(b[i]) / nb);
  double wa = 1 - t, wb = t;
  if (std::abs(ab) <= 0.9995) {
    const double angle = std::acos(ab);
    wa = std::sin((1 - t) * angle) / std::sin(angle);
    wb = std::sin(t * angle) / std::sin(angle);
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = wa * static_cast<double>(a[i]), y = wb * static_cast<double>(b[i]);
    set(e, i, x + y, std::abs(x) + std::abs(y));
  }
  return e;
}

enum class Drop { kNothing, kTrim, kBand, kRandom, kRamp };
struct Family {
  bool elect;
  Drop drop;
  bool normalize;  // defaults
  const char* rescale;
};
const std::map<std::string, Family>& families() {
  static const std::map<std::string, Family> all = {
      {"task_arithmetic", {false, Drop::kNothing, false, "none"}}, {"ties", {true, Drop::kTrim, true, "none"}},
      {"breadcrumbs", {false, Drop::kBand, false, "none"}},        {"breadcrumbs_ties", {true, Drop::kBand, false, "none"}},
      {"dare_linear", {false, Drop::kRandom, false, "l1"}},        {"dare_ties", {true, Drop::kRandom, false, "l1"}},
      {"della_linear", {false, Drop::kRamp, false, "l1"}},         {"della", {true, Drop::kRamp, true, "l1"}},
  };
  return all;
}

// Which entries survive, and with which probability they were to.
struct Survival {
  std::vector<char> kept;
  std::vector<double> p;
};

// Indices of [begin, end) by rising magnitude, equal ones by index.
std::vector<std::size_t> ascending(const std::vector<float>& delta, std::size_t begin, std::size_t end) {
  std::vector<std::size_t> order(end - begin);
  std::iota(order.begin(), order.end(), begin);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return std::abs(delta[a]) < std::abs(delta[b]); });
  return order;
}

// Of [begin, end), the largest entries first, equal ones by index: after `skip` of them, `keep` survive.
void keep_largest(const std::vector<float>& delta, std::size_t begin, std::size_t end, std::size_t skip, std::size_t keep, Survival& s) {
  std::vector<std::size_t> order(end - begin);
  std::iota(order.begin(), order.end(), begin);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return std::abs(delta[a]) > std::abs(delta[b]); });
  for (std::size_t r = 0; r < order.size(); ++r) s.kept[order[r]] = r >= skip && r < skip + keep ? 1 : 0;
}

void keep_by_rank(const std::vector<float>& delta, const MergeCase& merge, std::size_t model, double density, Survival& s) {
  const Args& args = merge.args_of(model);
  const double epsilon = find_arg(args, "window") != nullptr ? number(args, "window", 0) / 2 : number(args, "epsilon", 0.15);
  const bool tensor = text(merge.global, "rank_scope", "row") == "tensor";
  const std::size_t scope = tensor || merge.shape.empty() ? delta.size() : static_cast<std::size_t>(merge.shape.back());
  const Ramp ramp = reference_ramp(density, epsilon, static_cast<std::int64_t>(scope));
  for (std::size_t begin = 0; begin < delta.size(); begin += scope) {
    const auto order = ascending(delta, begin, begin + scope);
    for (std::size_t r = 0; r < scope; ++r) {
      const std::size_t i = order[r];
      s.p[i] = ramp.p[r];
      s.kept[i] = static_cast<double>(random_draw(merge.key_of(model), i)) < ramp.p[r] * 0x1p32 ? 1 : 0;
    }
  }
}

Survival survive(const Family& family, const MergeCase& merge, std::size_t model, const std::vector<float>& delta) {
  const std::size_t n = delta.size();
  const double density = number(merge.args_of(model), "density", 1);
  Survival s{std::vector<char>(n, 1), std::vector<double>(n, 1.0)};
  if (family.drop == Drop::kNothing || density >= 1 || n == 0) return s;
  const auto share = [](double of, std::size_t all) { return static_cast<std::size_t>(of * static_cast<double>(all)); };
  if (density <= 0) {
    s.kept.assign(n, 0);
  } else if (family.drop == Drop::kTrim) {
    keep_largest(delta, 0, n, 0, share(density, n), s);
  } else if (family.drop == Drop::kBand) {
    const bool rows = text(merge.global, "rank_scope", "tensor") == "row" && !merge.shape.empty();
    const std::size_t scope = rows ? static_cast<std::size_t>(merge.shape.back()) : n;
    const std::size_t keep = share(density, scope);
    const std::size_t skip = std::min(share(number(merge.args_of(model), "gamma", 0.01), scope), scope - keep);
    for (std::size_t begin = 0; begin < n; begin += scope) keep_largest(delta, begin, begin + scope, skip, keep, s);
  } else if (family.drop == Drop::kRandom) {
    for (std::size_t i = 0; i < n; ++i) {
      s.p[i] = density;
      s.kept[i] = static_cast<double>(random_draw(merge.key_of(model), i)) < density * 0x1p32 ? 1 : 0;
    }
  } else {
    keep_by_rank(delta, merge, model, density, s);
  }
  return s;
}

// The merged task vector of one element: the sum over one side, divided as normalize says.
double mixed(const std::vector<double>& w, const std::vector<double>& weights, int side, bool normalize) {
  double sum = 0, divisor = 0;
  for (std::size_t m = 0; m < w.size(); ++m) {
    const bool wins = side == 0 || (side > 0 ? w[m] > 0 : w[m] < 0);
    sum += wins ? w[m] : 0;
    divisor += wins ? weights[m] : 0;
  }
  // No side holds a NaN, and none may hide it.
  if (std::any_of(w.begin(), w.end(), [](double v) { return std::isnan(v); })) return std::numeric_limits<double>::quiet_NaN();
  if (side == 0 ? std::abs(divisor) < 1e-8 : divisor == 0) divisor = 1;
  return normalize ? sum / divisor : sum;
}

Expected task_vectors(const Family& family, const MergeCase& merge) {
  Expected e = blank(merge);
  const std::size_t n = e.value.size(), models = merge.models.size();
  const bool normalize = flag(merge.global, "normalize", family.normalize);
  const double lambda = number(merge.global, "lambda", 1);
  const std::string rescale = text(merge.global, "rescale", family.rescale);
  const std::vector<float>& base = *merge.base;
  std::vector<std::vector<double>> w(models, std::vector<double>(n));
  std::vector<double> weights(models);
  // TIES as in its paper: winners count alike, and a zero sum takes the sign of most elements, told from the f32 differences.
  const bool paper = text(merge.global, "elect", "mergekit") == "paper";
  std::vector<double> vote(n);
  for (std::size_t m = 0; m < models; ++m) {
    // Ranks are those of the f32 differences; values stay exact.
    std::vector<float> rounded(n);
    std::vector<double> delta(n);
    for (std::size_t i = 0; i < n; ++i) {
      delta[i] = static_cast<double>(merge.models[m][i]) - static_cast<double>(base[i]);
      rounded[i] = static_cast<float>(delta[i]);
    }
    const Survival s = survive(family, merge, m, rounded);
    e.kept.push_back(s.kept);
    double before = 0, after = 0;
    for (std::size_t i = 0; i < n; ++i) {
      before += std::abs(delta[i]);
      after += s.kept[i] != 0 ? std::abs(delta[i]) : 0;
    }
    const double scale = rescale == "l1" && before > 0 && after > 0 ? before / after : 1;
    weights[m] = number(merge.args_of(m), "weight", 1);
    for (std::size_t i = 0; i < n; ++i) {
      if (s.kept[i] != 0) vote[i] += weights[m] * static_cast<double>(rounded[i]);
      if (s.kept[i] != 0) w[m][i] = weights[m] * (rescale == "per_element" ? delta[i] / s.p[i] : delta[i] * scale);
    }
  }
  const auto votes_above = std::count_if(vote.begin(), vote.end(), [](double v) { return v > 0; });
  const auto votes_below = std::count_if(vote.begin(), vote.end(), [](double v) { return v < 0; });
  const bool zero_is_plus = !paper || text(merge.global, "trim_scope", "tensor") != "model" || votes_above >= votes_below;
  std::vector<double> divides = weights;
  if (paper) divides.assign(models, 1.0);
  std::vector<double> here(models);
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0, size = 0;
    for (std::size_t m = 0; m < models; ++m) {
      here[m] = w[m][i];
      sum += here[m];
      // A survivor that was divided is an f32 again: among subnormals its last place does not shrink with it.
      size += std::abs(here[m]) + (rescale == "per_element" && here[m] != 0 ? std::abs(weights[m]) * 0x1p-126 : 0);
    }
    const int side = !family.elect ? 0 : sum > 0 || (sum == 0 && zero_is_plus) ? 1 : -1;
    const double move = lambda * mixed(here, divides, side, normalize);
    // Division may enlarge the terms: the same factor applies to their size.
    const double factor = mixed(here, divides, side, false) != 0 ? std::abs(move / mixed(here, divides, side, false)) : 1;
    const double b = static_cast<double>(base[i]);
    set(e, i, b + move, std::max(std::abs(b), factor * size));
    if (side != 0 && rescale != "none" && std::abs(sum) < 1e-9 * size) e.other[i] = b + lambda * mixed(here, divides, -side, normalize);
  }
  return e;
}

}  // namespace

Ramp reference_ramp(double density, double epsilon, std::int64_t n) {
  Ramp ramp{density, std::vector<double>(static_cast<std::size_t>(n), density)};
  if (n < 2) return ramp;
  const auto line = [&](double c, std::int64_t r) {
    return std::clamp(c - epsilon + 2 * epsilon * (static_cast<double>(r) / static_cast<double>(n - 1)), 0.0, 1.0);
  };
  if (density + epsilon > 1 || density - epsilon < 0) {
    double low = -2, high = 3;
    for (int step = 0; step < 80; ++step) {
      const double c = (low + high) / 2;
      long double sum = 0;
      for (std::int64_t r = 0; r < n; ++r) sum += static_cast<long double>(line(c, r));
      (sum < static_cast<long double>(density) * static_cast<long double>(n) ? low : high) = c;
    }
    ramp.center = (low + high) / 2;
  }
  for (std::int64_t r = 0; r < n; ++r) ramp.p[static_cast<std::size_t>(r)] = line(ramp.center, r);
  return ramp;
}

Expected reference(const std::string& method, const MergeCase& merge) {
  static const std::map<std::string, Expected (*)(const MergeCase&)> plain = {
      {"arcee_fusion", reference_arcee_fusion},
      {"karcher", reference_karcher},
      {"linear", linear},
      {"model_stock", reference_model_stock},
      {"multislerp", reference_multislerp},
      {"nearswap", reference_nearswap},
      {"nuslerp", reference_nuslerp},
      {"passthrough", passthrough},
      {"ram", reference_ram},
      {"ramplus_tl", reference_ramplus_tl},
      {"sce", reference_sce},
      {"slerp", slerp},
  };
  if (const auto it = plain.find(method); it != plain.end()) return it->second(merge);
  const auto it = families().find(method);
  CHECK(it != families().end(), "method {} has no reference: write one", method);
  return task_vectors(it->second, merge);
}

double ulp_at(DType dtype, double magnitude) {
  const int digits = dtype == DType::kF16 ? 10 : dtype == DType::kBF16 ? 7 : 23;
  const int lowest = dtype == DType::kF16 ? -14 : -126;
  const int exponent = magnitude > 0 ? std::max(std::ilogb(magnitude), lowest) : lowest;
  return std::ldexp(1.0, exponent - digits);
}

double worst_error(DType dtype, const std::vector<float>& out, const Expected& expected) {
  if (out.size() != expected.value.size()) return std::numeric_limits<double>::infinity();
  const auto n = static_cast<std::int64_t>(out.size());
  std::vector<std::byte> stored(out.size() * 4);
  std::vector<float> back(out.size());
  store_floats(dtype, out.data(), stored.data(), n);
  load_floats(dtype, stored.data(), back.data(), n);
  double worst = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double got = static_cast<double>(back[i]);
    if (std::isinf(expected.largest[i]) && !std::isnan(got)) continue;
    const double loss = 2 * ulp_at(DType::kF32, expected.largest[i]);
    const auto error_to = [&](double want) {
      if (std::isnan(want) || std::isnan(got)) return std::isnan(want) == std::isnan(got) ? 0.0 : std::numeric_limits<double>::infinity();
      const double unit = ulp_at(dtype, std::min(std::abs(want), facts(dtype).largest));
      const double top = facts(dtype).largest + 0.5 * unit;  // from here on infinity is the nearest
      if (std::isinf(got))
        return std::abs(want) + loss >= top && std::signbit(want) == std::signbit(got) ? 0.0 : std::numeric_limits<double>::infinity();
      const double error = std::abs(got - want);
      if (dtype == DType::kF32) return error / ulp_at(DType::kF32, expected.largest[i]);
      return std::max(0.0, error - loss) / unit;
    };
    worst = std::max(worst, std::min(error_to(expected.value[i]), error_to(expected.other[i])));
  }
  return worst;
}

}  // namespace crucible::test
