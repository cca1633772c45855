// Which layer of the output comes from which layer of which model, as lines for people.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "plan/plan.h"

namespace crucible {

struct NamedLayer {
  std::string stack;
  std::int64_t layer = 0;
  std::vector<std::pair<std::string, std::int64_t>> from;  // model, layer
};

std::vector<NamedLayer> named_layers(const Plan& plan);

// One line for each run of layers that come from consecutive layers of the same models: "0-23 <- ./a 0-23". Stacks are named where
// there are several.
std::vector<std::string> layer_map_lines(const std::vector<NamedLayer>& layers);

}  // namespace crucible
