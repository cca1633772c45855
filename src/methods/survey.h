// What a method must learn from the whole model before the first tensor is merged: TIES with one threshold for a whole model, for one.
//
// Jobs are seen tile by tile in any order, on any thread; what is counted are integers, so the result does not depend on the order:
//     see(pass, job, tile) for every tile of every job     -> counts
//     seal(pass, counts)   once                            -> one more pass, or done
// Kernels then read the sealed survey through their KernelSpec.
#pragma once

#include <cstdint>
#include <span>

#include "methods/kernel.h"

namespace crucible {

class Survey {
 public:
  virtual ~Survey() = default;

  virtual InputForm input_form() const noexcept { return InputForm::kValues; }
  // Size of the counters of a pass.
  virtual std::int64_t count_size(int pass) const noexcept = 0;
  // Does a pass look at this job (its index in the span that the survey was made of)?
  virtual bool wants(int pass, std::size_t job) const noexcept = 0;
  // ... and, in the pass under way, at this tile of it? Others are not read.
  virtual bool wants_tile(std::size_t /*job*/, const Tile&) const noexcept { return true; }
  virtual void see(int pass, std::size_t job, const Tile&, const TileInputs&, std::uint64_t* counts, Scratch&) noexcept = 0;
  // kReduce = one more pass, kMap = the survey is done.
  virtual Next seal(int pass, std::span<const std::uint64_t> counts) = 0;

  // Scratch of one worker and memory for counters and results, at most.
  virtual std::int64_t scratch_bytes() const noexcept = 0;
  virtual std::int64_t kept_bytes() const noexcept = 0;
};

}  // namespace crucible
