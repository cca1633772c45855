// nuslerp, multislerp, karcher and model_stock: methods whose coefficients come from lengths and angles. Expected values are worked out
// on the vectors themselves in f64, or known from geometry.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "methods/shared/gram.h"
#include "simd/gram.h"
#include "simd/levels.h"
#include "simd/ops.h"
#include "support/kernel_driver.h"

namespace crucible::test {
namespace {

using Vec = std::vector<double>;

Vec wide(const std::vector<float>& x) { return {x.begin(), x.end()}; }
double dot(const Vec& a, const Vec& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double length(const Vec& a) { return std::sqrt(dot(a, a)); }
// out += c * x
void add(Vec& out, double c, const Vec& x) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += c * x[i];
}
Vec combined(const std::vector<double>& c, const std::vector<Vec>& x) {
  Vec out(x[0].size());
  for (std::size_t i = 0; i < x.size(); ++i) add(out, c[i], x[i]);
  return out;
}
Vec minus(const Vec& a, const Vec& b) {
  Vec out = a;
  add(out, -1, b);
  return out;
}

// Equal but for the rounding to f32 and f64 noise on the scale of the largest value.
void expect_near(const std::vector<float>& got, const Vec& want, const std::string& what, double noise = 1e-11) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0;
  for (const double v : want) largest = std::max(largest, std::abs(v));
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(got[i]), want[i], std::abs(want[i]) * 0x1p-23 + noise * largest) << what << " element " << i;
  }
}

MergeCase merge_of(Shape shape, std::vector<std::vector<float>> models, Args global = {}, std::vector<double> weights = {}) {
  MergeCase merge;
  merge.shape = std::move(shape);
  merge.models = std::move(models);
  merge.global = std::move(global);
  for (const double w : weights) merge.model_args.push_back({{"weight", w}});
  return merge;
}

MergeCase random_merge(Shape shape, std::size_t models, bool base, std::uint64_t seed, Args global = {}, std::vector<double> weights = {}) {
  Rng rng(seed);
  const std::int64_t n = elem_count(shape);
  std::vector<std::vector<float>> x;
  for (std::size_t i = 0; i < models; ++i) x.push_back(make_values(Values::kNormal, n, rng));
  MergeCase merge = merge_of(std::move(shape), std::move(x), std::move(global), std::move(weights));
  if (base) merge.base = make_values(Values::kNormal, n, rng);
  return merge;
}

// The vectors that are merged: models, or task vectors.
std::vector<Vec> vectors_of(const MergeCase& merge) {
  std::vector<Vec> all;
  for (const auto& m : merge.models) all.push_back(merge.base ? minus(wide(m), wide(*merge.base)) : wide(m));
  return all;
}
Vec on_base(const MergeCase& merge, Vec delta) {
  if (merge.base) add(delta, 1, wide(*merge.base));
  return delta;
}

// ---- the shared arithmetic ----

TEST(GramOps, AreTheSumsTheySayOnEveryLevel) {
  for (const std::int64_t n : {0, 1, 15, 16, 17, 255, 1024, 1025, 5000}) {
    for (const bool with_base : {false, true}) {
      const MergeCase m = random_merge({n}, 3, with_base, static_cast<std::uint64_t>(n) + 3);
      const std::vector<Vec> y = vectors_of(m);
      const float* base = with_base ? m.base->data() : nullptr;
      const std::vector<const float*> x = {m.models[0].data(), m.models[1].data(), m.models[2].data()};
      const std::vector<double> w = {0.3, -1.7, 2.5};
      std::vector<std::vector<double>> sums;
      std::vector<std::vector<std::uint32_t>> outs;
      for (const std::string& level : simd::available_levels()) {
        simd::limit_level(level);
        std::vector<double> gram(6, 0.0);
        simd::add_gram(base, x, gram.data(), n);
        // Two vectors have a loop of their own, with the same order of sums.
        std::vector<double> of_two(3, 0.0);
        simd::add_gram(base, std::span(x).first(2), of_two.data(), n);
        EXPECT_EQ(of_two, std::vector<double>(gram.begin(), gram.begin() + 3));
        gram.push_back(simd::sum_squares_of_sum(base, x, w, n));
        std::vector<float> out(static_cast<std::size_t>(n)), pairs(out.size()), two(out.size()), two_of_three(out.size());
        simd::weighted_deltas(base, std::span(x).first(2), std::span(w).first(2), two.data(), n);
        simd::weighted_deltas(base, x, std::vector<double>{w[0], w[1], 0.0}, two_of_three.data(), n);
        EXPECT_EQ(two, two_of_three);
        simd::weighted_deltas(base, x, w, out.data(), n);
        const std::vector<double> w0(out.size(), 0.25), w1(out.size(), 0.75);
        simd::weighted_pairs(base, x[0], x[1], w0.data(), w1.data(), pairs.data(), n);
        std::vector<double> products(3 * out.size(), 1.0);
        simd::add_products(base, x[0], x[1], products.data(), products.data() + n, products.data() + 2 * n, n);
        std::size_t k = 0;
        for (std::size_t i = 0; i < 3; ++i) {
          for (std::size_t j = 0; j <= i; ++j) EXPECT_NEAR(gram[k++], dot(y[i], y[j]), 1e-12 * (1 + std::abs(dot(y[i], y[j])))) << n;
        }
        const Vec sum = combined(w, y);
        EXPECT_NEAR(gram[6], dot(sum, sum), 1e-12 * (1 + dot(sum, sum)));
        expect_near(out, on_base(m, sum), "weighted_deltas");
        expect_near(pairs, on_base(m, combined({0.25, 0.75}, {y[0], y[1]})), "weighted_pairs");
        for (std::size_t i = 0; i < out.size(); ++i) {
          EXPECT_DOUBLE_EQ(products[i], 1 + y[0][i] * y[0][i]);
          EXPECT_DOUBLE_EQ(products[out.size() + i], 1 + y[1][i] * y[0][i]);
          EXPECT_DOUBLE_EQ(products[2 * out.size() + i], 1 + y[1][i] * y[1][i]);
        }
        gram.insert(gram.end(), products.begin(), products.end());
        sums.push_back(gram);
        auto bits = bits_of(out);
        const auto more = bits_of(pairs);
        bits.insert(bits.end(), more.begin(), more.end());
        outs.push_back(bits);
      }
      simd::limit_level("");
      for (std::size_t i = 1; i < sums.size(); ++i) {
        EXPECT_EQ(sums[i], sums[0]) << n;
        EXPECT_EQ(outs[i], outs[0]) << n;
      }
    }
  }
}

TEST(GramOps, TheBaseStaysAsItIsWhereNothingMoves) {
  const std::vector<float> base = {-0.0f, 0.0f, 3e-45f, 3e38f};
  const std::vector<const float*> x = {base.data(), base.data()};
  std::vector<float> out(4);
  simd::weighted_deltas(base.data(), x, std::vector<double>{1e6, -3e7}, out.data(), 4);
  EXPECT_EQ(bits_of(out), bits_of(base));
}

TEST(GramOps, TaskVectorsKeepDigitsThatAnF32DifferenceLoses) {
  const float base = 1.0f, x = 0x1p-30f;
  const float* const xs[] = {&x};
  double gram = 0;
  simd::add_gram(&base, xs, &gram, 1);
  EXPECT_EQ(gram, (1 - 0x1p-30) * (1 - 0x1p-30));
}

TEST(Gram, EqualVectorsHaveExactlyCosineOne) {
  Rng rng(4);
  for (int i = 0; i < 200; ++i) {
    const double g = std::exp(uniform(rng, -80, 80));
    const std::vector<double> packed = {g, g, g};
    EXPECT_EQ(Gram(packed, 2).cosine(1, 0), 1.0) << g;
  }
  EXPECT_EQ(Gram(std::vector<double>{0, 0, 4}, 2).cosine(0, 1), 0.0) << "a zero vector";
}

struct Mode {
  const char* method;
  Args global;
  bool base;
  std::size_t models;
};

// Every way through the kernels, on a tensor of several tiles: same bytes for any order of tiles and any number of threads.
TEST(SphereMethods, BytesDoNotDependOnTilesThreadsOrBudget) {
  const std::vector<Mode> modes = {{"nuslerp", {}, false, 2},
                                   {"nuslerp", {{"nuslerp_flatten", false}}, true, 2},
                                   {"nuslerp", {{"nuslerp_flatten", false}, {"nuslerp_row_wise", true}}, true, 2},
                                   {"multislerp", {}, true, 3},
                                   {"karcher", {}, false, 3},
                                   {"model_stock", {}, true, 3},
                                   {"model_stock", {{"filter_wise", true}, {"form", "projection"}}, true, 3}};
  for (const Mode& mode : modes) {
    MergeCase merge = random_merge({700, 501}, mode.models, mode.base, 11, mode.global);
    if (find_method(mode.method)->model->find("weight")) merge.model_args.assign(mode.models, {{"weight", 0.7}});
    const Driven plain = run_kernel(mode.method, merge);
    DriveOptions other;
    other.workers = 3;
    other.threads = Threads::kReal;
    other.shuffle = 5;
    other.keep_budget_bytes = 0;
    const Driven shuffled = run_kernel(mode.method, merge, other);
    EXPECT_EQ(bits_of(plain.out), bits_of(shuffled.out)) << mode.method;
  }
}

TEST(SphereMethods, OneModelIsItselfWithOrWithoutABase) {
  for (const char* method : {"nuslerp", "multislerp", "karcher"}) {
    for (const bool base : {false, true}) {
      MergeCase merge = merge_of({4}, {{-0.0f, 3e-45f, 3e38f, -1.5f}});
      if (base) merge.base = std::vector<float>{1, 2, 3, 4};
      if (find_method(method)->model->find("weight")) merge.model_args = {{{"weight", -3}}};
      EXPECT_EQ(bits_of(run_kernel(method, merge).out), bits_of(merge.models[0])) << method;
    }
  }
}

TEST(SphereMethods, CopiesOfAModelGiveThatModel) {
  for (const char* method : {"nuslerp", "multislerp", "karcher"}) {
    Rng rng(8);
    for (const Values kind : {Values::kNormal, Values::kBFloat, Values::kSparse, Values::kHuge, Values::kSpread}) {
      const auto x = make_values(kind, 1000, rng);
      MergeCase merge = merge_of({1000}, {x, x});
      if (find_method(method)->model->find("weight")) merge.model_args = {{{"weight", 0.3}}, {{"weight", 0.9}}};
      EXPECT_EQ(bits_of(run_kernel(method, merge).out), bits_of(x)) << method << static_cast<int>(kind);
    }
  }
}

// ---- nuslerp ----

Vec slerped(const Vec& v0, const Vec& v1, double t) {
  const double angle = std::acos(std::clamp(dot(v0, v1) / (std::max(length(v0), 1e-7) * std::max(length(v1), 1e-7)), -1.0, 1.0));
  return combined({std::sin((1 - t) * angle) / std::sin(angle), std::sin(t * angle) / std::sin(angle)}, {v0, v1});
}

// The entries of one vector of a matrix: row r, or column c.
std::vector<std::size_t> row_of(std::size_t r, std::size_t columns) {
  std::vector<std::size_t> at(columns);
  for (std::size_t c = 0; c < columns; ++c) at[c] = r * columns + c;
  return at;
}
std::vector<std::size_t> column_of(std::size_t c, std::size_t rows, std::size_t columns) {
  std::vector<std::size_t> at(rows);
  for (std::size_t r = 0; r < rows; ++r) at[r] = r * columns + c;
  return at;
}
Vec gather(const Vec& x, const std::vector<std::size_t>& at) {
  Vec out;
  for (const std::size_t i : at) out.push_back(x[i]);
  return out;
}

TEST(NuSlerp, WholeTensorsFollowTheArc) {
  for (const bool base : {false, true}) {
    const MergeCase merge = random_merge({30, 20}, 2, base, 1, {}, {0.6, 1.4});
    const auto y = vectors_of(merge);
    expect_near(run_kernel("nuslerp", merge).out, on_base(merge, slerped(y[0], y[1], 0.7)), "flatten");
  }
  // A quarter circle, by hand: equal angles to both ends.
  const auto out = run_kernel("nuslerp", merge_of({2}, {{1, 0}, {0, 1}}, {}, {2, 1})).out;
  EXPECT_FLOAT_EQ(out[0], static_cast<float>(std::cos(std::numbers::pi / 6)));
  EXPECT_FLOAT_EQ(out[1], 0.5f);
}

TEST(MergekitDefects, D30_NuSlerpRowsAreTheLastAxisAndRowWiseTheFirst) {
  constexpr std::size_t kRows = 5, kColumns = 7;
  for (const bool base : {false, true}) {
    for (const bool row_wise : {false, true}) {
      MergeCase merge = random_merge({kRows, kColumns}, 2, base, 2, {{"nuslerp_flatten", false}, {"nuslerp_row_wise", row_wise}}, {1, 3});
      const auto y = vectors_of(merge);
      Vec want(kRows * kColumns);
      for (std::size_t v = 0; v < (row_wise ? kColumns : kRows); ++v) {
        const auto at = row_wise ? column_of(v, kRows, kColumns) : row_of(v, kColumns);
        const Vec arc = slerped(gather(y[0], at), gather(y[1], at), 0.75);
        for (std::size_t i = 0; i < at.size(); ++i) want[at[i]] = arc[i];
      }
      expect_near(run_kernel("nuslerp", merge).out, on_base(merge, want), row_wise ? "first axis" : "last axis");
      EXPECT_EQ(run_kernel("nuslerp", merge).note("vectors"), row_wise ? 7.0 : 5.0);
    }
  }
}

TEST(MergekitDefects, D30_NuSlerpTakesAxesOfLengthOne) {
  for (const bool row_wise : {false, true}) {
    const Args global = {{"nuslerp_flatten", false}, {"nuslerp_row_wise", row_wise}};
    MergeCase merge = random_merge({1, 6, 4}, 2, true, 3, global, {1, 1});
    // One pair of vectors is colinear, which is where mergekit's mask no longer lines up.
    for (std::size_t i = 0; i < 4; ++i) merge.models[1][i] = merge.models[0][i];
    const auto out = run_kernel("nuslerp", merge).out;
    if (row_wise) {
      // The first axis has one entry: each vector is a number, and signs decide its angle.
      for (std::size_t i = 0; i < out.size(); ++i) {
        const double want = 0.5 * (static_cast<double>(merge.models[0][i]) + static_cast<double>(merge.models[1][i]));
        EXPECT_NEAR(static_cast<double>(out[i]), want, 1e-8) << i;
      }
    } else {
      merge.shape = {6, 4};
      EXPECT_EQ(bits_of(out), bits_of(run_kernel("nuslerp", merge).out));
      for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(out[i], merge.models[0][i]);
    }
  }
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{1, 1, 1}}) {
    for (const bool row_wise : {false, true}) {
      MergeCase merge = merge_of(shape, {{2.0f}, {4.0f}}, {{"nuslerp_flatten", false}, {"nuslerp_row_wise", row_wise}}, {1, 1});
      EXPECT_EQ(run_kernel("nuslerp", merge).out, std::vector<float>{3.0f}) << to_string(shape);
    }
  }
}

TEST(MergekitDefects, D30_NuSlerpOfOppositeVectorsIsLinear) {
  MergeCase merge = random_merge({100, 10}, 2, false, 4, {}, {3, 1});
  for (std::size_t i = 0; i < 1000; ++i) merge.models[1][i] = -3 * merge.models[0][i];  // f32 products are rounded: nearly opposite
  for (const Args& global : {Args{}, Args{{"nuslerp_flatten", false}}, Args{{"nuslerp_flatten", false}, {"nuslerp_row_wise", true}}}) {
    merge.global = global;
    const Driven driven = run_kernel("nuslerp", merge);
    expect_near(driven.out, combined({0.75, 0.25}, vectors_of(merge)), "opposite", 1e-9);
    EXPECT_NE(driven.remark.find("opposite direction"), std::string::npos) << driven.remark;
  }
  // Not quite opposite: an arc, and no remark.
  merge = merge_of({2}, {{1, 0}, {-1, 0.001f}}, {}, {1, 1});
  const Driven arc = run_kernel("nuslerp", merge);
  EXPECT_EQ(arc.remark, "");
  EXPECT_NEAR(static_cast<double>(arc.out[1]), 1.0, 1e-3) << "half way round is at a right angle";
}

TEST(NuSlerp, AZeroVectorStandsAtARightAngle) {
  const auto out = run_kernel("nuslerp", merge_of({2}, {{3, 4}, {0, 0}}, {}, {2, 1})).out;
  EXPECT_FLOAT_EQ(out[0], static_cast<float>(3 * std::sin(std::numbers::pi / 3)));
}

TEST(NuSlerp, WeightsThatCancelMeanHalfWay) {
  const MergeCase merge = random_merge({50}, 2, true, 5, {}, {0.5, -0.5});
  MergeCase half = merge;
  half.model_args = {{{"weight", 1}}, {{"weight", 1}}};
  EXPECT_EQ(bits_of(run_kernel("nuslerp", merge).out), bits_of(run_kernel("nuslerp", half).out));
}

TEST(NuSlerp, VectorsLongerThanATileAreTheSameVectors) {
  // Rows beyond a tile take a pass; the same rows one by one do not.
  const std::int64_t row = kLongestRow + 3;
  const MergeCase merge = random_merge({2, row}, 2, true, 6, {{"nuslerp_flatten", false}}, {1, 2});
  const Driven both = run_kernel("nuslerp", merge);
  EXPECT_EQ(both.reduce_passes, 1);
  for (std::size_t r = 0; r < 2; ++r) {
    const auto cut = [&](const std::vector<float>& x) {
      return std::vector<float>(x.begin() + static_cast<std::ptrdiff_t>(r) * row, x.begin() + static_cast<std::ptrdiff_t>(r + 1) * row);
    };
    MergeCase one = merge_of({row}, {cut(merge.models[0]), cut(merge.models[1])}, {}, {1, 2});
    one.base = cut(*merge.base);
    expect_near(cut(both.out), wide(run_kernel("nuslerp", one).out), "long row");
  }
  // Columns of a matrix wider than a tile.
  const MergeCase broad = random_merge({3, kTileElems + 5}, 2, false, 7, {{"nuslerp_flatten", false}, {"nuslerp_row_wise", true}}, {1, 2});
  const auto out = run_kernel("nuslerp", broad).out;
  const auto y = vectors_of(broad);
  for (const std::size_t c : {std::size_t{0}, static_cast<std::size_t>(kTileElems), static_cast<std::size_t>(kTileElems + 4)}) {
    const auto at = column_of(c, 3, static_cast<std::size_t>(kTileElems + 5));
    const Vec want = slerped(gather(y[0], at), gather(y[1], at), 2.0 / 3);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(static_cast<double>(out[at[i]]), want[i], 1e-8);
  }
}

// ---- checks before a merge ----

class Collect final : public Findings {
 public:
  void error(std::string message, std::string) override { errors.push_back(std::move(message)); }
  void notice(std::string message, std::string) override { notices.push_back(std::move(message)); }
  std::vector<std::string> errors, notices;
};

Collect check(const std::string& name, bool base, const std::vector<Args>& models, const Args& global = {}, const Shape& shape = {9, 9}) {
  const Method& method = *find_method(name);
  const Params g = make_params(*method.global, global);
  std::vector<Params> m;
  for (const Args& args : models) m.push_back(make_params(*method.model, args));
  const std::vector<std::string> names(models.size(), "model");
  Collect found;
  method.check({"t", &shape, base, &g, m, names}, found);
  return found;
}

TEST(SphereChecks, NuSlerp) {
  const std::vector<Args> two = {{{"weight", 1}}, {{"weight", 1}}};
  EXPECT_TRUE(check("nuslerp", true, two).errors.empty());
  EXPECT_TRUE(check("nuslerp", true, two).notices.empty());
  EXPECT_TRUE(check("nuslerp", false, {{}}).errors.empty()) << "one model alone is that model";
  EXPECT_EQ(check("nuslerp", true, {{}}).errors.size(), 1u);
  EXPECT_EQ(check("nuslerp", false, {{{"weight", 1}}, {{"weight", -1}}}).notices.size(), 1u);
  EXPECT_EQ(check("nuslerp", false, two, {{"nuslerp_row_wise", true}}).notices.size(), 1u) << "no effect beside flatten";
  const Args columns = {{"nuslerp_flatten", false}, {"nuslerp_row_wise", true}};
  EXPECT_TRUE(check("nuslerp", false, two, columns, {4, 1 << 18}).errors.empty());
  EXPECT_EQ(check("nuslerp", false, two, columns, {4, (1 << 18) + 1}).errors.size(), 1u);
  EXPECT_TRUE(check("nuslerp", false, two, columns, {1 << 20}).errors.empty()) << "one axis is one vector";
  EXPECT_TRUE(check("nuslerp", false, two, columns, {}).errors.empty());
  EXPECT_TRUE(check("nuslerp", false, two, columns, {0, 5}).errors.empty());
  EXPECT_TRUE(check("nuslerp", false, two, {}, {4, (1 << 18) + 1}).errors.empty());
  EXPECT_TRUE(check("nuslerp", false, {{}}, columns, {4, (1 << 18) + 1}).errors.empty()) << "a copy has no sums";
}

TEST(SphereChecks, MultiSlerpRefusesWeightsThatSumToZero) {
  const std::vector<Args> cancel = {{{"weight", 1}}, {{"weight", -1}}};
  EXPECT_EQ(check("multislerp", false, cancel).errors.size(), 1u);
  EXPECT_TRUE(check("multislerp", false, cancel, {{"normalize_weights", false}}).errors.empty());
  EXPECT_TRUE(check("multislerp", false, {{{"weight", 0}}}).errors.empty()) << "one model is itself, whatever its weight";
}

TEST(SphereChecks, ModelStockNeedsTwoModels) {
  EXPECT_EQ(check("model_stock", true, {{}}).errors.size(), 1u);
  EXPECT_TRUE(check("model_stock", true, {}).errors.empty());
  EXPECT_TRUE(check("model_stock", true, {{}, {}}).errors.empty());
}

TEST(SphereChecks, RangesAreClosed) {
  EXPECT_THROW(make_params(*find_method("karcher")->global, {{"tol", 0}}), std::invalid_argument);
  EXPECT_THROW(make_params(*find_method("karcher")->global, {{"max_iter", -1}}), std::invalid_argument);
  EXPECT_THROW(make_params(*find_method("karcher")->global, {{"max_iter", 1.5}}), std::invalid_argument);
  EXPECT_THROW(make_params(*find_method("multislerp")->global, {{"eps", -1e-9}}), std::invalid_argument);
  EXPECT_NO_THROW(make_params(*find_method("multislerp")->global, {{"eps", 0}}));
}

// ---- multislerp ----

// mergekit's steps on the vectors, the tangents included.
Vec multislerped(const std::vector<Vec>& y, std::vector<double> w, double eps, bool normalize) {
  double sum = 0, lengths = 0;
  for (const double v : w) sum += v;
  std::vector<Vec> u = y;
  Vec mean(y[0].size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (normalize) w[i] /= sum;
    u[i] = combined({1 / (length(y[i]) + eps)}, {y[i]});
    add(mean, w[i], u[i]);
    lengths += w[i] * length(y[i]);
  }
  mean = combined({1 / length(mean)}, {mean});
  Vec step(mean.size());
  for (std::size_t i = 0; i < y.size(); ++i) add(step, w[i], minus(u[i], combined({dot(u[i], mean)}, {mean})));
  const double phi = length(step) + eps;
  return combined({lengths * std::cos(phi), lengths * (phi > 0 ? std::sin(phi) / phi : 1)}, {mean, step});
}

TEST(MergekitDefects, D29_MultiSlerpIsANormalisedMeanOfDirections) {
  for (const bool base : {false, true}) {
    for (const bool normalize : {false, true}) {
      for (const double eps : {0.0, 1e-8, 0.01, 0.2}) {
        const std::vector<double> weights = {0.5, 1.5, -0.25, 0.75};
        const MergeCase merge = random_merge({40, 25}, 4, base, 20, {{"eps", eps}, {"normalize_weights", normalize}}, weights);
        const Driven driven = run_kernel("multislerp", merge);
        expect_near(driven.out, on_base(merge, multislerped(vectors_of(merge), weights, eps, normalize)), "multislerp");
        EXPECT_EQ(driven.remark, "");
        EXPECT_EQ(driven.reduce_passes, 1);
      }
    }
  }
}

TEST(MultiSlerp, DirectionsThatCancelAreSummedForAnyNumberOfModels) {
  // mergekit stops with three models.
  const auto two = run_kernel("multislerp", merge_of({2}, {{1, 0}, {-3, 0}}, {}, {1, 1}));
  EXPECT_EQ(two.out, (std::vector<float>{-1, 0}));
  EXPECT_NE(two.remark.find("cancel"), std::string::npos) << two.remark;
  for (const double eps : {0.0, 1e-8}) {
    MergeCase merge = merge_of({2}, {{2, 0}, {-1, 0}, {0, 0}}, {{"eps", eps}}, {1, 1, 2});
    const auto three = run_kernel("multislerp", merge);
    EXPECT_FLOAT_EQ(three.out[0], 0.25f) << eps;
    merge.base = std::vector<float>{10, -0.0f};
    merge.models = {{12, -0.0f}, {9, -0.0f}, {10, -0.0f}};
    EXPECT_EQ(bits_of(run_kernel("multislerp", merge).out), bits_of({10.25f, -0.0f})) << eps;
  }
  const auto zero = run_kernel("multislerp", merge_of({2}, {{0, 0}, {0, 0}}, {{"eps", 0}}, {1, 1}));
  EXPECT_EQ(zero.out, (std::vector<float>{0, 0}));
  EXPECT_EQ(zero.remark, "") << "nothing was there to cancel";
}

TEST(MultiSlerp, NearlyCancellingDirectionsKeepTheirDigits) {
  // Directions at pi - 2e-6: the mean direction is 1e-6 long. Its square, 1e-12, from inner products would have four digits.
  std::vector<float> a(2000, 0.0f), b(2000, 0.0f);
  Rng rng(5);
  for (std::size_t i = 0; i < 1999; ++i) {
    a[i] = static_cast<float>(uniform(rng, -1, 1));
    b[i] = -a[i];
  }
  a[1999] = b[1999] = static_cast<float>(1e-6 * length(wide(a)));
  const auto driven = run_kernel("multislerp", merge_of({2000}, {a, b}, {}, {1, 1}));
  EXPECT_EQ(driven.reduce_passes, 2);
  EXPECT_EQ(driven.remark, "");
  EXPECT_NEAR(static_cast<double>(driven.out[1999]) / length(wide(a)), 1, 1e-7) << "all of the length lies along the last axis";
}

// ---- karcher ----

// The iteration on the vectors themselves.
Vec karcher_mean(const std::vector<Vec>& y, int max_iter, double tol) {
  std::vector<Vec> u;
  double lengths = 0;
  for (const Vec& v : y) {
    lengths += length(v) / static_cast<double>(y.size());
    if (length(v) > tol) u.push_back(combined({1 / length(v)}, {v}));
  }
  Vec mean(y[0].size());
  for (const Vec& v : u) add(mean, 1.0 / static_cast<double>(u.size()), v);
  mean = combined({1 / length(mean)}, {mean});
  for (int k = 0; k < max_iter; ++k) {
    Vec step(mean.size());
    for (const Vec& v : u) {
      const double c = std::clamp(dot(v, mean), -1.0, 1.0);
      const double angle = std::acos(c);
      if (angle >= tol) add(step, angle / std::sin(angle) / static_cast<double>(u.size()), minus(v, combined({c}, {mean})));
    }
    const double size = length(step);
    if (size < tol) break;
    mean = combined({std::cos(size), std::sin(size) / size}, {mean, step});
    mean = combined({1 / length(mean)}, {mean});
  }
  return combined({lengths}, {mean});
}

std::vector<float> on_circle(double angle, double radius = 1) {
  return {static_cast<float>(radius * std::cos(angle)), static_cast<float>(radius * std::sin(angle))};
}

TEST(Karcher, IteratesAsOnTheVectorsThemselves) {
  for (const int max_iter : {0, 1, 3, 50}) {
    MergeCase merge = random_merge({300}, 4, false, 31, {{"max_iter", max_iter}, {"tol", 1e-6}});
    expect_near(run_kernel("karcher", merge).out, karcher_mean(vectors_of(merge), max_iter, 1e-6), "karcher", 1e-7);
    // Fine-tunes of one base: small angles.
    for (std::size_t m = 1; m < 4; ++m) {
      for (std::size_t i = 0; i < 300; ++i) merge.models[m][i] = merge.models[0][i] + 0.01f * merge.models[m][i];
    }
    expect_near(run_kernel("karcher", merge).out, karcher_mean(vectors_of(merge), max_iter, 1e-6), "karcher, near", 1e-7);
  }
}

TEST(Karcher, OnACircleItIsTheMeanOfTheAngles) {
  const Args exact = {{"max_iter", 100}, {"tol", 1e-7}};
  const Driven driven = run_kernel("karcher", merge_of({2}, {on_circle(0), on_circle(0.2, 2), on_circle(1.6, 3)}, exact));
  EXPECT_NEAR(std::atan2(driven.out[1], driven.out[0]), 0.6, 1e-6);
  EXPECT_NEAR(length(wide(driven.out)), 2, 1e-6) << "the mean length";
  EXPECT_EQ(driven.note("converged"), 1);
  EXPECT_LT(driven.note("last step"), 1e-7);
  EXPECT_EQ(driven.remark, "");
  // The normalised mean is elsewhere.
  const Driven start = run_kernel("karcher", merge_of({2}, {on_circle(0), on_circle(0.2), on_circle(1.6)}, {{"max_iter", 0}}));
  EXPECT_GT(std::abs(std::atan2(start.out[1], start.out[0]) - 0.6), 0.01);
  EXPECT_EQ(start.note("steps"), 0);
  EXPECT_EQ(start.remark, "") << "no search was asked for";
}

TEST(Karcher, SaysWhenItDidNotConverge) {
  // On a circle one step is enough; on a sphere it is not.
  const std::vector<std::vector<float>> models = {{1, 0, 0}, {0, 1, 0}, {-0.9f, 0.1f, 0.3f}};
  const Driven stopped = run_kernel("karcher", merge_of({3}, models, {{"max_iter", 1}, {"tol", 1e-9}}));
  EXPECT_EQ(stopped.remark, "stopped at max_iter before the step fell below tol");
  EXPECT_EQ(stopped.note("converged"), 0);
  EXPECT_EQ(stopped.note("steps"), 1);
  EXPECT_EQ(run_kernel("karcher", merge_of({3}, models, {{"max_iter", 1000}, {"tol", 1e-5}})).remark, "");
}

TEST(Karcher, ShortInputsCountInTheLengthOnly) {
  const Driven driven = run_kernel("karcher", merge_of({2}, {{0, 4}, {0, 0}, {2, 0}, {1e-6f, 1e-6f}}, {}));
  // Directions: the two axes. Length: 6 / 4, and next to nothing.
  EXPECT_NEAR(static_cast<double>(driven.out[0]), 1.5 * std::numbers::sqrt2 / 2, 1e-5);
  EXPECT_NEAR(static_cast<double>(driven.out[1]), 1.5 * std::numbers::sqrt2 / 2, 1e-5);
  const Driven none = run_kernel("karcher", merge_of({2}, {{1e-6f, 0}, {0, 1e-6f}}, {}));
  EXPECT_EQ(none.out, (std::vector<float>{0, 0}));
  EXPECT_NE(none.remark.find("the output is zero"), std::string::npos);
  EXPECT_EQ(run_kernel("karcher", merge_of({1}, {{0}, {0}})).remark, "") << "zeros lose nothing";
}

TEST(Karcher, AnOppositeModelIsLeftOutOfTheStep) {
  // mergekit divides by the sine of pi.
  const Driven two = run_kernel("karcher", merge_of({2}, {{1, 2}, {-1, -2}}));
  expect_near(two.out, {1, 2}, "the first model");
  EXPECT_NE(two.remark.find("first model"), std::string::npos) << two.remark;
  EXPECT_NE(two.remark.find("opposite"), std::string::npos) << two.remark;
  // The start is the first of two, and the third lies opposite to it.
  const Driven three = run_kernel("karcher", merge_of({2}, {{1, 0}, {1, 0}, {-1, 0}}));
  expect_near(three.out, {1, 0}, "two against one");
  EXPECT_NE(three.remark.find("opposite"), std::string::npos) << three.remark;
}

TEST(MergekitDefects, D9_KarcherDoesNotAverageTheBaseIn) {
  EXPECT_EQ(find_method("karcher")->base, BaseRule::kOnlyListed);
  MergeCase merge = merge_of({2}, {{1, 0}, {0, 1}});
  const auto without = run_kernel("karcher", merge).out;
  EXPECT_NEAR(static_cast<double>(without[0]), std::numbers::sqrt2 / 2, 1e-7);
}

TEST(MergekitDefects, D32_SmallAnglesCount) {
  // At one degree the cosine is 1 in bf16, and 0.99985 has no f16 or bf16 of its own.
  const double angle = std::numbers::pi / 180;
  const Driven karcher =
      run_kernel("karcher", merge_of({2}, {on_circle(0), on_circle(angle), on_circle(angle)}, {{"max_iter", 100}, {"tol", 1e-8}}));
  EXPECT_NEAR(std::atan2(karcher.out[1], karcher.out[0]), 2 * angle / 3, 1e-7);
  EXPECT_NEAR(run_kernel("nuslerp", merge_of({2}, {on_circle(0), on_circle(angle)}, {}, {1, 1})).note("cosine"), std::cos(angle), 1e-8);
}

// ---- model_stock ----

MergeCase stock(std::vector<std::vector<float>> deltas, Args global = {}) {
  MergeCase merge;
  const auto n = deltas[0].size();
  merge.shape = {static_cast<std::int64_t>(n)};
  merge.base = std::vector<float>(n, 0.0f);
  merge.models = std::move(deltas);
  merge.global = std::move(global);
  return merge;
}

double mean_cosine(const std::vector<Vec>& y) {
  double sum = 0, pairs = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      sum += dot(y[i], y[j]) / (length(y[i]) * length(y[j]));
      pairs += 1;
    }
  }
  return sum / pairs;
}

Vec stocked(const std::vector<Vec>& y) {
  const double c = mean_cosine(y);
  const auto n = static_cast<double>(y.size());
  return combined(std::vector<double>(y.size(), c / (1 + (n - 1) * c)), y);
}

// Models around a common task vector, as fine-tunes of one task are.
MergeCase related(Shape shape, std::size_t models, std::uint64_t seed, Args global = {}) {
  MergeCase merge = random_merge(std::move(shape), models, true, seed, std::move(global));
  Rng rng(seed + 1);
  const auto common = make_values(Values::kNormal, merge.elems(), rng);
  for (auto& m : merge.models) {
    for (std::size_t i = 0; i < m.size(); ++i) m[i] = (*merge.base)[i] + 0.01f * (m[i] + common[i]);
  }
  return merge;
}

TEST(ModelStock, GoesAsFarAsTheMeanCosineSays) {
  for (const std::size_t models : {2u, 3u, 5u}) {
    const MergeCase merge = related({30, 40}, models, 40 + models);
    const auto y = vectors_of(merge);
    const Driven driven = run_kernel("model_stock", merge);
    expect_near(driven.out, on_base(merge, stocked(y)), "model_stock");
    EXPECT_NEAR(driven.note("mean cosine"), mean_cosine(y), 1e-12);
    EXPECT_EQ(driven.remark, "");
  }
}

TEST(ModelStock, FilterWiseTakesEachRowByItself) {
  constexpr std::size_t kRows = 6, kColumns = 50;
  const MergeCase merge = related({2, 3, kColumns}, 3, 45, {{"filter_wise", true}});
  const auto y = vectors_of(merge);
  Vec want(kRows * kColumns);
  for (std::size_t r = 0; r < kRows; ++r) {
    std::vector<Vec> rows;
    for (const Vec& v : y) rows.push_back(gather(v, row_of(r, kColumns)));
    const Vec row = stocked(rows);
    std::copy(row.begin(), row.end(), want.begin() + static_cast<std::ptrdiff_t>(r * kColumns));
  }
  const Driven driven = run_kernel("model_stock", merge);
  expect_near(driven.out, on_base(merge, want), "rows");
  EXPECT_EQ(driven.reduce_passes, 0) << "a row lies in one tile";
  EXPECT_EQ(driven.note("rows"), 6);
}

TEST(ModelStock, RowsLongerThanATileAreTheSameRows) {
  MergeCase merge = related({kLongestRow + 7}, 2, 46, {{"filter_wise", true}});
  const Driven rows = run_kernel("model_stock", merge);
  EXPECT_EQ(rows.reduce_passes, 1);
  merge.global = {};
  EXPECT_EQ(bits_of(rows.out), bits_of(run_kernel("model_stock", merge).out)) << "one axis is one row";
}

TEST(MergekitDefects, D36_SmallTaskVectorsAreNotPulledToTheBase) {
  // The product of the two lengths is 1e-12 or less, far below mergekit's floor of 1e-6.
  for (const float size : {1.0f, 0x1p-20f, 0x1p-60f}) {
    const Driven driven = run_kernel("model_stock", stock({{size, size, 0}, {size, 0, size}}));
    EXPECT_EQ(driven.note("mean cosine"), 0.5) << size;
    const float expected = static_cast<float>(2.0 / 3 * static_cast<double>(size));
    EXPECT_FLOAT_EQ(driven.out[0], expected) << size;
  }
}

TEST(ModelStock, EqualModelsGiveThatModel) {
  Rng rng(50);
  for (const char* form : {"mean_cosine", "projection"}) {
    for (const std::size_t models : {2u, 3u, 4u}) {
      const auto x = make_values(Values::kNormal, 500, rng);
      MergeCase merge = merge_of({500}, std::vector<std::vector<float>>(models, x), {{"form", form}});
      merge.base = make_values(Values::kNormal, 500, rng);
      const Driven driven = run_kernel("model_stock", merge);
      EXPECT_EQ(driven.note("mean cosine"), 1) << form;
      EXPECT_EQ(driven.note("t"), 1) << form;
      EXPECT_EQ(driven.out, x) << form << models;
    }
  }
}

TEST(MergekitDefects, D36_ANegativeMeanCosineIsToldAndCanBeClamped) {
  const std::vector<std::vector<float>> deltas = {{1, 0}, {-1, 1}};
  const double c = -std::numbers::sqrt2 / 2;
  const Driven away = run_kernel("model_stock", stock(deltas));
  EXPECT_NEAR(away.note("t"), 2 * c / (1 + c), 1e-12);
  EXPECT_NEAR(static_cast<double>(away.out[1]), c / (1 + c), 1e-6);
  EXPECT_NE(away.remark.find("clamp: true stops this"), std::string::npos) << away.remark;
  for (const char* form : {"mean_cosine", "projection"}) {
    const Driven held = run_kernel("model_stock", stock(deltas, {{"clamp", true}, {"form", form}}));
    EXPECT_EQ(held.out, (std::vector<float>{0, 0})) << form;
    EXPECT_EQ(held.note("t"), 0) << form;
    EXPECT_EQ(held.remark, "") << form;
  }
  // Rows are counted one by one.
  MergeCase rows = stock({{1, 0, 1, 0}, {-1, 1, 1, 1}}, {{"filter_wise", true}});
  rows.shape = {2, 2};
  EXPECT_EQ(run_kernel("model_stock", rows).note("rows of negative mean cosine"), 1);
  EXPECT_NE(run_kernel("model_stock", rows).remark, "");
}

TEST(ModelStock, DirectionsThatAddUpToZeroLeaveTheBase) {
  // t is -2 / 0.
  for (const Args& global : {Args{}, Args{{"filter_wise", true}}, Args{{"form", "projection"}}}) {
    MergeCase merge = stock({{1, 2}, {-2, -4}}, global);
    merge.base = std::vector<float>{0, -0.0f};
    const Driven driven = run_kernel("model_stock", merge);
    EXPECT_EQ(bits_of(driven.out), bits_of(*merge.base));
    EXPECT_NE(driven.remark.find("the base was kept"), std::string::npos) << driven.remark;
  }
}

TEST(ModelStock, ProjectionIsTheClosedFormForEqualLengthsAndAngles) {
  // mu' plus orthogonal parts of one length.
  const std::vector<std::vector<float>> deltas = {{3, 4, 0, 0}, {3, 0, 4, 0}, {3, 0, 0, 4}};
  const Driven mean = run_kernel("model_stock", stock(deltas));
  const Driven projected = run_kernel("model_stock", stock(deltas, {{"form", "projection"}}));
  const double c = 9.0 / 25;
  EXPECT_NEAR(mean.note("t"), 3 * c / (1 + 2 * c), 1e-14);
  EXPECT_NEAR(projected.note("t"), mean.note("t"), 1e-14);
  expect_near(projected.out, wide(mean.out), "equal lengths", 1e-7);
}

TEST(ModelStock, ProjectionIsTheFootOfThePerpendicularForAnyLengths) {
  // By the paper's assumptions <delta_i, mu'> = ||mu'||^2 for all i. Orthogonal parts of any length keep that true.
  const std::vector<std::vector<float>> deltas = {{2, 1, 0, 0}, {2, 0, 5, 0}, {2, 0, 0, 3}};
  const Driven driven = run_kernel("model_stock", stock(deltas, {{"form", "projection"}}));
  const Vec centre = {2, 0, 0, 0};
  const Vec off = minus(centre, wide(driven.out));
  for (const auto& d : deltas) EXPECT_NEAR(dot(off, wide(d)), 0, 1e-5) << "the rest is orthogonal to every task vector";
  EXPECT_GT(length(minus(wide(driven.out), wide(run_kernel("model_stock", stock(deltas)).out))), 0.1) << "mean_cosine is elsewhere";
  // Random ones: the defining equations.
  const MergeCase merge = related({400}, 5, 60, {{"form", "projection"}});
  const auto y = vectors_of(merge);
  double m = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t j = 0; j < i; ++j) m += dot(y[i], y[j]) / 10;
  }
  const Vec moved = minus(wide(run_kernel("model_stock", merge).out), wide(*merge.base));
  for (const Vec& v : y) EXPECT_NEAR(dot(moved, v) / m, 1, 1e-4);
}

TEST(ModelStock, ProjectionOfDependentTaskVectorsIsMeanCosine) {
  // Colinear, zero, and more vectors than dimensions.
  for (const auto& deltas : {std::vector<std::vector<float>>{{1, 2}, {2, 4}}, std::vector<std::vector<float>>{{1, 2}, {0, 0}},
                             std::vector<std::vector<float>>{{1, 2}, {2, 1}, {3, 1}}}) {
    const Driven projected = run_kernel("model_stock", stock(deltas, {{"form", "projection"}}));
    EXPECT_EQ(bits_of(projected.out), bits_of(run_kernel("model_stock", stock(deltas)).out));
    EXPECT_NE(projected.remark.find("linearly dependent"), std::string::npos) << projected.remark;
  }
}

TEST(ModelStock, ClampHoldsTheSumOfAProjection) {
  // m = 2.96; G^-1 1 leans on the short one, and the sum is above one.
  const std::vector<std::vector<float>> deltas = {{1, 0}, {3, 1}};
  const Driven free = run_kernel("model_stock", stock(deltas, {{"form", "projection"}}));
  ASSERT_GT(free.note("t"), 1.0);
  const Driven held = run_kernel("model_stock", stock(deltas, {{"form", "projection"}, {"clamp", true}}));
  EXPECT_EQ(held.note("t"), 1.0);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_FLOAT_EQ(held.out[i], free.out[i] / static_cast<float>(free.note("t")));
}

TEST(ModelStock, AModelThatIsTheBaseHasCosineZero) {
  const Driven driven = run_kernel("model_stock", stock({{1, 2}, {0, 0}}));
  EXPECT_EQ(driven.note("mean cosine"), 0);
  EXPECT_EQ(driven.out, (std::vector<float>{0, 0}));
  EXPECT_EQ(driven.remark, "");
}

}  // namespace
}  // namespace crucible::test
