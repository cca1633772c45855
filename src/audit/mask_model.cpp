#include "audit/mask_model.h"

#include <algorithm>
#include <cmath>

#include "methods/shared/keep_ramp.h"

namespace crucible::foreign {
namespace {

using task_arithmetic::Rescale;

// The first steps take agreement widely, as a share of the terms, so that scales that are far off are drawn in.
constexpr std::array kWide = {0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001};
constexpr int kSteps = 12;
constexpr double kFloor = 1e-9;  // likelihood of an element that no subset explains
// How far a tool's own scale may be from the one that the masks give, its rounding in half precision included.
constexpr double kScaleSlack = 0.02;

double ramp_at(const KeepRamp& ramp, double epsilon, double rho) {
  return std::clamp(ramp.center() - epsilon + 2 * epsilon * rho, 0.0, 1.0);
}

// Where scales start: from the asked ramp, or from nothing dropped.
enum class Start { kRamp, kOne };

struct Model {
  const std::vector<Block>& blocks;
  const std::vector<Combine>& combine;
  std::vector<std::array<double, kTenths>> rate;  // by group
  std::vector<std::vector<double>> scale;         // by block and model

  Model(const std::vector<Block>& b, const std::vector<Combine>& c, const std::vector<double>& starts, Start start)
      : blocks(b), combine(c) {
    for (const double density : starts) {
      rate.emplace_back();
      rate.back().fill(std::clamp(density, 0.05, 0.98));
    }
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      scale.emplace_back(blocks[k].delta.size(), 1.0);
      for (std::size_t i = 0; i < blocks[k].delta.size(); ++i) start_scale(k, i, start);
    }
  }

  void start_scale(std::size_t k, std::size_t i, Start start) {
    const Combine& how = combine[k];
    if (how.rescale != Rescale::kL1 || start == Start::kOne) return;
    const KeepRamp ramp(how.density[i], how.epsilon[i], 4096);
    double kept = 0, all = 0;
    for (std::size_t e = 0; e < blocks[k].elems; ++e) {
      const double magnitude = std::abs(static_cast<double>(blocks[k].delta[i][e]));
      all += magnitude;
      kept += magnitude * ramp_at(ramp, how.epsilon[i], static_cast<double>(blocks[k].rho[i][e]));
    }
    scale[k][i] = kept > 0 ? all / kept : 1.0;
  }
};

// Sums of one pass over everything.
struct Sums {
  double likelihood = 0;
  std::int64_t informative = 0, explained = 0;
  struct Cell {
    double score = 0, information = 0, kept = 0, rho = 0;
    std::int64_t elems = 0;
  };
  std::vector<std::array<Cell, kTenths>> cells;  // by group
};

// One element: the value of every subset, and how likely each is.
struct Element {
  std::array<double, std::size_t{1} << kMostModels> value{}, likely{};
  std::array<std::array<double, kMostModels>, std::size_t{1} << kMostModels> slope{};  // of value by scale
};

// Does every model that is kept or dropped either change the stored value beyond doubt, or not at all? In between, whether a stored value
// agrees hangs on the details of a tool's rounding. Nothing that is looked at here depends on the masks, so leaving elements out does
// not favour kept or dropped ones.
bool is_clear(const Element& at, std::size_t movable, std::size_t models, double least) {
  for (std::size_t s = 0; s < std::size_t{1} << models; ++s) {
    if ((s & ~movable) != 0) continue;
    for (std::size_t i = 0; i < models; ++i) {
      if ((s >> i & 1) == 0) continue;
      const double change = std::abs(at.value[s] - at.value[s ^ (std::size_t{1} << i)]);
      if (change < least && change > 1e-6 * least) return false;
    }
  }
  return true;
}

// One pass: posterior of the subsets under the present rates and scales; sums for new rates; new scales.
Sums pass(Model& model, double wide) {
  Sums sums;
  sums.cells.resize(model.rate.size());
  Element at;
  for (std::size_t k = 0; k < model.blocks.size(); ++k) {
    const Block& block = model.blocks[k];
    const Combine& how = model.combine[k];
    const std::size_t n = block.delta.size();
    const std::size_t subsets = std::size_t{1} << n;
    std::array<double, kMostModels> all_l1{}, kept_l1{}, pull{}, stiffness{};
    std::int64_t seen = 0, explained = 0;
    std::vector<KeepRamp> ramps;
    for (std::size_t i = 0; i < n; ++i) ramps.emplace_back(how.density[i], how.epsilon[i], 4096);
    double weights = 0;
    for (const double w : how.weight) weights += w;
    const double ulp_share = spacing(block.working, 1.0);
    for (std::size_t e = 0; e < block.elems; ++e) {
      std::array<double, kMostModels> term{}, unit{};
      std::size_t movable = 0;
      double terms = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double delta = block.delta[i][e];
        if (delta == 0 || how.weight[i] == 0) continue;
        movable |= std::size_t{1} << i;
        double scale = model.scale[k][i];
        if (how.rescale == Rescale::kPerElement)
          scale = 1 / std::max(ramp_at(ramps[i], how.epsilon[i], static_cast<double>(block.rho[i][e])), 1e-6);
        unit[i] = how.weight[i] * delta;
        term[i] = unit[i] * scale;
        terms += std::abs(term[i]);
      }
      if (movable == 0) continue;
      const double base = block.base[e], out = block.out[e];
      if (!std::isfinite(out)) continue;
      const double half = 0.5 * spacing(block.stored, std::abs(out));
      const double grain = 0.1 * spacing(block.stored, std::max(std::abs(base), std::abs(out))) + 1e-30;
      const double drawn_in = wide * terms * std::abs(how.lambda);
      double total = 0, match = 0, lowest = HUGE_VAL, highest = -HUGE_VAL;
      for (std::size_t s = 0; s < subsets; ++s) {
        at.likely[s] = 0;
        if ((s & ~movable) != 0) continue;
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) sum += (s >> i & 1) != 0 ? term[i] : 0;
        double mixed = 0, steps = 0, divisor = 0, prior = 1;
        std::array<double, kMostModels>& slope = at.slope[s];
        for (std::size_t i = 0; i < n; ++i) {
          slope[i] = 0;
          if ((movable >> i & 1) == 0) continue;
          const double rate = model.rate[static_cast<std::size_t>(block.group[i])][block.tenth[i][e]];
          const bool in = (s >> i & 1) != 0;
          prior *= in ? rate : 1 - rate;
          if (!in || (how.elects && (term[i] > 0) != (sum >= 0))) continue;
          mixed += term[i];
          steps += std::abs(term[i]);
          divisor += how.weight[i];
          slope[i] = unit[i];
        }
        if (!how.elects) divisor = weights;
        if (!how.normalize || std::abs(divisor) < 1e-8) divisor = 1;
        const double factor = how.lambda / divisor;
        for (std::size_t i = 0; i < n; ++i) slope[i] *= factor;
        at.value[s] = base + factor * mixed;
        lowest = std::min(lowest, at.value[s]);
        highest = std::max(highest, at.value[s]);
        // A tool that rounds at every step is off by a share of what it adds up. A value known less well is less likely to be met.
        const double soft = grain + 2 * ulp_share * std::abs(factor) * steps + drawn_in;
        const double beyond = std::max(0.0, std::abs(out - at.value[s]) - half) / soft;
        const double agrees = std::exp(-0.5 * beyond * beyond);
        match = std::max(match, agrees);
        at.likely[s] = prior * agrees * half / (half + soft);
        total += at.likely[s];
      }
      sums.likelihood += std::log(total + kFloor);
      const double ulp = spacing(block.stored, std::max(std::abs(lowest), std::abs(highest)));
      if (highest - lowest <= ulp) continue;  // all subsets give the same stored value
      ++seen;
      if (match < 1e-4) continue;
      ++explained;
      if (!is_clear(at, movable, n, 1.5 * ulp + 2 * ulp_share * (highest - lowest))) continue;
      std::array<double, kMostModels> kept{};
      for (std::size_t s = 0; s < subsets; ++s) {
        if (at.likely[s] <= 0) continue;
        const double share = at.likely[s] / total;
        const double spread = half + grain + drawn_in;
        const double off = (out - at.value[s]) / spread;
        for (std::size_t i = 0; i < n; ++i) {
          if ((s >> i & 1) == 0) continue;
          kept[i] += share;
          const double slope = at.slope[s][i] / spread;
          pull[i] += share * off * slope;
          stiffness[i] += share * slope * slope;
        }
      }
      for (std::size_t i = 0; i < n; ++i) {
        if ((movable >> i & 1) == 0) continue;
        Sums::Cell& cell = sums.cells[static_cast<std::size_t>(block.group[i])][block.tenth[i][e]];
        const double rate = model.rate[static_cast<std::size_t>(block.group[i])][block.tenth[i][e]];
        const double score = (kept[i] - rate) / (rate * (1 - rate));
        cell.score += score;
        cell.information += score * score;
        cell.kept += kept[i];
        cell.rho += static_cast<double>(block.rho[i][e]);
        ++cell.elems;
        all_l1[i] += std::abs(static_cast<double>(block.delta[i][e]));
        kept_l1[i] += kept[i] * std::abs(static_cast<double>(block.delta[i][e]));
      }
    }
    sums.informative += seen;
    sums.explained += explained;
    if (how.rescale != Rescale::kL1) continue;
    for (std::size_t i = 0; i < n; ++i) {
      if (kept_l1[i] <= 0 || stiffness[i] <= 0) continue;
      double& scale = model.scale[k][i];
      const double most = std::max(10.0, 3 / std::max(how.density[i], 1e-3));
      scale = std::clamp(std::clamp(scale + pull[i] / stiffness[i], scale / 1.3, scale * 1.3), 0.3, most);
      if (wide > 0 || explained * 2 < seen) continue;
      // The scale restores the norm; it may differ by what a sample of rows and half precision leave open.
      const double norm = all_l1[i] / kept_l1[i];
      const double slack = kScaleSlack + (block.whole && explained == seen ? 0 : 3 / std::sqrt(static_cast<double>(explained)));
      scale = std::clamp(scale, norm * (1 - slack), norm * (1 + slack));
    }
  }
  return sums;
}

void step_rates(Model& model, const Sums& sums, bool by_scores) {
  for (std::size_t g = 0; g < model.rate.size(); ++g) {
    for (std::size_t t = 0; t < kTenths; ++t) {
      const Sums::Cell& cell = sums.cells[g][t];
      if (cell.elems == 0) continue;
      double& rate = model.rate[g][t];
      // EM is steady but slow where little can be told; a step by scores is quick near the end.
      const double next = by_scores && cell.information > 0 ? rate + std::clamp(cell.score / cell.information, -0.1, 0.1)
                                                            : cell.kept / static_cast<double>(cell.elems);
      rate = std::clamp(next, 0.0005, 0.9995);
    }
  }
}

}  // namespace

MaskFit fit_masks(const std::vector<Block>& blocks, const std::vector<Combine>& combine, const std::vector<double>& starts) {
  std::optional<Model> best;
  Sums sums;
  double most = -HUGE_VAL;
  for (const Start start : {Start::kRamp, Start::kOne}) {
    Model model(blocks, combine, starts, start);
    Sums mine;
    for (const double wide : kWide) {
      mine = pass(model, wide);
      step_rates(model, mine, false);
    }
    mine = pass(model, 0);
    if (mine.likelihood > most) {
      most = mine.likelihood;
      best.emplace(std::move(model));
    }
    if (std::none_of(combine.begin(), combine.end(), [](const Combine& c) { return c.rescale == Rescale::kL1; })) break;
  }
  for (int step = 0; step < kSteps; ++step) {
    sums = pass(*best, 0);
    step_rates(*best, sums, step >= kSteps / 2);
  }
  sums = pass(*best, 0);
  MaskFit fit;
  fit.likelihood = sums.likelihood;
  fit.informative = sums.informative;
  fit.explained = sums.informative > 0 ? static_cast<double>(sums.explained) / static_cast<double>(sums.informative) : 0;
  for (std::size_t g = 0; g < best->rate.size(); ++g) {
    GroupRates& rates = fit.groups.emplace_back();
    for (std::size_t t = 0; t < kTenths; ++t) {
      const Sums::Cell& cell = sums.cells[g][t];
      rates.elems[t] = cell.elems;
      rates.rate[t] = best->rate[g][t];
      rates.rho[t] = cell.elems > 0 ? cell.rho / static_cast<double>(cell.elems) : 0;
      rates.error[t] = cell.information > 0 ? 1 / std::sqrt(cell.information) : HUGE_VAL;
    }
  }
  return fit;
}

}  // namespace crucible::foreign
