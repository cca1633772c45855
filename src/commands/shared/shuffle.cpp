#include "commands/shared/shuffle.h"

#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "base/random.h"
#include "base/text_util.h"
#include "base/units.h"
#include "commands/shared/model_layers.h"

namespace crucible {
namespace {

struct Pick {
  std::size_t model = 0;
  std::int64_t layer = 0;
};

// Numbers in order, from one stream.
class Draws {
 public:
  Draws(std::uint64_t seed, std::string_view what) : key_(make_random_key(seed, "layershuffle", what)) {}
  double share() { return static_cast<double>(random_u32(key_, next_++)) * 0x1p-32; }
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>((std::uint64_t{random_u32(key_, next_++)} * static_cast<std::uint64_t>(n)) >> 32);
  }

 private:
  RandomKey key_;
  std::uint64_t next_ = 0;
};

bool check_weights(const Shuffling& s, Diagnostics& diagnostics) {
  if (s.weights.empty()) return true;
  const auto number = static_cast<std::int64_t>(s.weights.size());
  if (s.weights.size() != s.models.size()) {
    diagnostics.error(
        {}, fmt::format("{} for {}", render_count(number, "weight"), render_count(static_cast<std::int64_t>(s.models.size()), "model")),
        "give one --weight for each --model, or none for equal ones");
    return false;
  }
  for (const double w : s.weights) {
    if (std::isfinite(w) && w >= 0) continue;
    diagnostics.error({}, fmt::format("--weight {}: allowed are numbers from 0", render_number(w)));
    return false;
  }
  if (std::accumulate(s.weights.begin(), s.weights.end(), 0.0) > 0) return true;
  diagnostics.error({}, "all weights are 0: there is nothing to draw from");
  return false;
}

std::vector<Pick> same_layers(const Shuffling& s, const std::vector<double>& weights, const std::vector<std::int64_t>& layers,
                              Diagnostics& diagnostics) {
  for (std::size_t i = 1; i < layers.size(); ++i) {
    if (layers[i] == layers.front()) continue;
    diagnostics.error({},
                      fmt::format("{} has {}, {} has {}: the same layer of all models is drawn from", printable(s.models[i].text(), 200),
                                  render_count(layers[i], "layer"), printable(s.models.front().text(), 200), layers.front()),
                      "--full-random takes any layer of each model");
    return {};
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  Draws draws(s.seed, "model");
  std::vector<Pick> picks;
  for (std::int64_t k = 0; k < layers.front(); ++k) {
    double left = draws.share() * sum;
    std::size_t model = 0;
    while (model + 1 < weights.size() && (left >= weights[model] || weights[model] == 0)) left -= weights[model++];
    while (weights[model] == 0) --model;  // a rounding past the end
    picks.push_back({model, k});
  }
  return picks;
}

std::vector<Pick> all_layers(const Shuffling& s, const std::vector<double>& weights, const std::vector<std::int64_t>& layers,
                             Diagnostics& diagnostics) {
  constexpr double kMostLayers = 1 << 20;
  std::vector<Pick> picks;
  Draws draws(s.seed, "layer");
  for (std::size_t m = 0; m < weights.size(); ++m) {
    const double wanted = std::trunc(static_cast<double>(layers[m]) * weights[m]);
    if (wanted > kMostLayers) {
      diagnostics.error(
          {},
          fmt::format("--weight {}: {} layers of {}", render_number(weights[m]), render_number(wanted), printable(s.models[m].text(), 200)),
          "with --full-random a weight is a share of the model's layers");
      return {};
    }
    for (std::int64_t k = 0; k < static_cast<std::int64_t>(wanted); ++k) picks.push_back({m, draws.below(layers[m])});
  }
  if (picks.empty()) diagnostics.error({}, "no layer is taken: every model's layers times its weight are below 1", "give larger weights");
  Draws order(s.seed, "order");
  for (std::size_t i = picks.size(); i > 1; --i)
    std::swap(picks[i - 1], picks[static_cast<std::size_t>(order.below(static_cast<std::int64_t>(i)))]);
  return picks;
}

std::vector<StackedLayers> coalesced(const std::vector<Pick>& picks, const std::vector<ModelRef>& models) {
  std::vector<StackedLayers> out;
  for (std::size_t i = 0; i < picks.size(); ++i) {
    const bool goes_on = i > 0 && picks[i].model == picks[i - 1].model && picks[i].layer == picks[i - 1].layer + 1;
    if (goes_on) {
      out.back().end = picks[i].layer + 1;
    } else {
      StackedLayers slice;
      slice.model = models[picks[i].model];
      slice.begin = picks[i].layer;
      slice.end = picks[i].layer + 1;
      out.push_back(std::move(slice));
    }
  }
  return out;
}

}  // namespace

std::vector<StackedLayers> shuffle_layers(const Shuffling& s, const std::vector<std::pair<std::string, std::string>>& model_dirs,
                                          Diagnostics& diagnostics) {
  ModelLayers models(model_dirs);
  std::vector<std::int64_t> layers;
  for (const ModelRef& ref : s.models) {
    if (const auto count = models.count(ref, diagnostics)) layers.push_back(*count);
  }
  if (!check_weights(s, diagnostics) || layers.size() != s.models.size() || layers.empty()) return {};
  std::vector<double> weights = s.weights;
  if (weights.empty()) weights.assign(layers.size(), 1.0 / static_cast<double>(layers.size()));
  const std::vector<Pick> picks =
      s.kind == ShuffleKind::kFull ? all_layers(s, weights, layers, diagnostics) : same_layers(s, weights, layers, diagnostics);
  return coalesced(picks, s.models);
}

}  // namespace crucible
