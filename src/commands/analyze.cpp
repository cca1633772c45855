// crucible analyze: a base and models made from it, measured before a merge.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analysis/advice.h"
#include "analysis/analyze.h"
#include "base/text_util.h"
#include "base/units.h"
#include "commands/command.h"
#include "commands/shared/open_models.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

struct AnalyzeFlags {
  std::string base, filter;
  std::vector<std::string> models;
  bool json = false;
  bool tensors = false;
  bool rank = false;
  MergeOptions run;
};

double ratio(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : std::nan("");
}

// --- text ---------------------------------------------------------------------------------------------------------------------

// At most eight characters: "12.3 %", "<0.1 %", "0", "-".
std::string share(double x) {
  if (std::isnan(x)) return "-";
  if (x == 0) return "0";
  if (x < 0.001) return x < 0.00001 ? fmt::format("{:.0e}", x) : fmt::format("{:.3f} %", 100 * x);
  if (x < 1 && x > 0.9995) return ">99.9 %";
  return fmt::format("{:.1f} %", 100 * x);
}

std::string number(double x) { return std::isfinite(x) ? fmt::format("{:.3g}", x) : "-"; }
std::string cosine_text(double x) { return std::isnan(x) ? "-" : fmt::format("{:.3f}", x); }

// A paragraph folded to the width; later lines start with `indent` spaces.
std::string fold(const std::string& text, std::size_t indent) {
  constexpr std::size_t kWidth = 98;
  std::string out;
  std::size_t column = 0, at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (column > indent && column + 1 + end - at > kWidth) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (at > 0) {
      out += ' ';
      ++column;
    }
    out += text.substr(at, end - at);
    column += end - at;
    at = end + 1;
  }
  return out + "\n";
}

std::string render_models(const Analysis& a) {
  std::int64_t elems = 0, with_base = 0;
  for (const TensorStats& t : a.tensors) {
    if (!t.base) continue;
    ++with_base;
    elems += elem_count(t.info.shape);
  }
  std::string out = fmt::format("base  {}: {} of real numbers, {} elements{}\n", printable(a.base, 400), render_count(with_base, "tensor"),
                                elems, a.skipped > 0 ? fmt::format("; {} of other types left out", a.skipped) : "");
  for (std::size_t m = 0; m < a.models.size(); ++m) out += fmt::format("[{}]   {}\n", m + 1, printable(a.models[m], 400));
  return out;
}

std::string render_deltas(const Analysis& a) {
  std::string out = "\ntask vectors (model - base)\n";
  out += fmt::format("      {:>9} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8} {:>7} {:>9}\n", "length", "/ base", "rms", "unmoved", "<rms/100",
                     "<rms/10", ">6 sigma", "tensors", "cos base");
  for (std::size_t m = 0; m < a.models.size(); ++m) {
    const DeltaTotals& d = a.all.deltas[m];
    const std::int64_t finite = d.elems - d.nonfinite;
    out += fmt::format("[{}]   {:>9} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8} {:>7} {:>9}\n", m + 1, number(d.norm()), number(d.relative()),
                       number(finite > 0 ? std::sqrt(d.l2 / static_cast<double>(finite)) : std::nan("")), share(ratio(d.zeros, finite)),
                       share(ratio(d.below_100, finite)), share(ratio(d.below_10, finite)), share(ratio(d.beyond_6, finite)),
                       d.equal_tensors > 0 ? fmt::format("{}-{}", d.tensors, d.equal_tensors) : std::to_string(d.tensors),
                       d.l2 > 0 && d.base_l2 > 0 ? cosine_text(d.dot_base / std::sqrt(d.l2 * d.base_l2)) : "-");
  }
  const bool equal = std::any_of(a.all.deltas.begin(), a.all.deltas.end(), [](const DeltaTotals& d) { return d.equal_tensors > 0; });
  if (equal) out += "(tensors: how many have a task vector - how many of those are all zero)\n";
  return out;
}

std::string render_curves(const Analysis& a) {
  if (std::none_of(a.all.deltas.begin(), a.all.deltas.end(), [](const DeltaTotals& d) { return d.l2 > 0; })) return {};
  std::string head, out;
  const std::array shown = {0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9};
  for (const double d : shown) head += fmt::format(" {:>8}", fmt::format("{:g} %", 100 * d));
  out = "\nwhat the largest magnitudes of each tensor hold\n" + fmt::format("                  {}\n", head);
  for (std::size_t m = 0; m < a.models.size(); ++m) {
    const DeltaTotals& d = a.all.deltas[m];
    if (!(d.l2 > 0)) continue;
    std::string energy, l1;
    for (const double density : shown) {
      const auto i = static_cast<std::size_t>(std::find(kDensities.begin(), kDensities.end(), density) - kDensities.begin());
      energy += fmt::format(" {:>8}", share(d.held_energy(i)));
      l1 += fmt::format(" {:>8}", share(d.held_l1(i)));
    }
    out += fmt::format("[{}]   energy (L2^2) {}\n      L1 norm       {}\n", m + 1, energy, l1);
  }
  return out;
}

std::string render_pairs(const Analysis& a) {
  if (a.models.size() < 2) return {};
  std::string out = fmt::format("\nbetween task vectors\n            {:>8} {:>14} {:>14}\n", "cosine", "both moved", "one direction");
  for (std::size_t i = 1; i < a.models.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const PairStats& p = a.all.pairs[pair_index(i, j)];
      out += fmt::format("{:<11} {:>8} {:>14} {:>14}\n", fmt::format("[{}] [{}]", j + 1, i + 1), cosine_text(p.cosine()), p.both,
                         share(p.agreement()));
    }
  }
  out += fmt::format("moved in both directions by some models: {} of the elements that any moved\n",
                     share(ratio(a.all.conflicts, a.all.moved)));
  return out;
}

// Relative length and density for 90 % of the energy of the first four models; cosine and agreement of the first two.
std::string render_groups(const std::vector<GroupStats>& groups, std::string_view title, std::size_t models) {
  if (groups.empty() || models == 0) return {};
  const std::size_t shown = std::min<std::size_t>(models, 4);
  std::string head, out;
  for (std::size_t m = 0; m < shown; ++m) head += fmt::format(" {:>9} {:>5}", fmt::format("[{}] /base", m + 1), "d90");
  if (models > 1) head += fmt::format("  {:>7} {:>7}", "cos 1,2", "signs");
  out = fmt::format("\n{:<20} {:>12}{}\n", title, "elements", head);
  for (const GroupStats& g : groups) {
    out += fmt::format("{:<20} {:>12}", printable(g.name, 20), g.elems);
    for (std::size_t m = 0; m < shown; ++m) {
      const DeltaTotals& d = g.deltas[m];
      out += fmt::format(" {:>9} {:>5}", d.tensors > 0 ? number(d.relative()) : "-",
                         d.l2 > 0 ? fmt::format("{:g}", kDensities[density_that_holds(d, 0.9)]) : "-");
    }
    if (models > 1) out += fmt::format("  {:>7} {:>7}", cosine_text(g.pairs[0].cosine()), share(g.pairs[0].agreement()));
    out += "\n";
  }
  return out;
}

std::string render_series(std::string_view name, const SeriesStats& s, bool is_delta) {
  const Moments& m = s.moments;
  std::string out = fmt::format("  {:<8} mean {:>9} std {:>8} skew {:>8} kurt {:>8} zeros {:>7} >6 sigma {:>8}\n", name, number(m.mean),
                                number(m.deviation()), number(m.skewness()), number(m.excess_kurtosis()), share(ratio(s.zeros, m.n)),
                                share(ratio(s.beyond_6, m.n)));
  if (!s.quantiles.empty()) {
    std::string line = fmt::format("    {} to {}; {}", number(s.smallest), number(s.largest), is_delta ? "magnitudes" : "quantiles");
    for (std::size_t i = 0; i < s.quantiles.size(); ++i) {
      line += fmt::format(" {:g}%:{}", 100 * (is_delta ? kDeltaQuantiles[i] : kWeightQuantiles[i]), number(s.quantiles[i]));
    }
    out += fold(line, 6);
  }
  if (s.still_rows > 0)
    out += fmt::format("    {} of {} rows {}\n", s.still_rows, s.rows, is_delta ? "are those of the base" : "are all zero");
  if (s.nonfinite > 0) out += fmt::format("    {} not finite\n", s.nonfinite);
  if (s.rank) {
    out += fmt::format("    stable rank {}", number(s.rank->stable));
    if (s.rank->effective)
      out += fmt::format(", effective rank {}, 90 % of the energy in {}", number(*s.rank->effective), *s.rank->rank_90);
    out += "\n";
  }
  return out;
}

std::string render_tensors(const Analysis& a) {
  std::string out = "\ntensors\n";
  for (const TensorStats& t : a.tensors) {
    out += fmt::format("{}  {} {}\n", printable(t.info.name), facts(t.info.dtype).name, to_string(t.info.shape));
    if (t.base) out += render_series("base", *t.base, false);
    for (std::size_t m = 0; m < a.models.size(); ++m) {
      if (t.models[m]) out += render_series(fmt::format("[{}]", m + 1), *t.models[m], false);
      if (t.deltas[m]) out += render_series(fmt::format("[{}]-base", m + 1), *t.deltas[m], true);
    }
    for (std::size_t i = 1; i < a.models.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const auto& p = t.pairs[pair_index(i, j)];
        if (p)
          out += fmt::format("  [{}] [{}]   cosine {}, one direction {}\n", j + 1, i + 1, cosine_text(p->cosine()), share(p->agreement()));
      }
    }
  }
  return out;
}

std::string analysis_text(const Analysis& a, const AnalyzeFlags& options) {
  std::string out = render_models(a);
  if (!a.models.empty()) {
    out += render_deltas(a) + render_curves(a) + render_pairs(a);
    out += render_groups(a.roles, "by role", a.models.size()) + render_groups(a.layers, "by layer", a.models.size());
    out += "(d90: the density at which the largest magnitudes of each tensor hold 90 % of the energy";
    out += a.models.size() > 1 ? ";\n signs: share of what [1] and [2] both moved that they moved in one direction)\n" : ")\n";
  }
  if (options.tensors || a.models.empty()) out += render_tensors(a);
  const std::vector<Advice> advice = advise(a);
  if (!advice.empty()) out += "\nsuggestions\n";
  for (const Advice& one : advice) out += fold("- " + one.text, 2);
  return out;
}

// --- JSON ---------------------------------------------------------------------------------------------------------------------

Json series_json(const SeriesStats& s, bool is_delta) {
  const Moments& m = s.moments;
  Json out = {{"count", m.n},
              {"nonfinite", s.nonfinite},
              {"zeros", s.zeros},
              {"mean", m.mean},
              {"std", m.deviation()},
              {"skewness", m.skewness()},
              {"excess_kurtosis", m.excess_kurtosis()},
              {"min", m.n > 0 ? Json(s.smallest) : Json()},
              {"max", m.n > 0 ? Json(s.largest) : Json()},
              {"rms", s.rms()},
              {"l1", s.l1},
              {"l2", std::sqrt(s.l2)},
              {"beyond_3_sigma", s.beyond_3},
              {"beyond_6_sigma", s.beyond_6},
              {"below_rms_10", s.below_10},
              {"below_rms_100", s.below_100}};
  Json quantiles = Json::array();
  for (std::size_t i = 0; i < s.quantiles.size(); ++i) {
    quantiles.push_back({{"q", is_delta ? kDeltaQuantiles[i] : kWeightQuantiles[i]}, {"value", s.quantiles[i]}});
  }
  out[is_delta ? "magnitude_quantiles" : "quantiles"] = std::move(quantiles);
  if (s.rows > 0) {
    out["rows"] = s.rows;
    out[is_delta ? "unchanged_rows" : "zero_rows"] = s.still_rows;
  }
  if (s.rank) {
    out["stable_rank"] = s.rank->stable;
    if (s.rank->effective) {
      out["effective_rank"] = *s.rank->effective;
      out["rank_90"] = *s.rank->rank_90;
    }
  }
  return out;
}

// Shares, parallel to "densities".
void add_held(const HeldCurve& held, Json& out) {
  const auto part = [](double x, double whole) { return whole > 0 ? x / whole : 1.0; };
  for (const Distribution::Held& h : held) {
    out["energy_held"].push_back(part(h.l2, held.back().l2));
    out["l1_held"].push_back(part(h.l1, held.back().l1));
  }
}

Json cosine_base(double dot, double l2, double base_l2) { return l2 > 0 && base_l2 > 0 ? Json(dot / std::sqrt(l2 * base_l2)) : Json(); }

Json pair_json(const PairStats& p, std::size_t first, std::size_t second) {
  return {{"models", {first, second}},
          {"cosine", p.cosine()},
          {"both_moved", p.both},
          {"same_sign", p.agree},
          {"sign_agreement", p.agreement()}};
}

Json group_json(const GroupStats& g, std::size_t models) {
  Json out = {{"name", g.name}, {"elements", g.elems}, {"moved", g.moved}, {"sign_conflicts", g.conflicts}};
  out["deltas"] = Json::array();
  for (std::size_t m = 0; m < models; ++m) {
    const DeltaTotals& d = g.deltas[m];
    out["deltas"].push_back({{"model", m},
                             {"tensors", d.tensors},
                             {"identical_tensors", d.equal_tensors},
                             {"elements", d.elems},
                             {"zeros", d.zeros},
                             {"nonfinite", d.nonfinite},
                             {"beyond_6_sigma", d.beyond_6},
                             {"below_rms_10", d.below_10},
                             {"below_rms_100", d.below_100},
                             {"l1", d.l1},
                             {"l2", d.norm()},
                             {"relative", d.relative()},
                             {"cosine_base", cosine_base(d.dot_base, d.l2, d.base_l2)}});
    add_held(d.held, out["deltas"].back());
  }
  out["pairs"] = Json::array();
  for (std::size_t i = 1; i < models; ++i) {
    for (std::size_t j = 0; j < i; ++j) out["pairs"].push_back(pair_json(g.pairs[pair_index(i, j)], j, i));
  }
  return out;
}

Json analysis_tensor_json(const TensorStats& t) {
  Json out = {{"name", t.info.name}, {"dtype", facts(t.info.dtype).name}, {"shape", t.info.shape}, {"role", t.role}};
  if (t.layer) {
    out["stack"] = t.layer->stack;
    out["layer"] = t.layer->index;
  }
  if (t.base) out["base"] = series_json(*t.base, false);
  out["models"] = Json::array();
  for (std::size_t m = 0; m < t.models.size(); ++m) {
    Json model = {{"model", m}};
    if (t.models[m]) model["weights"] = series_json(*t.models[m], false);
    if (t.deltas[m]) {
      const DeltaStats& d = *t.deltas[m];
      Json delta = series_json(d, true);
      delta["relative"] = d.relative();
      delta["cosine_base"] = cosine_base(d.dot_base, d.l2, d.base_l2);
      add_held(d.held, delta);
      model["delta"] = std::move(delta);
    }
    out["models"].push_back(std::move(model));
  }
  out["pairs"] = Json::array();
  for (std::size_t i = 1; i < t.models.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (const auto& p = t.pairs[pair_index(i, j)]) out["pairs"].push_back(pair_json(*p, j, i));
    }
  }
  out["moved"] = t.moved;
  out["sign_conflicts"] = t.conflicts;
  return out;
}

Json analysis_json(const Analysis& a, const Diagnostics& diagnostics) {
  Json out = {{"base", a.base}, {"models", a.models}, {"skipped_tensors", a.skipped}, {"densities", kDensities}};
  out["notices"] = Json::array();
  for (const Diagnostic& d : diagnostics.items()) out["notices"].push_back(d.message);
  out["suggestions"] = Json::array();
  for (const Advice& one : advise(a)) {
    Json advice = {{"about", one.about}};
    if (one.model) advice["model"] = *one.model;
    if (one.other) advice["other_model"] = *one.other;
    if (one.value) advice["value"] = *one.value;
    advice["text"] = one.text;
    out["suggestions"].push_back(std::move(advice));
  }
  out["all"] = group_json(a.all, a.models.size());
  out["roles"] = Json::array();
  for (const GroupStats& g : a.roles) out["roles"].push_back(group_json(g, a.models.size()));
  out["layers"] = Json::array();
  for (const GroupStats& g : a.layers) out["layers"].push_back(group_json(g, a.models.size()));
  out["tensors"] = Json::array();
  for (const TensorStats& t : a.tensors) out["tensors"].push_back(analysis_tensor_json(t));
  return out;
}

int analyze(const AnalyzeFlags& options) {
  const Talk talk = talk_of(options.run);
  std::vector<std::string> paths = {options.base};
  paths.insert(paths.end(), options.models.begin(), options.models.end());
  std::vector<Checkpoint> models = open_models(paths, talk);
  const Checkpoint base = models.front();
  models.erase(models.begin());
  Diagnostics diagnostics;
  Analysis analysis;
  {
    const ProgressLine progress(talk, "measured");
    AnalyzeOptions wanted;
    wanted.pattern = options.filter;
    wanted.rank = options.rank ? RankWish::kYes : RankWish::kNo;
    wanted.stream = stream_options(options.run, progress);
    analysis = analyze_checkpoints(base, models, wanted, diagnostics);
  }
  if (analysis.tensors.empty()) {
    diagnostics.error({},
                      options.filter.empty() ? "no tensor of a real number type in any of the models"
                                             : fmt::format("no tensor of a real number type matches `{}`", printable(options.filter)),
                      options.filter.empty() ? "" : "* stands for any characters");
  }
  diagnostics.throw_if_errors();
  print_diagnostics(diagnostics, talk);
  if (options.json) {
    std::printf("%s\n", analysis_json(analysis, diagnostics).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    std::fputs(analysis_text(analysis, options).c_str(), stdout);
  }
  return 0;
}

std::function<int()> declare_analyze(CommandLine& line) {
  auto options = std::make_shared<AnalyzeFlags>();
  line.option("BASE", options->base, "a model folder, a .safetensors file, or the id of a model in the local Hub cache").required();
  line.option("MODEL", options->models, "models made from the base; without any, the tensors of BASE are described");
  line.flag("--json", options->json, "print as JSON, every tensor included");
  line.flag("--tensors", options->tensors, "describe every tensor");
  line.flag("--rank", options->rank,
            "also the stable rank of every matrix of the base and of the task vectors, of up to 2^26 elements, and the effective rank "
            "where a side is at most 512; slow");
  line.option("--filter", options->filter, "only tensors whose name matches; * stands for any characters");
  declare_thread_options(line, options->run);
  return [options] { return analyze(*options); };
}

}  // namespace

const Command& command_analyze() {
  static const Command command = {"analyze", "Measure a base and its fine-tunes before a merge, and suggest density, epsilon and weights",
                                  declare_analyze};
  return command;
}

}  // namespace crucible
