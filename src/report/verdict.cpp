#include "report/verdict.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text_util.h"
#include "base/units.h"
#include "report/numbers.h"
#include "report/page.h"

namespace crucible {
namespace {

void add_once(std::vector<std::string>& list, const std::string& name) {
  if (!name.empty() && std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
}

std::string place_in(const RecordView& record, int line, int column) {
  if (line <= 0) return {};
  const std::string file = record.recipe_file.empty() ? "the recipe" : record.recipe_file;
  return column > 0 ? fmt::format("{}:{}:{}", file, line, column) : fmt::format("{}:{}", file, line);
}

// Where the values of a parameter stand in the recipe.
std::string places_of(const RecordView& record, const std::string& parameter) {
  std::vector<std::string> places;
  for (const RecordView::ParameterSet& set : record.parameters) {
    for (const RecordView::Parameter& p : set) {
      if (p.name == parameter) add_once(places, place_in(record, p.line, p.column));
    }
  }
  std::string out;
  for (std::size_t i = 0; i < std::min<std::size_t>(places.size(), 4); ++i) out += (i > 0 ? ", " : "") + mono(places[i]);
  return out;
}

// How far from the plan, on one scale for checks with and without a standard deviation.
double distance(const RecordView::Expectation& e) {
  if (e.sigmas) return std::abs(*e.sigmas);
  if (!e.measured || !e.planned) return e.ok ? 0 : std::numeric_limits<double>::max();
  const double off = std::abs(*e.measured - *e.planned);
  return e.tolerance && *e.tolerance > 0 ? off / *e.tolerance : off;
}

void add_contradictions(const RecordView& record, ReportVerdict& out) {
  for (const std::string& parameter : out.contradicted) {
    std::vector<const RecordView::Expectation*> failed;
    for (const RecordView::Expectation& e : record.expectations) {
      if (!e.ok && e.parameter == parameter) failed.push_back(&e);
    }
    const auto worst = *std::max_element(failed.begin(), failed.end(), [](auto* a, auto* b) { return distance(*a) < distance(*b); });
    Remedy r;
    r.serious = true;
    r.what = fmt::format("{} did not do what it was to do: {}{} measured {}, planned {}", mono(parameter), worst->what,
                         worst->model.empty() ? "" : " of " + mono(worst->model), compact(worst->measured), compact(worst->planned));
    if (worst->sigmas) r.what += fmt::format(", {} standard deviations off", compact(std::abs(*worst->sigmas)));
    if (failed.size() > 1) r.what += fmt::format("; {} contradict in all", render_count(static_cast<std::int64_t>(failed.size()), "check"));
    r.what += ".";
    const std::string places = places_of(record, parameter);
    r.do_this = fmt::format(
        "{}Nothing in a recipe can cause this: the arithmetic did not follow the value, or the machine computed wrongly. Do not use the "
        "output. Merge again; if it stays, report it with crucible.json (it holds the recipe and the measurements, no weights). "
        "{} shows where each number went.",
        places.empty() ? "" : fmt::format("The value stands at {}. ", places),
        mono(fmt::format("crucible plan {} --explain-parameter {}", record.recipe_file.empty() ? "recipe.yml" : record.recipe_file,
                         parameter)));
    out.remedies.push_back(std::move(r));
  }
}

void add_hints(const RecordView& record, ReportVerdict& out) {
  if (record.nonfinite.value_or(0) > 0) {
    std::string first;
    for (const RecordView::Tensor& t : record.tensors) {
      if (first.empty() && t.nonfinite.value_or(0) > 0) first = t.name;
    }
    out.remedies.push_back({fmt::format("{} values of the output are not finite{}.", grouped(*record.nonfinite),
                                        first.empty() ? "" : ", first in " + mono(first)),
                            fmt::format("An input holds NaN or infinity there; {} tells which. Mend or leave out that model.",
                                        mono("crucible analyze BASE MODEL...")),
                            true});
  }
  if (record.saturated.value_or(0) > 0) {
    out.remedies.push_back({fmt::format("{} values are the largest that the output's type can hold.", grouped(*record.saturated)),
                            fmt::format("Set {} or {} in the recipe, or smaller weights.", mono("dtype: bfloat16"), mono("dtype: float32")),
                            false});
  }
  for (const RecordView::Unused& u : record.unused_parameters) {
    const std::string at = place_in(record, u.line, 0);
    out.remedies.push_back({fmt::format("{}{} has no effect: the method {} does not know it.", mono(u.name),
                                        at.empty() ? "" : " (" + mono(at) + ")", mono(record.method)),
                            fmt::format("Remove the line, or choose a method that has it ({}).", mono("crucible methods")), false});
  }
  for (const RecordView::Notice& n : record.notices) {
    if (n.hint.empty()) continue;
    const std::string at = place_in(record, n.line, n.column);
    out.remedies.push_back({n.text + (at.empty() ? "" : " (" + mono(at) + ")"), n.hint, false});
  }
}

std::string without_marks(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\x01' || c == '\x02' ? '`' : c;
  std::erase_if(out, [](char c) { return c == '\x03' || c == '\x04'; });
  return out;
}

}  // namespace

std::vector<RecordView::Expectation> worst_first(const RecordView& record) {
  std::vector<RecordView::Expectation> out = record.expectations;
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.ok != b.ok ? !a.ok : distance(a) > distance(b); });
  return out;
}

ReportVerdict judge_record(const RecordView& record) {
  ReportVerdict out;
  for (const RecordView::Expectation& e : record.expectations) {
    out.checks += static_cast<double>(e.count);
    if (!e.ok) add_once(out.contradicted, e.parameter.empty() ? "a parameter" : e.parameter);
  }
  if (record.audit_checks) out.checks = *record.audit_checks;
  if (record.silent) out.unmeasured = *record.silent;
  for (const RecordView::Field& f : record.fields) {
    if (record.silent) break;
    const bool checked =
        std::any_of(record.expectations.begin(), record.expectations.end(), [&](const auto& e) { return e.parameter == f.name; });
    if (!checked) out.unmeasured.push_back(f.name);
  }
  if (!out.contradicted.empty()) {
    out.kind = ReportVerdict::Kind::kContradicted;
    out.headline = fmt::format("The measurements contradict {}", join_names(out.contradicted));
    add_contradictions(record, out);
  } else if (!record.audit_on || record.expectations.empty()) {
    out.headline = record.audit_on ? "Not judged: the record holds no checks" : "Not judged: measuring was switched off";
    if (!record.audit_on) {
      out.remedies.push_back(
          {"This merge ran without its measurements.",
           fmt::format("Merge again without {}; or {} recomputes the output from its inputs.", mono("--no-audit"), mono("crucible verify")),
           false});
    }
  } else {
    out.kind = ReportVerdict::Kind::kProven;
    out.headline = out.checks == 1 ? "The one check passed" : fmt::format("All {} checks passed", grouped(out.checks));
  }
  add_hints(record, out);
  return out;
}

nlohmann::ordered_json verdict_json(const ReportVerdict& verdict) {
  constexpr const char* kNames[] = {"proven", "contradicted", "not judged"};
  nlohmann::ordered_json out = {{"verdict", kNames[static_cast<int>(verdict.kind)]},
                                {"headline", verdict.headline},
                                {"checks", verdict.checks},
                                {"contradicted", verdict.contradicted},
                                {"not_measured", verdict.unmeasured}};
  out["remedies"] = nlohmann::ordered_json::array();
  for (const Remedy& r : verdict.remedies) {
    out["remedies"].push_back({{"what", without_marks(r.what)}, {"do", without_marks(r.do_this)}, {"serious", r.serious}});
  }
  return out;
}

}  // namespace crucible
