// Methods whose output is a combination of their inputs, with coefficients that depend on inner products only:
//
//   y_i = x_i, or x_i - base where there is a base
//   out = (base +) sum_i c_i * y_i,   c from the matrix of all <y_i, y_j>
//
// One pass takes the matrix in f64, the method works on its few numbers, one pass writes. A vector is a whole tensor or a row of it
// (the last axis): a tensor of one axis is one row, a scalar a row of one.
#pragma once

#include <span>
#include <vector>

#include "methods/kernel.h"

namespace crucible {

// The inner products of n vectors: the lower triangle, row by row.
class Gram {
 public:
  explicit Gram(std::span<const double> packed, std::size_t n) : packed_(packed), n_(n) {}
  static std::size_t packed_size(std::size_t n) noexcept { return n * (n + 1) / 2; }
  static std::size_t at(std::size_t i, std::size_t j) noexcept { return i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i; }

  std::size_t size() const noexcept { return n_; }
  double operator()(std::size_t i, std::size_t j) const noexcept { return packed_[at(i, j)]; }
  double norm(std::size_t i) const noexcept;
  // In [-1, 1]; exactly 1 for equal vectors, 0 where one of them is zero.
  double cosine(std::size_t i, std::size_t j) const noexcept;

 private:
  std::span<const double> packed_;
  std::size_t n_;
};

class GramKernel : public Kernel {
 public:
  void prepare() override;
  Next first() const noexcept override { return models_ < 2 || in_map_ ? Next::kMap : Next::kReduce; }
  int sum_count(int pass) const noexcept override;
  void reduce(int pass, const Tile& tile, const TileInputs& in, double* sums, std::uint64_t* counts, Measure& measure,
              Scratch& scratch) noexcept override;
  Next seal(int pass, const Totals& totals) noexcept override;
  void map(const Tile& tile, const TileInputs& in, float* out, Measure& measure, Scratch& scratch) noexcept final;
  // One model alone has no angle to anything: it is the output. No model at all leaves the base.
  bool copies_input() const noexcept final { return models_ == 1; }
  std::int64_t kept_bytes() const noexcept override;
  std::int64_t scratch_bytes() const noexcept override;

 protected:
  enum class Vectors { kTensor, kRows };
  GramKernel(const KernelSpec& spec, Vectors vectors);

  // The coefficients of one vector; at least two models. Rows that fit a tile are combined by several threads at once.
  virtual void combine(const Gram& gram, std::span<double> coefficients) noexcept = 0;

  std::size_t models() const noexcept { return models_; }
  bool whole_tensor() const noexcept { return vectors_ == Vectors::kTensor; }
  std::int64_t vector_count() const noexcept { return count_; }
  // Of the whole tensor, after the Gram pass.
  std::span<double> coefficients() noexcept { return coefficients_; }

 private:
  std::size_t models_;
  std::size_t pairs_;
  Vectors vectors_;
  bool in_map_;          // every tile holds whole vectors: no pass is needed
  std::int64_t length_;  // of a vector
  std::int64_t count_;   // of vectors
  std::vector<double> coefficients_;
};

}  // namespace crucible
