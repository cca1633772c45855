// Which output tensors exist, and which input tensor of which model each one is made of. Names only; shapes and types come later.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"

namespace crucible {

struct TensorUse {
  int input = 0;                         // index into Plan::inputs
  const ViewTensor* tensor = nullptr;    // of that input's view; null: the model lacks it
  std::string lacked;                    // the name that it would have there
  const Settings* parameters = nullptr;  // of the recipe's entry for this source; null for a base that is not listed
  const std::string& name() const noexcept { return tensor != nullptr ? tensor->info.name : lacked; }
};

struct LogicalTensor {
  std::string name;  // in the output
  std::string as;    // the tensor whose parameters and draws it has; empty = its own
  double t = 0;      // gradient position
  TensorRole role;
  std::optional<TensorUse> base;
  std::vector<TensorUse> sources;  // listed models in recipe order; the base is among them only where the method takes it as an input
  const Settings* slice = nullptr;
  const Settings* module = nullptr;
  // What filters and draws go by.
  const std::string& decided_by() const noexcept { return as.empty() ? name : as; }
};

struct Enumeration {
  std::vector<LogicalTensor> tensors;        // in model order: before the layers, the layers, after them
  std::vector<LayerOrigin> layer_map;        // for slices
  std::vector<ConfigChange> config_changes;  // what the choice of layers changes in config.json
};

// Finds the input of a model reference; CHECKs that it was opened.
int input_of(const Plan& plan, const ModelRef& ref);

Enumeration enumerate_tensors(const Plan& plan, Diagnostics& diagnostics);

}  // namespace crucible
