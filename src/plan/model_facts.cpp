#include "plan/model_facts.h"

#include "arch/parts.h"
#include "tensor/tensor_infos.h"

namespace crucible {

ModelFacts::ModelFacts(const Plan& plan) : plan_(plan), roles_(plan.inputs.size()), found_(plan.inputs.size()) {
  for (const PlanInput& input : plan.inputs)
    stacks_.push_back(find_layer_stacks(tensor_infos(input.view->tensors()), input.checkpoint.parts()));
}

const LayerStack* ModelFacts::stack_named(int input, std::string_view name) const {
  for (const LayerStack& s : stacks(input)) {
    if (s.name == name) return &s;
  }
  return nullptr;
}

const ViewTensor* ModelFacts::find(int input, std::string_view tensor) {
  const ModelView& view = *plan_.inputs[static_cast<std::size_t>(input)].view;
  const std::vector<ViewTensor>& tensors = view.tensors();
  std::size_t& last = found_[static_cast<std::size_t>(input)];
  const std::size_t next = last + 1;
  if (next < tensors.size() && tensors[next].info.name == tensor) return &tensors[last = next];
  const ViewTensor* found = view.find(tensor);
  if (found != nullptr) last = static_cast<std::size_t>(found - tensors.data());
  return found;
}

const TensorRole& ModelFacts::role(int input, const ViewTensor& tensor) {
  const PlanInput& model = plan_.inputs[static_cast<std::size_t>(input)];
  std::vector<TensorRole>& roles = roles_[static_cast<std::size_t>(input)];
  const std::vector<ViewTensor>& tensors = model.view->tensors();
  if (roles.empty()) roles = infer_roles(tensor_infos(tensors), model.checkpoint.parts());
  return roles[static_cast<std::size_t>(&tensor - tensors.data())];
}

double layer_position(std::int64_t k, std::int64_t n) noexcept {
  if (k >= n) return 0;
  return n == 1 ? 1.0 : static_cast<double>(k) / static_cast<double>(n - 1);
}

}  // namespace crucible
