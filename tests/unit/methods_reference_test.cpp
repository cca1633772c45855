// Every kernel against the plain f64 reference of support/reference.h: all kinds of values, many shapes and parameters, three output
// types. Errors are in units in the last place.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/kernel_driver.h"
#include "support/reference.h"

namespace crucible::test {
namespace {

const std::vector<std::string>& names() {
  static const std::vector<std::string> all = {
      "arcee_fusion", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della",       "della_linear", "karcher",
      "linear",       "model_stock", "multislerp",       "nearswap",    "nuslerp",   "passthrough", "ram",          "ramplus_tl",
      "sce",          "slerp",       "task_arithmetic",  "ties"};
  return all;
}

double pick(Rng& rng, const std::vector<double>& from) { return from[static_cast<std::size_t>(below(rng, std::ssize(from)))]; }

// A number for a parameter: often a corner, else anywhere in its range.
double random_number(const Field& field, Rng& rng) {
  if (field.name == "density" || field.name == "select_topk") return pick(rng, {0, 0.003, 0.1, 0.5, 0.8, 0.97, 1, uniform(rng)});
  if (field.name == "epsilon") return pick(rng, {0, 1e-5, 0.01, 0.05, 0.15, 0.3, 1, uniform(rng)});
  if (field.name == "gamma") return pick(rng, {0, 0.01, 0.3, 1, uniform(rng, 0, 0.2)});
  if (field.name == "t") return pick(rng, {0, 0.01, 0.25, 0.5, 1, -0.5, 1.5, uniform(rng)});
  if (field.name == "eps") return pick(rng, {1e-8, 1e-5, 0.1, uniform(rng)});
  if (field.name == "tol") return pick(rng, {1e-5, 1e-4, 1e-3});
  if (field.name == "max_iter") return pick(rng, {0, 1, 2, 10, 20});
  if (field.name == "r") return pick(rng, {0, 0.1, 0.2, 1, uniform(rng, 0, 2)});
  if (field.name == "alpha") return pick(rng, {0, 0.2, 1, uniform(rng)});
  return pick(rng, {1, 0.3, -0.7, 0, 2, 0.1, uniform(rng, -1, 2)});
}

Arg random_arg(const Field& field, Rng& rng) {
  if (field.kind == FieldKind::kFlag) return Arg(field.name, below(rng, 2) == 0);
  if (field.kind == FieldKind::kChoice)
    return Arg(field.name, std::string(field.choices[static_cast<std::size_t>(below(rng, std::ssize(field.choices)))].name));
  double value = random_number(field, rng);
  while (!field.limits.contains(value)) value = random_number(field, rng);
  return field.kind == FieldKind::kInteger ? Arg(field.name, static_cast<int>(value)) : Arg(field.name, value);
}

// Half of the window stands in for epsilon in some models, never beside it.
Args random_model_args(const FieldTable& table, Rng& rng) {
  Args args;
  const bool window = below(rng, 3) == 0;
  for (const Field& f : table.fields()) {
    if (f.name == (window ? "epsilon" : "window")) continue;
    args.push_back(f.name == "window" ? Arg(f.name, uniform(rng, 0, 2)) : random_arg(f, rng));
  }
  return args;
}

// Numbers of models that a method refuses beside its limits.
bool takes(const Method& method, std::int64_t models, bool base) {
  if (method.name == "model_stock") return models != 1;
  if (method.name == "nuslerp") return models == 2 || !base;
  return true;
}

MergeCase random_case(const Method& method, const Shape& shape, Values kind, Rng& rng) {
  MergeCase merge;
  merge.shape = shape;
  merge.seed = rng();
  const std::int64_t n = merge.elems();
  if (method.base == BaseRule::kRequired || (method.base == BaseRule::kOptional && below(rng, 2) == 0))
    merge.base = make_values(kind, n, rng);
  const std::int64_t most = std::min(method.max_models, 4);
  const auto any_number = [&] { return method.min_models + below(rng, most - method.min_models + 1); };
  std::int64_t models = any_number();
  while (!takes(method, models, merge.base.has_value())) models = any_number();
  for (std::int64_t m = 0; m < models; ++m) {
    merge.models.push_back(make_values(kind, n, rng));
    // Fine-tunes are near their base and each other: half of the models are the base, or the first, moved a little.
    if ((merge.base || m > 0) && below(rng, 2) == 0) {
      const std::vector<float>& origin = merge.base ? *merge.base : merge.models[0];
      for (std::size_t i = 0; i < origin.size(); ++i) merge.models.back()[i] = origin[i] * static_cast<float>(uniform(rng, 0.98, 1.02));
    }
    merge.model_args.push_back(random_model_args(*method.model, rng));
  }
  for (const Field& f : method.global->fields()) merge.global.push_back(random_arg(f, rng));
  return merge;
}

// Weights that cancel make a mean undefined: the recipe check refuses exact zero, and next to it there are no digits left. NuSLERP takes
// the middle there.
bool has_mean(const std::string& method, const MergeCase& merge) {
  if (method != "linear" && method != "multislerp" && method != "nuslerp") return true;
  double sum = 0, size = 0;
  for (const Args& args : merge.model_args) {
    for (const Arg& a : args) {
      if (a.name != "weight") continue;
      sum += std::stod(a.text);
      size += std::abs(std::stod(a.text));
    }
  }
  // nuslerp far outside [0, 1] multiplies the error of the angle.
  return std::abs(sum) > (method == "nuslerp" ? 0.05 : 1e-3) * size || (method == "nuslerp" && sum == 0);
}

std::string told(const MergeCase& merge) {
  std::string text = "shape " + to_string(merge.shape) + " seed " + std::to_string(merge.seed);
  for (const Arg& a : merge.global) text += " " + a.name + "=" + a.text;
  for (const Args& args : merge.model_args) {
    text += " |";
    for (const Arg& a : args) text += " " + a.name + "=" + a.text;
  }
  return text;
}

void expect_close(const std::string& method, const MergeCase& merge, const DriveOptions& options) {
  if (!has_mean(method, merge)) return;
  const Driven driven = run_kernel(method, merge, options);
  const Expected expected = reference(method, merge);
  ASSERT_LE(worst_error(DType::kF32, driven.out, expected), 2) << told(merge);
  ASSERT_LE(worst_error(DType::kF16, driven.out, expected), 0.51) << told(merge);
  ASSERT_LE(worst_error(DType::kBF16, driven.out, expected), 0.51) << told(merge);
  for (std::size_t m = 0; m < expected.kept.size(); ++m) {
    std::int64_t kept = 0;
    for (const char k : expected.kept[m]) kept += k;
    ASSERT_EQ(driven.measure.models[m].kept, kept) << told(merge);
    ASSERT_EQ(driven.measure.models[m].elems, merge.elems()) << told(merge);
  }
}

class AgainstReference : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ASSERT_NE(find_method(GetParam()), nullptr) << "the registry has no such method"; }
  void run(const std::vector<Shape>& shapes, int rounds, std::uint64_t seed) {
    const Method& method = *find_method(GetParam());
    Rng rng(seed);
    for (int round = 0; round < rounds; ++round) {
      for (const Shape& shape : shapes) {
        for (const Values kind : kAllValues) {
          DriveOptions options;
          options.workers = 1 + round % 3;
          options.shuffle = rng();
          // Little room: every way to do without it is taken as well.
          options.keep_budget_bytes = round % 2 == 0 ? std::int64_t{1} << 28 : 0;
          expect_close(GetParam(), random_case(method, shape, kind, rng), options);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
};

TEST_P(AgainstReference, SmallShapes) {
  run({{}, {1}, {2}, {63}, {1, 1}, {1, 17}, {17, 1}, {5, 7}, {64, 3}, {33, 49}, {2, 3, 5}, {4, 1, 6}, {3, 7, 1}, {2, 2, 2, 3}}, 6, 1);
}

TEST_P(AgainstReference, NoElements) { run({{0}, {0, 4}, {4, 0}, {2, 0, 3}}, 2, 2); }

TEST_P(AgainstReference, SeveralTiles) {
  Rng rng(3);
  const Method& method = *find_method(GetParam());
  for (const Shape& shape : {Shape{131073}, Shape{300, 700}, Shape{3, 5, 9973}}) {
    const Values kind = kAllValues[static_cast<std::size_t>(below(rng, std::ssize(kAllValues)))];
    const DriveOptions options{.workers = 2, .shuffle = rng()};
    expect_close(GetParam(), random_case(method, shape, kind, rng), options);
    if (HasFatalFailure()) return;
  }
}

TEST_P(AgainstReference, ARowLongerThanATileMayBe) {
  Rng rng(4);
  const Method& method = *find_method(GetParam());
  const DriveOptions options{.workers = 2, .shuffle = 9};
  expect_close(GetParam(), random_case(method, {kLongestRow + 77}, Values::kHalf, rng), options);
}

INSTANTIATE_TEST_SUITE_P(Methods, AgainstReference, testing::ValuesIn(names()), [](const auto& p) { return p.param; });

// The density that lies right above or at the draw of an element keeps it or drops it.
TEST(DareDraws, AreHeldAgainstAllBitsOfTheDensity) {
  MergeCase merge;
  merge.shape = {40};
  merge.base.emplace(40, 0.0f);
  merge.models.emplace_back(40, 1.0f);
  merge.global = {{"rescale", false}};
  for (std::size_t i = 0; i < 40; ++i) {
    const double draw = random_draw(merge.key_of(0), i);
    for (const bool above : {false, true}) {
      merge.model_args = {{{"weight", 1.0}, {"density", (draw + (above ? 1 : 0)) * 0x1p-32}}};
      EXPECT_EQ(run_kernel("dare_linear", merge).out[i], above ? 1.0f : 0.0f);
    }
  }
}

TEST(Reference, CoversEveryMethod) {
  std::vector<std::string> registered;
  for (const Method* m : all_methods()) registered.emplace_back(m->name);
  EXPECT_EQ(registered, names()) << "add the method to the list and to support/reference.cpp";
}

// The comparison itself must be able to fail.
TEST(Reference, ErrorsAreSeen) {
  MergeCase merge;
  merge.shape = {2};
  merge.models = {{1.0f, 3.0f}};
  const Expected expected = reference("linear", merge);
  EXPECT_EQ(worst_error(DType::kF32, {1.0f, 3.0f}, expected), 0);
  EXPECT_EQ(worst_error(DType::kF32, {1.0f, 3.0f + 0x1p-20f}, expected), 4);
  EXPECT_GT(worst_error(DType::kF16, {1.0f + 0x1p-10f, 3.0f}, expected), 0.9);
  EXPECT_GT(worst_error(DType::kBF16, {1.0f, 2.98f}, expected), 0.9);
  EXPECT_TRUE(std::isinf(worst_error(DType::kF16, {1.0f, 1e6f}, expected)));
  EXPECT_TRUE(std::isinf(worst_error(DType::kF32, {1.0f, std::nanf("")}, expected)));
}

}  // namespace
}  // namespace crucible::test
