// TIES as its paper has it: one threshold for a whole model, and the sign that most elements of the whole merge elect where a sum is zero.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "methods/shared/task_arithmetic.h"
#include "methods/survey.h"
#include "tensor/selection.h"

namespace crucible::task_arithmetic {

// The survey of the jobs whose trim_scope is `model`. A model's vector is made of its task vectors in all these jobs, in the order of the
// tensors' names: equal magnitudes at the cut are taken from the front.
class GlobalTrim final : public Survey {
 public:
  // Null when no job asks for it. Reports densities of one model that differ.
  static std::unique_ptr<Survey> make(std::span<const KernelSpec> jobs, Findings& findings);

  InputForm input_form() const noexcept override { return InputForm::kTaskVectors; }
  std::int64_t count_size(int pass) const noexcept override;
  bool wants(int pass, std::size_t job) const noexcept override;
  bool wants_tile(std::size_t job, const Tile& tile) const noexcept override;
  void see(int pass, std::size_t job, const Tile&, const TileInputs&, std::uint64_t* counts, Scratch&) noexcept override;
  Next seal(int pass, std::span<const std::uint64_t> counts) override;
  std::int64_t scratch_bytes() const noexcept override;
  std::int64_t kept_bytes() const noexcept override;

  // For the kernels, once sealed.
  std::unique_ptr<Sparsifier> sparsifier(std::size_t plan_job, std::size_t model) const;
  bool zero_is_plus() const noexcept { return zero_is_plus_; }

 private:
  // The task vector of one model over all jobs. A model that stands twice in a job has two.
  struct Vector {
    int input = 0;
    int repeat = 0;
    double density = 1;
    std::int64_t elems = 0;
    RankCuts cuts{RankCuts::Spec{.takes = {0}}};  // one
    bool open = false;                            // its cut needs another pass
    std::int64_t take() const noexcept { return share_of(density, elems); }
    bool keeps_all() const noexcept { return take() == elems; }
    bool is_cut() const noexcept { return take() > 0 && !keeps_all(); }
  };
  struct SeenJob {
    std::size_t plan_job = 0;
    std::string tensor;
    bool takes_part = false;
    bool elects = false;
    std::int64_t first_tile = 0;
    std::vector<std::size_t> vectors;  // of each model
    std::vector<double> weights;
  };

  std::size_t vector_of(int input, int repeat);
  std::unique_ptr<Sparsifier> sparsifier(const SeenJob& job, std::size_t model) const;
  void count_signs(const SeenJob& job, const Tile& tile, const TileInputs& in, std::uint64_t* counts, Scratch& scratch) const noexcept;

  std::vector<Vector> vectors_;
  std::vector<SeenJob> jobs_;
  std::int64_t tiles_ = 0;
  bool selecting_ = true;  // then the signs are counted
  bool zero_is_plus_ = true;
};

}  // namespace crucible::task_arithmetic
