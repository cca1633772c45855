// What the planner knows about its inputs' networks: stacks of layers, and the role of each tensor.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "arch/layers.h"
#include "arch/roles.h"
#include "plan/plan.h"

namespace crucible {

class ModelFacts {
 public:
  explicit ModelFacts(const Plan& plan);

  const std::vector<LayerStack>& stacks(int input) const { return stacks_[static_cast<std::size_t>(input)]; }
  const LayerStack* stack_named(int input, std::string_view name) const;

  // Of a tensor of the input's view. Roles of a model are inferred when they are first asked for.
  const TensorRole& role(int input, const ViewTensor& tensor);
  // Null when the input does not have it. Quick for names in the order of the view.
  const ViewTensor* find(int input, std::string_view tensor);

 private:
  const Plan& plan_;
  std::vector<std::vector<LayerStack>> stacks_;
  std::vector<std::vector<TensorRole>> roles_;  // by input, in the order of its view; empty = not asked for yet
  std::vector<std::size_t> found_;              // by input: what was found last
};

// t of layer k of n: k / (n - 1), 1 where there is one layer, 0 outside the layers.
double layer_position(std::int64_t k, std::int64_t n) noexcept;

}  // namespace crucible
