// What the two ways of judging share.
#pragma once

#include "audit/foreign.h"

namespace crucible::foreign {

// A job of the plan and the tensor of the output that it should have made.
struct Pair {
  std::size_t job = 0;
  const StoredTensor* out = nullptr;
};

// Distance of neighbouring numbers of a type at a magnitude.
double spacing(DType dtype, double magnitude) noexcept;
// The type with fewer digits.
DType coarser(DType a, DType b) noexcept;

// Elements [begin, begin + count) of a stored tensor, rounded to `through` on the way when given.
void read_elements(const Checkpoint& checkpoint, const StoredTensor& tensor, std::int64_t begin, std::int64_t count, float* out,
                   std::optional<DType> through);
void read_elements(const Plan& plan, const SourceTensor& source, std::int64_t begin, std::int64_t count, float* out,
                   std::optional<DType> through);

// A parameter that the recipe gives, and the value at which it would do nothing.
struct Alternative {
  std::string parameter;
  int input = -1;  // whose; -1: of the whole merge
  Value value;
  std::string asked_text;  // of the first tensor
  std::string value_text;
};
std::vector<Alternative> alternatives_of(const Plan& plan);
// The parameters of a job with an alternative in place.
std::shared_ptr<const Params> with_value(const std::shared_ptr<const Params>& params, const Alternative& alternative);
bool applies_to(const Alternative& alternative, const Job& job, std::size_t source);

void judge_by_recomputing(const Plan& plan, const Checkpoint& output, const std::vector<Pair>& pairs, const RunOptions& run,
                          ForeignReport& report);
void judge_masks(const Plan& plan, const Checkpoint& output, const std::vector<Pair>& pairs, const RunOptions& run, ForeignReport& report);

}  // namespace crucible::foreign
