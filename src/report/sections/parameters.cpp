// Where every value came from, how far it went, and which checks hold it.
#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "base/units.h"
#include "report/numbers.h"
#include "report/section.h"

namespace crucible {
namespace {

// Values of one parameter of one model that stand in one place of the recipe.
struct Source {
  std::vector<std::string> shown;  // distinct
  std::optional<double> low, high, t_low, t_high;
  std::int64_t tensors = 0;
};

// Parameter (in the order of the method), model (-1: the whole merge), line, column, level, filter.
using Key = std::tuple<std::size_t, int, int, int, std::string, std::string>;

struct Origins {
  std::vector<std::string> names;
  std::map<Key, Source> sources;
};

Origins find_origins(const RecordView& record) {
  Origins out;
  for (const RecordView::Field& f : record.fields) out.names.push_back(f.name);
  const auto number_of = [&](const std::string& name) {
    const auto at = std::find(out.names.begin(), out.names.end(), name);
    if (at != out.names.end()) return static_cast<std::size_t>(at - out.names.begin());
    out.names.push_back(name);
    return out.names.size() - 1;
  };
  const auto visit = [&](int set, int input) {
    if (set < 0) return;
    for (const RecordView::Parameter& p : record.parameters[static_cast<std::size_t>(set)]) {
      Source& s = out.sources[{number_of(p.name), input, p.line, p.column, p.from, p.filter}];
      ++s.tensors;
      if (std::find(s.shown.begin(), s.shown.end(), p.shown) == s.shown.end()) s.shown.push_back(p.shown);
      if (p.value) {
        s.low = std::min(s.low.value_or(*p.value), *p.value);
        s.high = std::max(s.high.value_or(*p.value), *p.value);
      }
      if (p.t) {
        s.t_low = std::min(s.t_low.value_or(*p.t), *p.t);
        s.t_high = std::max(s.t_high.value_or(*p.t), *p.t);
      }
    }
  };
  for (const RecordView::Tensor& tensor : record.tensors) {
    visit(tensor.global, -1);
    for (const RecordView::Source& source : tensor.models) visit(source.parameters, source.input);
  }
  return out;
}

Cell proof_of(const RecordView& record, const std::string& parameter, const std::string& model) {
  std::int64_t checks = 0, failed = 0;
  double worst = 0;
  bool has_sigmas = false;
  for (const RecordView::Expectation& e : record.expectations) {
    if (e.parameter != parameter || (!e.model.empty() && !model.empty() && e.model != model)) continue;
    checks += e.count;
    failed += e.ok ? 0 : 1;
    if (e.sigmas) {
      has_sigmas = true;
      if (std::abs(*e.sigmas) > std::abs(worst)) worst = *e.sigmas;
    }
  }
  Cell cell;
  if (checks == 0) {
    cell.text = "taken by the arithmetic";
    cell.tone = Tone::kMuted;
  } else if (failed > 0) {
    cell.text = "\u2717 contradicted";
    if (has_sigmas) cell.note = sigmas_text(worst);
    cell.tone = Tone::kBad;
  } else {
    cell.text = checks == 1 ? "\u2713 1 check" : fmt::format("\u2713 {} checks", grouped(static_cast<double>(checks)));
    if (has_sigmas) cell.note = "largest " + sigmas_text(std::abs(worst));
    cell.tone = Tone::kGood;
  }
  return cell;
}

std::string place_text(const RecordView& record, const Key& key) {
  const auto& [parameter, input, line, column, level, filter] = key;
  std::string out = level.empty() ? "unknown" : level;
  if (line > 0) {
    out +=
        " " + mono(column > 0 ? fmt::format("{}:{}:{}", record.recipe_file, line, column) : fmt::format("{}:{}", record.recipe_file, line));
  }
  if (!filter.empty()) out += ", filter " + mono(filter);
  return out;
}

Cell value_cell(const Source& s) {
  Cell cell;
  if (s.shown.size() == 1) {
    cell.text = s.shown.front();
  } else if (s.low && s.high) {
    cell.text = fmt::format("{} \u2026 {}", compact(s.low), compact(s.high));
    cell.note = fmt::format("{} values", s.shown.size());
  } else {
    for (std::size_t i = 0; i < std::min<std::size_t>(s.shown.size(), 4); ++i) cell.text += (i > 0 ? ", " : "") + s.shown[i];
    if (s.shown.size() > 4) cell.note = fmt::format("and {} more", s.shown.size() - 4);
  }
  return cell;
}

void render_parameters(const RecordView& record, Page& page) {
  page.paragraph("Every value that the arithmetic took: where it was written, on how many tensors it worked, and what was measured of it.");
  const Origins origins = find_origins(record);
  Table table;
  table.css_name = "parameters";
  table.filter = "Filter by parameter, model, value or place";
  table.columns = {{"parameter", Kind::kCode}, {"model", Kind::kCode},     {"value", Kind::kNumber},
                   {"from", Kind::kText},      {"tensors", Kind::kNumber}, {"proof", Kind::kText}};
  for (const auto& [key, source] : origins.sources) {
    const std::string& name = origins.names[std::get<0>(key)];
    const int input = std::get<1>(key);
    const std::string model = input < 0 ? "" : record.model_name(input);
    Cell parameter(name), from(place_text(record, key));
    const auto field = std::find_if(record.fields.begin(), record.fields.end(), [&](const auto& f) { return f.name == name; });
    if (field != record.fields.end()) {
      parameter.hover = field->help;
      if (!field->symbol.empty() && field->symbol != name) parameter.note = field->symbol;
    }
    if (source.t_low && source.t_high) from.note = fmt::format("gradient at {} \u2026 {}", compact(source.t_low), compact(source.t_high));
    table.rows.push_back({parameter, input < 0 ? Cell("") : Cell(model), value_cell(source), from,
                          grouped(static_cast<double>(source.tensors)), proof_of(record, name, model)});
  }
  page.table(table);
}

}  // namespace

const Section& section_parameters() {
  static const Section section = {"parameters", "Provenance of parameters", 80,
                                  [](const RecordView& record) { return !record.parameters.empty(); }, render_parameters};
  return section;
}

}  // namespace crucible
