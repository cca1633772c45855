#include "report/explain.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"

namespace crucible {
namespace {

bool matches(std::string_view pattern, std::string_view text) {
  // Greedy wildcard match with one point of return.
  std::size_t p = 0, t = 0, star = std::string_view::npos, retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == text[t] || pattern[p] == '?') && pattern[p] != '*') {
      ++p;
      ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string origin_text(const Origin& origin) {
  std::string out(to_string(origin.level));
  if (origin.place.line > 0) out += fmt::format(", {}", to_string(origin.place));
  if (!origin.filter.empty()) out += fmt::format(", filter {}", printable(origin.filter));
  if (origin.t) out += fmt::format(", gradient at t = {:.4f}", *origin.t);
  return out;
}

std::string explain_params(const Params& params, const std::string& indent) {
  std::string out;
  for (std::size_t i = 0; i < params.table().size(); ++i) {
    out += fmt::format("{}{} = {}  ({})\n", indent, params.table()[i].name, shown_value(params, i), origin_text(params.origin(i)));
  }
  return out;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Calls visit(word, begin, end) for every word of a line.
template <typename Visit>
void for_each_word(const std::string& line, const Visit& visit) {
  for (std::size_t at = 0; at < line.size();) {
    if (!is_word(line[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < line.size() && is_word(line[end])) ++end;
    visit(line.substr(at, end - at), at, end);
    at = end;
  }
}

std::vector<std::string> formula_lines(const Method& method) {
  std::vector<std::string> lines(1);
  for (const char c : method.formula) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

const std::string& symbol_of(const Field& field) { return field.symbol_text.empty() ? field.name : field.symbol_text; }

// Does the formula speak of this field here?
bool names(const Field& field, const std::string& word) { return word == field.name || word == symbol_of(field); }

// The formula with the values of one job in place of the parameters' names; per-model values stand in brackets, in the models' order.
std::string filled_formula(const Method& method, const Job& job) {
  const auto value_of = [&](const std::string& word) -> std::string {
    for (std::size_t i = 0; i < job.global->table().size(); ++i) {
      if (names(job.global->table()[i], word)) return shown_value(*job.global, i);
    }
    for (std::size_t i = 0; i < method.model->size() && !job.models.empty(); ++i) {
      if (!names((*method.model)[i], word)) continue;
      std::vector<std::string> values;
      for (const auto& m : job.models) values.push_back(shown_value(*m, i));
      const bool equal = std::all_of(values.begin(), values.end(), [&values](const std::string& v) { return v == values.front(); });
      return equal ? values.front() : fmt::format("[{}]", fmt::join(values, ", "));
    }
    return {};
  };
  std::string out;
  for (const std::string& line : formula_lines(method)) {
    std::string filled;
    std::size_t done = 0;
    for_each_word(line, [&](const std::string& word, std::size_t begin, std::size_t end) {
      const std::string value = value_of(word);
      if (value.empty()) return;
      filled += line.substr(done, begin - done) + fmt::format("{}{{{}}}", word, value);
      done = end;
    });
    out += "    " + filled + line.substr(done) + "\n";
  }
  return out;
}

struct Use {
  std::string value, origin;
  std::int64_t tensors = 0;
  std::string first, last;
};

// "model.norm.weight BF16", with the way in which it is stored where that is another.
std::string source_text(const SourceTensor& s) {
  const ViewTensor& t = *s.tensor;
  return fmt::format("{} {}{}", printable(t.info.name), facts(t.info.dtype).name,
                     t.how.empty() ? std::string() : fmt::format(" ({})", printable(t.how, 300)));
}

}  // namespace

std::string render_explanation(const Plan& plan, const std::string& pattern) {
  std::string out;
  for (const Job& job : plan.jobs) {
    if (!matches(pattern, job.info.name)) continue;
    out += fmt::format("{}  {} {}  -> {} at byte {}\n", printable(job.info.name), facts(job.info.dtype).name, to_string(job.info.shape),
                       plan.files[static_cast<std::size_t>(job.file)].name, job.offset);
    out += fmt::format("  role {}: {}\n", job.role.text(), printable(job.role.why));
    if (!job.as.empty()) out += fmt::format("  tied: merged as {} is, with its parameters and draws\n", printable(job.as));
    if (job.kind == Job::Kind::kCopy) {
      out += fmt::format("  copied from {}: {}\n", plan.inputs[static_cast<std::size_t>(job.sources[0].input)].ref.text(), job.copy_reason);
      continue;
    }
    out += fmt::format("  t = {:.4f}\n", job.t);
    out += explain_params(*job.global, "  ");
    if (job.base) {
      out += fmt::format("  base {}: {}\n", plan.inputs[static_cast<std::size_t>(job.base->input)].ref.text(), source_text(*job.base));
    }
    for (std::size_t i = 0; i < job.sources.size(); ++i) {
      const SourceTensor& s = job.sources[i];
      out += fmt::format("  {}: {}\n", plan.inputs[static_cast<std::size_t>(s.input)].ref.text(), source_text(s));
      out += explain_params(*job.models[i], "    ");
    }
    out += "  the formula, with these numbers\n" + filled_formula(*plan.method, job);
  }
  return out;
}

std::string render_parameter(const Plan& plan, const std::string& name) {
  const Method& method = *plan.method;
  const auto in_global = method.global->find(name), in_model = method.model->find(name);
  if (!in_global && !in_model) return {};
  const Field& field = in_global ? (*method.global)[*in_global] : (*method.model)[*in_model];
  std::string out =
      fmt::format("{} of {} ({})\n  {}\n  {}{}; default {}\n", name, method.name, in_global ? "one for all models" : "one for each model",
                  field.help, field.type_text(), symbol_of(field) == name ? "" : fmt::format("; {} in the formula", symbol_of(field)),
                  field.is_required ? "none: it must be given" : field.default_text());

  // Equal values of equal origin are one line.
  std::map<std::string, std::vector<Use>> uses;  // by model; the empty name is the whole merge
  const auto note = [&uses](const std::string& model, const Params& params, std::size_t index, const std::string& tensor) {
    std::vector<Use>& all = uses[model];
    const std::string value = shown_value(params, index), origin = origin_text(params.origin(index));
    auto it = std::find_if(all.begin(), all.end(), [&](const Use& u) { return u.value == value && u.origin == origin; });
    if (it == all.end()) it = all.insert(all.end(), {value, origin, 0, tensor, tensor});
    ++it->tensors;
    it->last = tensor;
  };
  std::int64_t merged = 0, copied = 0;
  for (const Job& job : plan.jobs) {
    if (job.kind == Job::Kind::kCopy && job.models.empty()) {
      ++copied;
      continue;
    }
    ++merged;
    if (in_global) note({}, *job.global, *in_global, job.info.name);
    for (std::size_t i = 0; in_model && i < job.models.size(); ++i)
      note(plan.inputs[static_cast<std::size_t>(job.sources[i].input)].ref.text(), *job.models[i], *in_model, job.info.name);
  }
  out += fmt::format("where its values come from ({} that take it", render_count(merged, "tensor"));
  out += copied > 0 ? fmt::format(", {} copied without it)\n", copied) : ")\n";
  for (const auto& [model, all] : uses) {
    if (!model.empty()) out += fmt::format("  {}\n", model);
    for (const Use& u : all) {
      out += fmt::format("  {}{} = {}  ({})  {}: {}{}\n", model.empty() ? "" : "  ", name, u.value, u.origin,
                         render_count(u.tensors, "tensor"), printable(u.first),
                         u.tensors > 1 ? fmt::format(" ... {}", printable(u.last)) : std::string());
    }
  }
  out += "where it goes, in the formula\n";
  bool any = false;
  const auto example = std::find_if(plan.jobs.begin(), plan.jobs.end(), [](const Job& j) { return j.kind == Job::Kind::kMerge; });
  if (example != plan.jobs.end()) {
    std::vector<std::string> filled(1);
    for (const char c : filled_formula(method, *example)) {
      if (c == '\n') {
        filled.emplace_back();
      } else {
        filled.back() += c;
      }
    }
    const std::vector<std::string> lines = formula_lines(method);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      bool here = false;
      for_each_word(lines[i], [&](const std::string& word, std::size_t, std::size_t) { here = here || names(field, word); });
      if (here) out += filled[i] + "\n";
      any = any || here;
    }
    if (any) out += fmt::format("    (with the numbers of {})\n", printable(example->info.name));
  }
  if (!any) out += "    not by name: it chooses the form of the formula\n";
  return out;
}

}  // namespace crucible
