// Models made of several networks (crucible/part.h): what is read of names and config.json is read of each part alone.
#pragma once

#include <string>
#include <vector>

#include "arch/layers.h"
#include "arch/roles.h"
#include "crucible/part.h"
#include "crucible/tensor.h"

namespace crucible {

// The tensors of one part, under the names that they have in its files.
struct PartTensors {
  std::vector<TensorInfo> own;             // what `tensors` points at; unused where names are the same as in the whole
  std::vector<const TensorInfo*> tensors;  // in their order
  std::vector<std::size_t> index;          // of each in the list that was split
};

// By part, in the order of `parts`. Valid as long as `tensors` is.
std::vector<PartTensors> split_by_part(const std::vector<const TensorInfo*>& tensors, const std::vector<ModelPart>& parts);

// find_layer_stacks of each part. Stacks have the names that their tensors begin with ("unet/down_blocks"); those of a folder within the
// model are never the main one, and their keys are of that folder's config.json.
std::vector<LayerStack> find_layer_stacks(const std::vector<const TensorInfo*>& tensors, const std::vector<ModelPart>& parts);

// infer_roles of each part.
std::vector<TensorRole> infer_roles(const std::vector<const TensorInfo*>& tensors, const std::vector<ModelPart>& parts);

}  // namespace crucible
