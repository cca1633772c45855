#include "analysis/advice.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"

namespace crucible {
namespace {

constexpr double kEnergyToKeep = 0.9;
constexpr double kNormsDiffer = 2.0;
constexpr double kFarFromBase = 0.5;  // of the base's norm
constexpr double kCloseCosine = 0.5;
constexpr double kNearChance = 0.01;  // of sign agreement around a half
constexpr double kUsualEpsilon = 0.1;

std::string tag(std::size_t model) { return fmt::format("[{}]", model + 1); }

std::string percent(double share) {
  if (share > 0 && share < 0.0005) return "<0.1 %";
  if (share < 1 && share > 0.9995) return ">99.9 %";
  return fmt::format("{:.1f} %", 100 * share);
}

bool is_moved(const DeltaTotals& d) noexcept { return d.l2 > 0; }

void advise_identical(const Analysis& a, std::vector<Advice>& out) {
  for (std::size_t m = 0; m < a.models.size(); ++m) {
    const DeltaTotals& d = a.all.deltas[m];
    if (d.tensors == 0) {
      out.push_back(
          {"base", static_cast<int>(m), {}, {}, fmt::format("{} has no tensor in common with the base: there is no task vector.", tag(m))});
    } else if (!is_moved(d) && d.nonfinite == 0) {
      out.push_back({"identical",
                     static_cast<int>(m),
                     {},
                     0.0,
                     fmt::format("{} is identical to the base in {}, all that they share: it adds nothing to a merge of task vectors.",
                                 tag(m), render_count(d.tensors, "tensor"))});
    }
  }
}

void advise_nonfinite(const Analysis& a, std::vector<Advice>& out) {
  std::int64_t bad = 0;
  std::string first;
  for (const TensorStats& t : a.tensors) {
    std::int64_t here = t.base ? t.base->nonfinite : 0;
    for (const auto& m : t.models) here += m ? m->nonfinite : 0;
    if (here > 0 && first.empty()) first = t.info.name;
    bad += here;
  }
  if (bad > 0) {
    out.push_back({"nonfinite",
                   {},
                   {},
                   static_cast<double>(bad),
                   fmt::format("{} not finite (NaN or infinite), the first in {}: a merge would spread that.", render_count(bad, "number"),
                               printable(first))});
  }
}

void advise_base(const Analysis& a, std::vector<Advice>& out) {
  for (std::size_t m = 0; m < a.models.size(); ++m) {
    const double relative = a.all.deltas[m].relative();
    if (relative <= kFarFromBase) continue;
    out.push_back(
        {"base",
         static_cast<int>(m),
         {},
         relative,
         fmt::format(
             "The task vector of {} is {:.2f} times as long as the base: {} is hardly a fine-tune of this base. Methods that add task "
             "vectors will not work well; is it the right base?",
             tag(m), relative, tag(m))});
  }
}

// Density, what it keeps, and where more keeps nothing.
void advise_density(const Analysis& a, std::vector<Advice>& out) {
  for (std::size_t m = 0; m < a.models.size(); ++m) {
    const DeltaTotals& d = a.all.deltas[m];
    if (!is_moved(d)) continue;
    const std::size_t at = density_that_holds(d, kEnergyToKeep);
    const double density = kDensities[at];
    std::string text =
        fmt::format("{}: density {:g}: the largest {:g} % of each tensor hold {} of the energy (squared L2 norm) and {} of the L1 norm",
                    tag(m), density, 100 * density, percent(d.held_energy(at)), percent(d.held_l1(at)));
    if (at > 0) text += fmt::format("; density {:g} holds {} of the energy", kDensities[at - 1], percent(d.held_energy(at - 1)));
    text += ".";
    const double zeros = static_cast<double>(d.zeros) / static_cast<double>(std::max<std::int64_t>(d.elems, 1));
    if (zeros > 0.01) {
      text +=
          fmt::format(" {} of the entries did not move at all, so ties and breadcrumbs keep nothing more above density {:.2f} on average.",
                      percent(zeros), 1 - zeros);
    }
    if (density < 1) {
      text += fmt::format(" Where entries are dropped at random (dare), density {:g} adds noise of {:.2f} times the task vector's length.",
                          density, std::sqrt((1 - density) / density));
    }
    out.push_back({"density", static_cast<int>(m), {}, density, std::move(text)});
  }
}

void advise_epsilon(const Analysis& a, std::vector<Advice>& out) {
  for (std::size_t m = 0; m < a.models.size(); ++m) {
    const DeltaTotals& d = a.all.deltas[m];
    if (!is_moved(d)) continue;
    const double density = kDensities[density_that_holds(d, kEnergyToKeep)];
    const double most = std::min(density, 1 - density);
    if (most <= 0) continue;
    // Strictly inside, since mergekit refuses the ends.
    const double epsilon = most > kUsualEpsilon ? kUsualEpsilon : std::round(most / 2 * 1e6) / 1e6;
    out.push_back(
        {"epsilon",
         static_cast<int>(m),
         {},
         epsilon,
         fmt::format("{}: epsilon {:g} (della): at density {:g} keep probabilities run from {:.2f} for the smallest magnitude of a row to "
                     "{:.2f} for "
                     "the largest; at most {:g}, so that density +- epsilon stays in [0, 1]. Before rescaling it keeps about {} of the "
                     "energy, epsilon 0 keeps {}, epsilon {:g} keeps {}.",
                     tag(m), epsilon, density, density - epsilon, density + epsilon, most, percent(expected_energy(d, density, epsilon)),
                     percent(expected_energy(d, density, 0)), most, percent(expected_energy(d, density, most)))});
  }
}

void advise_weights(const Analysis& a, std::vector<Advice>& out) {
  double shortest = HUGE_VAL, longest = 0;
  std::size_t moved = 0;
  for (const DeltaTotals& d : a.all.deltas) {
    if (!is_moved(d)) continue;
    ++moved;
    shortest = std::min(shortest, d.norm());
    longest = std::max(longest, d.norm());
  }
  if (moved < 2) return;
  if (longest <= kNormsDiffer * shortest) {
    out.push_back({"weight",
                   {},
                   {},
                   1.0,
                   fmt::format("Weights: the task vectors' lengths lie within a factor of {:.2f} (from {:.3g} to {:.3g}): equal weights "
                               "give every model a fair share.",
                               longest / shortest, shortest, longest)});
    return;
  }
  for (std::size_t m = 0; m < a.models.size(); ++m) {
    const DeltaTotals& d = a.all.deltas[m];
    if (!is_moved(d)) continue;
    const double weight = shortest / d.norm();
    out.push_back({"weight",
                   static_cast<int>(m),
                   {},
                   weight,
                   fmt::format("{}: weight {:.2f}: its task vector is {:.2f} times as long as the shortest ({:.3g} against {:.3g}); with "
                               "equal weights the longest "
                               "decides the merge.",
                               tag(m), weight, d.norm() / shortest, d.norm(), shortest)});
  }
}

void advise_signs(const Analysis& a, std::vector<Advice>& out) {
  for (std::size_t i = 1; i < a.models.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const PairStats& pair = a.all.pairs[pair_index(i, j)];
      if (pair.both == 0 || !(pair.l2_first > 0) || !(pair.l2_second > 0)) continue;
      const double agreement = pair.agreement(), cosine = pair.cosine();
      const double sum = std::sqrt(std::max(pair.l2_first + pair.l2_second + 2 * pair.dot, 0.0));
      const double longer = std::sqrt(std::max(pair.l2_first, pair.l2_second));
      std::string text = fmt::format("{} and {}: cosine {:.3f}; of {} entries that both moved, {} moved in one direction", tag(j), tag(i),
                                     cosine, pair.both, percent(agreement));
      if (std::abs(agreement - 0.5) < std::max(kNearChance, 2 / std::sqrt(static_cast<double>(pair.both)))) {
        text +=
            ", which is chance: the signs tell nothing of each other, and an election (ties, della, dare_ties) drops one of the two in "
            "about half of them";
      } else if (agreement < 0.5) {
        text += ": they pull apart, and their sum cancels";
      }
      text += fmt::format(". With weights of 1 the sum is {:.2f} times as long as the longer of them", sum / longer);
      if (cosine > kCloseCosine)
        text += "; they share much of their change, so weights that add up to 1, or normalize: true, keep its length";
      out.push_back({"signs", static_cast<int>(j), static_cast<int>(i), agreement, text + "."});
    }
  }
}

}  // namespace

std::size_t density_that_holds(const DeltaTotals& totals, double share) noexcept {
  std::size_t at = 0;
  while (at + 1 < kDensities.size() && totals.held_energy(at) < share) ++at;
  return at;
}

double expected_energy(const DeltaTotals& totals, double density, double epsilon) noexcept {
  // By parts of the curve: the entries between two densities lie, from the top, between these ranks.
  double sum = 0, before = 0, from = 0;
  for (std::size_t i = 0; i < kDensities.size(); ++i) {
    const double held = totals.held_energy(i), middle = (from + kDensities[i]) / 2;
    sum += (held - before) * std::clamp(density + epsilon * (1 - 2 * middle), 0.0, 1.0);
    before = held;
    from = kDensities[i];
  }
  return sum;
}

std::vector<Advice> advise(const Analysis& analysis) {
  std::vector<Advice> out;
  advise_nonfinite(analysis, out);
  advise_identical(analysis, out);
  advise_base(analysis, out);
  advise_density(analysis, out);
  advise_epsilon(analysis, out);
  advise_weights(analysis, out);
  advise_signs(analysis, out);
  return out;
}

}  // namespace crucible
