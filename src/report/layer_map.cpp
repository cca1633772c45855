#include "report/layer_map.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text_util.h"

namespace crucible {
namespace {

bool continues(const NamedLayer& before, const NamedLayer& after) {
  if (before.stack != after.stack || after.layer != before.layer + 1 || before.from.size() != after.from.size()) return false;
  for (std::size_t i = 0; i < after.from.size(); ++i) {
    if (after.from[i].first != before.from[i].first || after.from[i].second != before.from[i].second + 1) return false;
  }
  return true;
}

std::string range(std::int64_t first, std::int64_t last) {
  return first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
}

}  // namespace

std::vector<NamedLayer> named_layers(const Plan& plan) {
  std::vector<NamedLayer> out;
  for (const LayerOrigin& origin : plan.layer_map) {
    NamedLayer layer{origin.stack, origin.layer, {}};
    for (const LayerOrigin::From& f : origin.from)
      layer.from.emplace_back(plan.inputs[static_cast<std::size_t>(f.input)].ref.text(), f.layer);
    out.push_back(std::move(layer));
  }
  return out;
}

std::vector<std::string> layer_map_lines(const std::vector<NamedLayer>& layers) {
  const bool several = std::any_of(layers.begin(), layers.end(), [&](const NamedLayer& l) { return l.stack != layers.front().stack; });
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t last = i;
    while (last + 1 < layers.size() && continues(layers[last], layers[last + 1])) ++last;
    std::vector<std::string> from;
    for (std::size_t m = 0; m < layers[i].from.size(); ++m) {
      from.push_back(fmt::format("{} {}", layers[i].from[m].first, range(layers[i].from[m].second, layers[last].from[m].second)));
    }
    lines.push_back(fmt::format("{}{} <- {}", several ? printable(layers[i].stack) + " " : std::string(),
                                range(layers[i].layer, layers[last].layer), fmt::join(from, ", ")));
    i = last + 1;
  }
  return lines;
}

}  // namespace crucible
