// The last look before an output is put in place: is what lies on the disk the model that was planned, and does it fit together?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace crucible {

struct PostCheck {
  std::int64_t checks = 0;
  std::vector<std::string> faults;    // what was written is not what was planned, or does not fit together
  std::vector<std::string> notices;   // the same, where an input is no better: such models load all the same
  std::int64_t copied_nonfinite = 0;  // NaN and infinite elements of tensors that were copied

  // Throws Error{kDamaged} that names every fault.
  void throw_if_wrong() const;
};

// Every byte of every weight file must have been written once. `unwritten`: by file of the plan, bytes that were not.
void check_coverage(const Plan& plan, const std::vector<std::int64_t>& unwritten, PostCheck& check);

// Reads the folder again: sizes and headers of the weight files, each tensor's place, the index, config.json and the copied files; then
// whether layers, vocabulary and tying agree between tensors, config and tokenizer. Reads no tensor data.
void check_output(const Plan& plan, const std::string& folder, PostCheck& check);

// NaN and infinite elements in stored bytes; 0 for types without them.
std::int64_t count_nonfinite_stored(DType dtype, const void* data, std::size_t size) noexcept;

}  // namespace crucible
