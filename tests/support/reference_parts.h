// Shared by the files of the references: parameters as numbers, and what an element of an expected result is.
#pragma once

#include <string>
#include <vector>

#include "support/reference.h"

namespace crucible::test {

double number(const Args& args, const std::string& name, double otherwise);
bool flag(const Args& args, const std::string& name, bool otherwise);
std::string text(const Args& args, const std::string& name, const std::string& otherwise);

Expected blank(const MergeCase& merge);
void set(Expected& e, std::size_t i, double value, double largest);
// Rounding of f64 decides: any number will do.
void leave_open(Expected& e, std::size_t i);

// x - base, rounded once to f32: what every method with task vectors ranks, compares and adds up.
std::vector<double> task_vector(const MergeCase& merge, std::size_t model);
std::vector<double> values_of(const std::vector<float>& x);

// Vectors that a tensor is made of: `count` of them, the elements of each `stride` apart.
struct Lines {
  std::size_t count = 0, length = 0, stride = 1;
  std::size_t at(std::size_t line, std::size_t k) const { return stride == 1 ? line * length + k : line + k * stride; }
};
Lines whole_tensor(const MergeCase& merge);
Lines along_last_axis(const MergeCase& merge);
Lines along_first_axis(const MergeCase& merge);

// reference_sphere.cpp
Expected reference_nuslerp(const MergeCase& merge);
Expected reference_multislerp(const MergeCase& merge);
Expected reference_karcher(const MergeCase& merge);
Expected reference_model_stock(const MergeCase& merge);
// reference_elementwise.cpp
Expected reference_nearswap(const MergeCase& merge);
Expected reference_ram(const MergeCase& merge);
Expected reference_ramplus_tl(const MergeCase& merge);
Expected reference_sce(const MergeCase& merge);
Expected reference_arcee_fusion(const MergeCase& merge);

}  // namespace crucible::test
