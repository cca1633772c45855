#include "methods/shared/gram.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd/gram.h"

namespace crucible {
namespace {

constexpr int kGramSlot = 0;
constexpr int kCoefficientSlot = 1;

// Calls visit(vector, offset in the tile, elements) for every piece of a vector that lies in the tile.
template <typename Visit>
void for_each_piece(const Tile& tile, std::int64_t length, const Visit& visit) {
  const std::int64_t end = tile.begin + tile.count;
  for (std::int64_t at = tile.begin; at < end;) {
    const std::int64_t vector = at / length;
    const std::int64_t stop = std::min(end, (vector + 1) * length);
    visit(static_cast<std::size_t>(vector), at - tile.begin, stop - at);
    at = stop;
  }
}

// The inputs of a tile from an offset on.
class InputsFrom {
 public:
  explicit InputsFrom(const TileInputs& in) : in_(in), x_(in.models.begin(), in.models.end()) {}
  void move_to(std::int64_t offset) noexcept {
    base_ = in_.base == nullptr ? nullptr : in_.base + offset;
    for (std::size_t i = 0; i < x_.size(); ++i) x_[i] = in_.models[i] + offset;
  }
  const float* base() const noexcept { return base_; }
  std::span<const float* const> x() const noexcept { return x_; }

 private:
  const TileInputs& in_;
  const float* base_ = nullptr;
  std::vector<const float*> x_;
};

}  // namespace

double Gram::norm(std::size_t i) const noexcept { return std::sqrt((*this)(i, i)); }

double Gram::cosine(std::size_t i, std::size_t j) const noexcept {
  const double squares = (*this)(i, i) * (*this)(j, j);
  // The square root of a square is exact: equal vectors have the cosine 1, not nearly 1.
  return squares == 0.0 ? 0.0 : std::clamp((*this)(i, j) / std::sqrt(squares), -1.0, 1.0);
}

GramKernel::GramKernel(const KernelSpec& spec, Vectors vectors)
    : models_(spec.models.size()),
      pairs_(Gram::packed_size(models_)),
      vectors_(vectors),
      in_map_(vectors == Vectors::kRows && spec.tiling.whole_rows),
      length_(std::max<std::int64_t>(vectors == Vectors::kRows ? spec.tiling.row : spec.tiling.elems, 1)),
      count_(spec.tiling.elems / length_) {}

void GramKernel::prepare() {
  if (first() == Next::kReduce) coefficients_.assign(static_cast<std::size_t>(count_) * models_, 0.0);
}

// Rows that do not fit a tile are longer than 2^20 entries, so there are few.
int GramKernel::sum_count(int) const noexcept { return static_cast<int>(static_cast<std::size_t>(count_) * pairs_); }

void GramKernel::reduce(int, const Tile& tile, const TileInputs& in, double* sums, std::uint64_t*, Measure&, Scratch&) noexcept {
  InputsFrom from(in);
  for_each_piece(tile, length_, [&](std::size_t vector, std::int64_t offset, std::int64_t n) {
    from.move_to(offset);
    double* gram = sums + vector * pairs_;  // zero before this tile
    simd::add_gram(from.base(), from.x(), gram, n);
  });
}

Next GramKernel::seal(int, const Totals& totals) noexcept {
  const std::span<double> all = coefficients_;
  for (std::size_t v = 0; v < static_cast<std::size_t>(count_); ++v) {
    combine(Gram(totals.sums.subspan(v * pairs_, pairs_), models_), all.subspan(v * models_, models_));
  }
  return Next::kMap;
}

void GramKernel::map(const Tile& tile, const TileInputs& in, float* out, Measure&, Scratch& scratch) noexcept {
  if (models_ < 2) {
    std::memcpy(out, models_ == 0 ? in.base : in.models[0], static_cast<std::size_t>(tile.count) * sizeof(float));
    return;
  }
  InputsFrom from(in);
  const std::span<double> gram(scratch.doubles(kGramSlot, static_cast<std::int64_t>(pairs_)), pairs_);
  const std::span<double> own(scratch.doubles(kCoefficientSlot, static_cast<std::int64_t>(models_)), models_);
  for_each_piece(tile, length_, [&](std::size_t vector, std::int64_t offset, std::int64_t n) {
    from.move_to(offset);
    std::span<const double> c = own;
    if (in_map_) {
      std::fill(gram.begin(), gram.end(), 0.0);
      simd::add_gram(from.base(), from.x(), gram.data(), n);
      combine(Gram(gram, models_), own);
    } else {
      c = std::span<const double>(coefficients_).subspan(vector * models_, models_);
    }
    simd::weighted_deltas(from.base(), from.x(), c, out + offset, n);
  });
}

std::int64_t GramKernel::kept_bytes() const noexcept {
  if (first() == Next::kMap) return 0;
  return count_ * static_cast<std::int64_t>((models_ + 2 * pairs_) * sizeof(double));  // the sums of the job, and of a tile
}

std::int64_t GramKernel::scratch_bytes() const noexcept {
  return static_cast<std::int64_t>((models_ + pairs_ + 2 * models_) * sizeof(double));
}

}  // namespace crucible
