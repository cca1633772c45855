// The laws that methods declare, checked for every method of the registry on random inputs and parameters. Where a law promises equal
// bytes the numbers are small multiples of powers of two, so that no sum is rounded; then any difference is a defect.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

constexpr int kRounds = 40;

double pick(Rng& rng, std::initializer_list<double> from) { return *(from.begin() + below(rng, static_cast<std::int64_t>(from.size()))); }

// Any value of a field. Numbers without limits are weights and factors: dyadic, negative ones and zero among them.
Arg random_arg(const Field& f, Rng& rng) {
  if (f.kind == FieldKind::kFlag) return Arg(f.name, below(rng, 2) == 0);
  if (f.kind == FieldKind::kChoice)
    return Arg(f.name, std::string(f.choices[static_cast<std::size_t>(below(rng, std::ssize(f.choices)))].name));
  if (f.kind == FieldKind::kInteger) return Arg(f.name, static_cast<int>(below(rng, 12)));
  if (std::isfinite(f.limits.low) && std::isfinite(f.limits.high)) return Arg(f.name, uniform(rng, f.limits.low, f.limits.high));
  if (f.limits.low == 0) return Arg(f.name, pick(rng, {1e-8, 1e-5, 1e-3, 0.25}));  // a tolerance, a step
  return Arg(f.name, pick(rng, {1, 0.5, 2, -0.75, 0.25, 1.5, 0}));
}

// `window` stands instead of epsilon, so a model never gets both.
Args random_args(const FieldTable& table, Rng& rng) {
  Args args;
  for (const Field& f : table.fields()) {
    if (f.name != "window") args.push_back(random_arg(f, rng));
  }
  return args;
}

Args neutral_args(const FieldTable& table) {
  Args args;
  for (const Field& f : table.fields()) {
    if (f.neutral_value && f.name != "window") args.emplace_back(f.name, f.value_text(*f.neutral_value));
  }
  return args;
}

void set(Args& args, const std::string& name, const std::string& value) {
  for (Arg& a : args) {
    if (a.name == name) a.text = value;
  }
}

// Multiples of 2^-6 below 8. Sums of products of these with dyadic weights are exact in f64, squares too.
std::vector<float> grid(std::int64_t n, Rng& rng) {
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = static_cast<float>(below(rng, 1023) - 511) * 0x1p-6f;
  return x;
}

Shape random_shape(Rng& rng) {
  switch (below(rng, 5)) {
    case 0: return {1 + below(rng, 300)};
    case 1: return {1 + below(rng, 20), 1};
    case 2: return {1, 1 + below(rng, 90)};
    case 3: return {1 + below(rng, 4), 1 + below(rng, 5), 1 + below(rng, 30)};
    default: return {1 + below(rng, 20), 1 + below(rng, 40)};
  }
}

// A merge with random parameters. Task vectors have distinct magnitudes, so that permutations move no ties.
MergeCase random_merge(const Method& method, Rng& rng) {
  MergeCase merge;
  merge.shape = random_shape(rng);
  merge.seed = rng();
  const std::int64_t n = merge.elems();
  const std::int64_t models = std::min<std::int64_t>(method.max_models, 1 + below(rng, 4));
  if (method.base == BaseRule::kRequired || (method.base == BaseRule::kOptional && below(rng, 2) == 0)) merge.base = grid(n, rng);
  for (std::int64_t m = 0; m < models; ++m) {
    std::vector<float> x(static_cast<std::size_t>(n));
    std::iota(x.begin(), x.end(), 1.0f);
    for (std::size_t i = x.size(); i > 1; --i) std::swap(x[i - 1], x[static_cast<std::size_t>(below(rng, static_cast<std::int64_t>(i)))]);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = (merge.base ? (*merge.base)[i] : 0.0f) + x[i] * (below(rng, 2) == 0 ? 0x1p-6f : -0x1p-6f);
    merge.models.push_back(std::move(x));
    merge.names.push_back(fmt::format("model-{}", m));
    merge.model_args.push_back(random_args(*method.model, rng));
  }
  merge.global = random_args(*method.global, rng);
  return merge;
}

bool weights_vanish(const MergeCase& merge) {
  double sum = 0;
  for (const Args& args : merge.model_args) {
    for (const Arg& a : args) sum += a.name == "weight" ? std::stod(a.text) : 0;
  }
  return sum == 0;
}

// Task vectors that are multiples of the first: the variances over the models are as distinct as its magnitudes.
void make_spreads_distinct(MergeCase& merge) {
  for (std::size_t m = 1; m < merge.models.size(); ++m) {
    const float factor = static_cast<float>(m + 1) * (m % 2 == 0 ? 1.0f : -1.0f);
    for (std::size_t i = 0; i < merge.models[m].size(); ++i) {
      const float base = (*merge.base)[i];
      merge.models[m][i] = base + factor * (merge.models[0][i] - base);
    }
  }
}

// The same numbers; zeros may differ in sign, as 0 * -1 does.
testing::AssertionResult same(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (i >= a.size() || i >= b.size() || !(a[i] == b[i])) {
      return testing::AssertionFailure() << "element " << i << " of " << a.size() << ": " << (i < a.size() ? a[i] : NAN) << " and "
                                         << (i < b.size() ? b[i] : NAN);
    }
  }
  return testing::AssertionSuccess();
}

// Coefficients that come from angles are not dyadic: where their sum cancels, the order shows in the last bits of the f64 sum. The
// planner puts the models into one order, so no output shows it.
testing::AssertionResult same_but_for_cancelling(const Method& method, const std::vector<float>& a, const std::vector<float>& b) {
  static const std::set<std::string_view> from_angles = {"karcher", "model_stock", "multislerp", "nuslerp"};
  if (!from_angles.contains(method.name)) return same(a, b);
  float largest = 0;
  for (const float v : a) largest = std::max(largest, std::abs(v));
  const auto settle = [largest](std::vector<float> x) {
    for (float& v : x) v = std::abs(v) < 1e-12f * largest ? 0.0f : v;
    return x;
  };
  return same(settle(a), settle(b));
}

using Result = testing::AssertionResult;

// A mean needs its divisor, and no factor on the whole.
void ask_for_a_mean(MergeCase& merge) {
  set(merge.global, "normalize", "true");
  for (Args& args : merge.model_args) set(args, "scale", "1");
}

Result self_merge(const Method& method, MergeCase merge, Rng& rng) {
  ask_for_a_mean(merge);
  if (weights_vanish(merge)) return testing::AssertionSuccess();
  const std::vector<float> x = make_values(kAllValues[static_cast<std::size_t>(below(rng, 5))], merge.elems(), rng);
  if (merge.base) merge.base = x;
  for (auto& m : merge.models) m = x;
  return same(run_kernel(method, merge).out, x);
}

Result one_model(const Method& method, MergeCase merge, Rng&) {
  merge.models.resize(1);
  merge.model_args = {neutral_args(*method.model)};
  merge.global = neutral_args(*method.global);
  return same(run_kernel(method, merge).out, merge.models[0]);
}

Result base_fixed(const Method& method, MergeCase merge, Rng& rng) {
  if (method.base == BaseRule::kOnlyListed) return testing::AssertionFailure() << "a method without a base cannot have this law";
  merge.base = make_values(kAllValues[static_cast<std::size_t>(below(rng, 5))], merge.elems(), rng);
  for (auto& m : merge.models) m = *merge.base;
  return same(run_kernel(method, merge).out, *merge.base);
}

Result zero_weight(const Method& method, MergeCase merge, Rng& rng) {
  if (method.name == "linear" && weights_vanish(merge)) return testing::AssertionSuccess();  // 0 / 0; the recipe check refuses it
  const auto without = run_kernel(method, merge).out;
  const auto at = below(rng, std::ssize(merge.models) + 1);
  Args absent = random_args(*method.model, rng);
  set(absent, "weight", "0");
  merge.models.insert(merge.models.begin() + at, grid(merge.elems(), rng));
  merge.model_args.insert(merge.model_args.begin() + at, absent);
  merge.names.insert(merge.names.begin() + at, "absent");
  return same(run_kernel(method, merge).out, without);
}

Result order(const Method& method, MergeCase merge, Rng& rng) {
  if (method.name == "linear" && weights_vanish(merge)) return testing::AssertionSuccess();
  const Driven first = run_kernel(method, merge);
  // Where the data leave a choice, a kernel takes the first model and says so; the planner hands it the models in one order.
  if (first.remark.find("first model") != std::string::npos) return testing::AssertionSuccess();
  const std::vector<float>& straight = first.out;
  for (std::size_t i = merge.models.size(); i > 1; --i) {
    const auto k = static_cast<std::size_t>(below(rng, static_cast<std::int64_t>(i)));
    std::swap(merge.models[i - 1], merge.models[k]);
    std::swap(merge.model_args[i - 1], merge.model_args[k]);
    std::swap(merge.names[i - 1], merge.names[k]);
  }
  return same_but_for_cancelling(method, run_kernel(method, merge).out, straight);
}

Result scaled(const Method& method, MergeCase merge, Rng& rng) {
  if (method.name == "linear" && weights_vanish(merge)) return testing::AssertionSuccess();
  auto expected = run_kernel(method, merge).out;
  const float factor = std::ldexp(1.0f, static_cast<int>(below(rng, 17)) - 8);
  const auto scale = [factor](std::vector<float>& x) { std::for_each(x.begin(), x.end(), [factor](float& v) { v *= factor; }); };
  scale(expected);
  if (merge.base) scale(*merge.base);
  for (auto& m : merge.models) scale(m);
  return same(run_kernel(method, merge).out, expected);
}

Result permuted(const Method& method, MergeCase merge, Rng& rng, bool rows) {
  if (method.name == "linear" && weights_vanish(merge)) return testing::AssertionSuccess();
  if (method.name == "sce") make_spreads_distinct(merge);  // equal variances are selected by place
  const auto row = static_cast<std::size_t>(row_length(merge.shape));
  const std::size_t count = rows ? static_cast<std::size_t>(merge.elems()) / row : row;
  std::vector<std::size_t> to(count);
  std::iota(to.begin(), to.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) std::swap(to[i - 1], to[static_cast<std::size_t>(below(rng, static_cast<std::int64_t>(i)))]);
  const auto permute = [&](const std::vector<float>& x) {
    std::vector<float> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[rows ? to[i / row] * row + i % row : i / row * row + to[i % row]] = x[i];
    return y;
  };
  const auto expected = permute(run_kernel(method, merge).out);
  if (merge.base) merge.base = permute(*merge.base);
  for (auto& m : merge.models) m = permute(m);
  return same(run_kernel(method, merge).out, expected);
}

using Check = std::function<Result(const Method&, MergeCase, Rng&)>;
const std::map<Law, Check>& checks() {
  static const std::map<Law, Check> all = {
      {Law::kSelfMergeIsIdentity, self_merge},
      {Law::kOneModelIsItself, one_model},
      {Law::kBaseIsFixedPoint, base_fixed},
      {Law::kZeroWeightIsAbsent, zero_weight},
      {Law::kOrderDoesNotMatter, order},
      {Law::kScaleEquivariant, scaled},
      {Law::kRowPermutationCommutes, [](const Method& m, MergeCase c, Rng& r) { return permuted(m, std::move(c), r, true); }},
      {Law::kColumnPermutationCommutes, [](const Method& m, MergeCase c, Rng& r) { return permuted(m, std::move(c), r, false); }},
  };
  return all;
}

// Runs a law many times; the first failure is told.
Result holds(const Method& method, Law law, std::uint64_t seed) {
  const auto check = checks().find(law);
  if (check == checks().end()) return testing::AssertionFailure() << "no check for the law: " << to_string(law);
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    Rng rng(seed + round);
    MergeCase merge = random_merge(method, rng);
    const std::string shape = to_string(merge.shape);
    Result result = check->second(method, std::move(merge), rng);
    if (!result) return result << " (round " << round << ", shape " << shape << ")";
  }
  return testing::AssertionSuccess();
}

class Laws : public testing::TestWithParam<const Method*> {};

TEST_P(Laws, Hold) {
  const Method& method = *GetParam();
  EXPECT_FALSE(method.laws.empty()) << "a method without a law says nothing that can be tested";
  for (const Law law : method.laws) EXPECT_TRUE(holds(method, law, 1000)) << method.name << ": " << to_string(law);
}

INSTANTIATE_TEST_SUITE_P(Methods, Laws, testing::ValuesIn(all_methods().begin(), all_methods().end()),
                         [](const auto& p) { return std::string(p.param->name); });

// Each check must be able to fail: a law that does not hold, or a kernel that breaks one that does.
class Broken final : public Kernel {
 public:
  explicit Broken(bool has_base) : has_base_(has_base) {}
  // Depends on position, on order, on the number of models, and adds a constant.
  void map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch&) noexcept override {
    for (std::int64_t i = 0; i < tile.count; ++i) {
      out[i] = 1.0f + static_cast<float>(tile.begin + i) + (has_base_ ? in.base[i] : 0.0f);
      for (std::size_t m = 0; m < in.models.size(); ++m) out[i] += in.models[m][i] * static_cast<float>(m + 1);
    }
  }

 private:
  bool has_base_;
};

TEST(Laws, ChecksSeeABrokenKernel) {
  Method broken = *find_method("task_arithmetic");
  broken.make_kernel = [](const KernelSpec& spec) -> std::unique_ptr<Kernel> { return std::make_unique<Broken>(spec.has_base); };
  for (const auto& [law, check] : checks()) EXPECT_FALSE(holds(broken, law, 1)) << to_string(law);
}

TEST(Laws, ChecksSeeLawsThatAMethodDoesNotHave) {
  EXPECT_FALSE(holds(*find_method("della"), Law::kColumnPermutationCommutes, 1)) << "draws are by position";
  EXPECT_FALSE(holds(*find_method("dare_ties"), Law::kRowPermutationCommutes, 1));
  EXPECT_FALSE(holds(*find_method("slerp"), Law::kOneModelIsItself, 1)) << "t = 0 is the base";
}

}  // namespace
}  // namespace crucible::test
