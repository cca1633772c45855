// NuSLERP: spherical interpolation of two models, or of their task vectors, by weights; whole tensors, rows or columns as vectors.
#include <algorithm>
#include <atomic>
#include <cmath>

#include <fmt/format.h>

#include "methods/method.h"
#include "methods/shared/gram.h"
#include "methods/shared/promises.h"
#include "simd/gram.h"

namespace crucible {
namespace {

struct Global {
  bool nuslerp_flatten = true;
  bool nuslerp_row_wise = false;
};
struct Model {
  double weight = 1.0;
};

const FieldTable& global_fields() {
  static const FieldTable table{
      field(&Global::nuslerp_flatten, "nuslerp_flatten", "take the whole tensor as one vector; false: many vectors, each with its own arc")
          .neutral(true),
      field(&Global::nuslerp_row_wise, "nuslerp_row_wise",
            "with nuslerp_flatten false. false: the vectors lie along the last axis, which is the rows of a matrix. true: along the first "
            "axis, the columns of a matrix. The name says the opposite; it is kept as recipes know it")
          .neutral(false)};
  return table;
}
const FieldTable& model_fields() {
  static const FieldTable table{field(&Model::weight, "weight", "weight of the model; only the share in the sum of the two counts")
                                    .symbol("w_i")
                                    .required()
                                    .neutral(1.0)};
  return table;
}

// Columns keep three sums each in every tile under way.
constexpr std::int64_t kMostColumns = std::int64_t{1} << 18;
constexpr double kNoSum = 1e-6;

std::int64_t column_count(const Shape& shape) { return shape.empty() || shape[0] == 0 ? 1 : elem_count(shape) / shape[0]; }

// The position between the two models.
double position(double w0, double w1) { return std::abs(w0 + w1) < kNoSum ? 0.5 : w1 / (w0 + w1); }

// The coefficients of two vectors on the arc between them.
struct Arc {
  double c0;
  double c1;
  double cosine;
  bool opposite;  // no arc is the shortest: the straight line was taken
};

Arc arc_between(double square0, double product, double square1, double t) {
  // A vector shorter than this has no direction: its part in the cosine fades to zero.
  constexpr double kShortest = 1e-7;
  // A sine below this is a straight line: an f64 cosine does not tell smaller angles apart, near 0 or near pi.
  constexpr double kStraight = 1e-6;
  const double lengths = std::max(std::sqrt(square0), kShortest) * std::max(std::sqrt(square1), kShortest);
  const double cosine = std::clamp(product / lengths, -1.0, 1.0);
  const double angle = std::acos(cosine);
  const double sine = std::sin(angle);
  if (sine < kStraight) return {1 - t, t, cosine, cosine < 0};
  return {std::sin((1 - t) * angle) / sine, std::sin(t * angle) / sine, cosine, false};
}

constexpr const char* kOppositeRemark =
    "vectors of opposite direction were met: no arc between them is the shortest, so they were interpolated linearly";

// Whole tensors and rows.
class NuSlerpKernel final : public GramKernel {
 public:
  NuSlerpKernel(const KernelSpec& spec, bool flatten, double t) : GramKernel(spec, flatten ? Vectors::kTensor : Vectors::kRows), t_(t) {}

  std::vector<Note> notes() const override {
    if (models() < 2) return {};
    if (!whole_tensor()) {
      return {{"t", t_}, {"vectors", static_cast<double>(vector_count())}, {"opposite vectors", static_cast<double>(opposite_.load())}};
    }
    return {{"t", t_}, {"cosine", arc_.cosine}, {"coefficient[0]", arc_.c0}, {"coefficient[1]", arc_.c1}};
  }
  std::string remark() const override { return opposite_.load() > 0 ? kOppositeRemark : ""; }

 protected:
  void combine(const Gram& gram, std::span<double> c) noexcept override {
    const Arc arc = arc_between(gram(0, 0), gram(1, 0), gram(1, 1), t_);
    c[0] = arc.c0;
    c[1] = arc.c1;
    if (arc.opposite) opposite_.fetch_add(1, std::memory_order_relaxed);
    if (whole_tensor()) arc_ = arc;
  }

 private:
  double t_;
  Arc arc_ = {1, 0, 0, false};
  std::atomic<std::int64_t> opposite_{0};
};

// Vectors along the first axis: a tile holds parts of many, so each has its sums in a pass.
class NuSlerpColumnsKernel final : public Kernel {
 public:
  NuSlerpColumnsKernel(const KernelSpec& spec, double t) : t_(t), columns_(column_count(*spec.shape)) {}

  void prepare() override {
    for (auto& c : coefficients_) c.assign(static_cast<std::size_t>(columns_), 0.0);
  }
  Next first() const noexcept override { return Next::kReduce; }
  int sum_count(int) const noexcept override { return static_cast<int>(3 * columns_); }

  void reduce(int, const Tile& tile, const TileInputs& in, double* sums, std::uint64_t*, Measure&, Scratch&) noexcept override {
    for_each_run(tile, [&](std::int64_t column, std::int64_t offset, std::int64_t n) {
      simd::add_products(from(in.base, offset), in.models[0] + offset, in.models[1] + offset, sums + column, sums + columns_ + column,
                         sums + 2 * columns_ + column, n);
    });
  }

  Next seal(int, const Totals& totals) noexcept override {
    const auto columns = static_cast<std::size_t>(columns_);
    for (std::size_t k = 0; k < columns; ++k) {
      const Arc arc = arc_between(totals.sums[k], totals.sums[columns + k], totals.sums[2 * columns + k], t_);
      coefficients_[0][k] = arc.c0;
      coefficients_[1][k] = arc.c1;
      opposite_ += arc.opposite ? 1 : 0;
    }
    return Next::kMap;
  }

  void map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch&) noexcept override {
    for_each_run(tile, [&](std::int64_t column, std::int64_t offset, std::int64_t n) {
      simd::weighted_pairs(from(in.base, offset), in.models[0] + offset, in.models[1] + offset, coefficients_[0].data() + column,
                           coefficients_[1].data() + column, out + offset, n);
    });
  }

  // Two coefficients a column, and three sums in the job's total and in a tile that waits to be added.
  std::int64_t kept_bytes() const noexcept override { return columns_ * (2 + 2 * 3) * static_cast<std::int64_t>(sizeof(double)); }
  // The sums of the tile that a worker is at.
  std::int64_t scratch_bytes() const noexcept override { return columns_ * 3 * static_cast<std::int64_t>(sizeof(double)); }

  std::vector<Note> notes() const override {
    return {{"t", t_}, {"vectors", static_cast<double>(columns_)}, {"opposite vectors", static_cast<double>(opposite_)}};
  }
  std::string remark() const override { return opposite_ > 0 ? kOppositeRemark : ""; }

 private:
  static const float* from(const float* base, std::int64_t offset) noexcept { return base == nullptr ? nullptr : base + offset; }

  // Calls visit(first column, offset in the tile, elements) for every stretch of consecutive columns.
  template <typename Visit>
  void for_each_run(const Tile& tile, const Visit& visit) const {
    for (std::int64_t offset = 0; offset < tile.count;) {
      const std::int64_t column = (tile.begin + offset) % columns_;
      const std::int64_t n = std::min(columns_ - column, tile.count - offset);
      visit(column, offset, n);
      offset += n;
    }
  }

  double t_;
  std::int64_t columns_;
  std::int64_t opposite_ = 0;
  std::vector<double> coefficients_[2];
};

std::unique_ptr<Kernel> make(const KernelSpec& spec) {
  const bool flatten = spec.global->take(&Global::nuslerp_flatten);
  const bool along_first = spec.global->take(&Global::nuslerp_row_wise);
  double weights[2] = {1, 0};
  for (std::size_t i = 0; i < spec.models.size(); ++i) weights[i] = spec.models[i].take(&Model::weight);
  const double t = position(weights[0], weights[1]);
  if (!flatten && along_first && spec.models.size() == 2) return std::make_unique<NuSlerpColumnsKernel>(spec, t);
  return std::make_unique<NuSlerpKernel>(spec, flatten, t);
}

void check(const JobFacts& job, Findings& findings) {
  if (job.models.size() == 1 && job.has_base) {
    findings.error("nuslerp with a base_model needs exactly two models besides it: their task vectors are interpolated",
                   "leave base_model out to get the one model as it is");
  }
  if (job.models.size() == 2) {
    const double sum = job.models[0].peek(&Model::weight) + job.models[1].peek(&Model::weight);
    if (std::abs(sum) < kNoSum) {
      findings.notice("the two weights sum to zero somewhere: nuslerp goes half way there (t = 0.5)",
                      "give weights with a sum of their own");
    }
  }
  const bool flatten = job.global->peek(&Global::nuslerp_flatten);
  const bool along_first = job.global->peek(&Global::nuslerp_row_wise);
  if (flatten && along_first) {
    findings.notice("nuslerp_row_wise has no effect while nuslerp_flatten is true: the whole tensor is one vector",
                    "set nuslerp_flatten: false");
  }
  if (job.models.size() == 2 && !flatten && along_first && column_count(*job.shape) > kMostColumns) {
    findings.error(fmt::format("nuslerp_row_wise: true keeps sums for every column, and a tensor of shape {} has {}; at most {} are taken",
                               to_string(*job.shape), column_count(*job.shape), kMostColumns),
                   "use nuslerp_row_wise: false (vectors along the last axis) or nuslerp_flatten: true, for these tensors by a filter");
  }
}

// Of whole tensors only: rows and columns have coefficients of their own each.
void promise(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note> notes, Promises& out) {
  if (job.models.size() != 2 || !job.global->peek(&Global::nuslerp_flatten) || notes.size() < 2) return;
  const double w0 = job.models[0].peek(&Model::weight), w1 = job.models[1].peek(&Model::weight);
  const auto at = [&notes](double t) {
    const Arc arc = arc_between(1, notes[1].value, 1, t);
    return std::vector<double>{arc.c0, arc.c1};
  };
  promise_combination(measure, at(position(w0, w1)), {"weight"}, {{"weight", at(position(w1, w0))}, {"weight", at(0.5)}}, out);
}

}  // namespace

const Method& method_nuslerp() {
  static const Method method = {
      .name = "nuslerp",
      .title = "NuSLERP",
      .summary = "Interpolates two models along the arc between them, or between their task vectors, by weights.",
      .formula = R"(t = w_1 / (w_0 + w_1),  0.5 where the sum is zero
v_i = x_i, or x_i - base where there is a base;  a vector is the whole tensor, a row (last axis) or a column (first axis)
cos a = <v_0, v_1> / (max(||v_0||, 1e-7) max(||v_1||, 1e-7))
m = (sin((1 - t) a) * v_0 + sin(t a) * v_1) / sin a,  or (1 - t) * v_0 + t * v_1 where sin a < 1e-6
out = (base +) m)",
      .deviations =
          R"(Norms, cosines and angles are taken in f64 (mergekit: in the tensors' type). Vectors of opposite direction are interpolated linearly,
with a remark: mergekit means to, but its threshold lies below its rounding, and the result explodes (D30). Axes of length one are no special
case (D30). nuslerp_row_wise is named the wrong way round in mergekit; the name and what it does are kept. There is no paper.)",
      .paper = "",
      .base = BaseRule::kOptional,
      .min_models = 1,
      .max_models = 2,
      .grain = Grain::kRow,
      .global = &global_fields(),
      .model = &model_fields(),
      .laws = {Law::kOneModelIsItself, Law::kBaseIsFixedPoint, Law::kOrderDoesNotMatter, Law::kColumnPermutationCommutes},
      .examples = {{"two models, row by row", R"(merge_method: nuslerp
models:
- model: ./model_a
  parameters: {weight: 0.6}
- model: ./model_b
  parameters: {weight: 0.4}
parameters: {nuslerp_flatten: false}
dtype: bfloat16
)"}},
      .make_kernel = make,
      .check = check,
      .promise = promise,
  };
  return method;
}

}  // namespace crucible
