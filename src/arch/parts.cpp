#include "arch/parts.h"

namespace crucible {

std::vector<PartTensors> split_by_part(const std::vector<const TensorInfo*>& tensors, const std::vector<ModelPart>& parts) {
  std::vector<PartTensors> out(parts.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::size_t p = part_of(parts, tensors[i]->name);
    out[p].index.push_back(i);
    if (p == 0) {
      out[p].tensors.push_back(tensors[i]);
    } else {
      TensorInfo& own = out[p].own.emplace_back(*tensors[i]);
      own.name = std::string(name_in_folder(tensors[i]->name, parts[p].folder));
    }
  }
  for (std::size_t p = 1; p < out.size(); ++p) {
    for (const TensorInfo& info : out[p].own) out[p].tensors.push_back(&info);
  }
  return out;
}

std::vector<LayerStack> find_layer_stacks(const std::vector<const TensorInfo*>& tensors, const std::vector<ModelPart>& parts) {
  std::vector<LayerStack> all;
  const std::vector<PartTensors> split = split_by_part(tensors, parts);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    std::vector<std::string_view> names;
    names.reserve(split[p].tensors.size());
    for (const TensorInfo* t : split[p].tensors) names.emplace_back(t->name);
    for (LayerStack& stack : find_layer_stacks(names, parts[p].config_text)) {
      if (p > 0) {
        if (stack.name.empty()) continue;  // "0.weight": nothing in the whole model's names begins a run of numbers there
        stack.name = name_below(parts[p].folder, stack.name);
        stack.folder = parts[p].folder;
        stack.is_main = false;
      }
      all.push_back(std::move(stack));
    }
  }
  return all;
}

std::vector<TensorRole> infer_roles(const std::vector<const TensorInfo*>& tensors, const std::vector<ModelPart>& parts) {
  std::vector<TensorRole> roles(tensors.size());
  const std::vector<PartTensors> split = split_by_part(tensors, parts);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    std::vector<TensorRole> found = infer_roles(split[p].tensors, parts[p].config_text);
    for (std::size_t i = 0; i < found.size(); ++i) roles[split[p].index[i]] = std::move(found[i]);
  }
  return roles;
}

}  // namespace crucible
