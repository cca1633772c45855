// The descriptions of a list of tensors, for code that looks at names and shapes only.
#pragma once

#include <vector>

#include "crucible/tensor.h"

namespace crucible {

// One pointer for each element's `info`, in order; valid as long as `tensors` is.
template <typename Tensor>
std::vector<const TensorInfo*> tensor_infos(const std::vector<Tensor>& tensors) {
  std::vector<const TensorInfo*> infos;
  infos.reserve(tensors.size());
  for (const Tensor& t : tensors) infos.push_back(&t.info);
  return infos;
}

}  // namespace crucible
