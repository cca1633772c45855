#include "plan/model_facts.h"

namespace crucible {

ModelFacts::ModelFacts(const Plan& plan) : plan_(plan), roles_(plan.inputs.size()) {
  for (const PlanInput& input : plan.inputs) {
    std::vector<std::string> names;
    for (const ViewTensor& t : input.view->tensors()) names.push_back(t.info.name);
    stacks_.push_back(find_layer_stacks(names, input.checkpoint.config_text()));
  }
}

const LayerStack* ModelFacts::stack_named(int input, const std::string& name) const {
  for (const LayerStack& s : stacks(input)) {
    if (s.name == name) return &s;
  }
  return nullptr;
}

bool ModelFacts::has(int input, const std::string& tensor) const {
  return plan_.inputs[static_cast<std::size_t>(input)].view->find(tensor) != nullptr;
}

const TensorRole& ModelFacts::role(int input, const std::string& tensor) {
  static const TensorRole none;
  std::unique_ptr<Roles>& roles = roles_[static_cast<std::size_t>(input)];
  if (roles == nullptr) {
    roles = std::make_unique<Roles>();
    const PlanInput& model = plan_.inputs[static_cast<std::size_t>(input)];
    std::vector<const TensorInfo*> infos;
    for (const ViewTensor& t : model.view->tensors()) infos.push_back(&t.info);
    std::vector<TensorRole> all = infer_roles(infos, model.checkpoint.config_text());
    for (std::size_t i = 0; i < all.size(); ++i) roles->emplace(infos[i]->name, std::move(all[i]));
  }
  const auto it = roles->find(tensor);
  return it == roles->end() ? none : it->second;
}

double layer_position(std::int64_t k, std::int64_t n) noexcept {
  if (k >= n) return 0;
  return n == 1 ? 1.0 : static_cast<double>(k) / static_cast<double>(n - 1);
}

}  // namespace crucible
