// The recipe, line by line, and where each of its values went.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/units.h"
#include "report/html.h"
#include "report/markdown.h"
#include "report/numbers.h"
#include "report/section.h"
#include "text/documents.h"

namespace crucible {
namespace {

// What the values of one place of the recipe became.
struct Path {
  std::string name, filter;
  std::vector<std::string> shown;  // distinct, in order of first use
  std::set<int> inputs;
  std::int64_t tensors = 0;
  bool whole_merge = false;
};

using PathsByLine = std::map<int, std::map<std::pair<int, std::string>, Path>>;  // line -> column and name

struct Use {
  std::set<int> inputs;
  std::int64_t tensors = 0;
};

PathsByLine find_paths(const RecordView& record) {
  PathsByLine out;
  // A tensor counts once for a place, however many of its models take the value.
  std::map<std::pair<int, std::pair<int, std::string>>, std::int64_t> last_tensor;
  for (std::size_t t = 0; t < record.tensors.size(); ++t) {
    const RecordView::Tensor& tensor = record.tensors[t];
    const auto visit = [&](int set, int input) {
      if (set < 0) return;
      for (const RecordView::Parameter& p : record.parameters[static_cast<std::size_t>(set)]) {
        if (p.line <= 0) continue;
        Path& path = out[p.line][{p.column, p.name}];
        path.name = p.name;
        path.filter = p.filter;
        if (std::find(path.shown.begin(), path.shown.end(), p.shown) == path.shown.end()) path.shown.push_back(p.shown);
        const auto key = std::pair(p.line, std::pair(p.column, p.name));
        const auto seen = last_tensor.find(key);
        if (seen == last_tensor.end() || seen->second != static_cast<std::int64_t>(t)) {
          last_tensor[key] = static_cast<std::int64_t>(t);
          ++path.tensors;
        }
        if (input < 0) {
          path.whole_merge = true;
        } else {
          path.inputs.insert(input);
        }
      }
    };
    visit(tensor.global, -1);
    for (const RecordView::Source& source : tensor.models) visit(source.parameters, source.input);
  }
  return out;
}

std::string path_text(const Path& path) {
  std::string values = path.shown.front();
  if (path.shown.size() > 1) values += fmt::format(" \u2026 {}, {} values", path.shown.back(), path.shown.size());
  std::string out = fmt::format("{} = {} \u2192 {}", path.name, values, render_count(path.tensors, "tensor"));
  if (!path.inputs.empty()) out += fmt::format(" \u00D7 {}", render_count(static_cast<std::int64_t>(path.inputs.size()), "model"));
  if (!path.filter.empty()) out += fmt::format(" (filter {})", path.filter);
  return out;
}

std::vector<std::string> text_lines(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// Remarks to a line of the recipe: what its values became, notices, and that it has no effect.
std::map<int, std::vector<std::pair<std::string, bool>>> remarks_of(const RecordView& record) {
  std::map<int, std::vector<std::pair<std::string, bool>>> out;
  for (const auto& [line, paths] : find_paths(record)) {
    for (const auto& [key, path] : paths) out[line].emplace_back(path_text(path), false);
  }
  for (const RecordView::Unused& u : record.unused_parameters) {
    if (u.line > 0) out[u.line].emplace_back(u.name + ": no effect in this method", true);
  }
  for (const RecordView::Notice& n : record.notices) {
    if (n.line > 0) out[n.line].emplace_back(n.text, true);
  }
  return out;
}

void render_recipe(const RecordView& record, Page& page) {
  const auto remarks = remarks_of(record);
  const std::vector<std::string> lines = text_lines(record.recipe);
  // A document of several stands below the empty lines of those before it.
  const auto first = static_cast<std::size_t>(
      std::find_if(lines.begin(), lines.end(), [](const std::string& line) { return !line.empty(); }) - lines.begin());
  std::string html = fmt::format("<ol class=\"recipe\"{}>\n", first > 0 ? fmt::format(" style=\"counter-reset:n {}\"", first) : "");
  std::vector<std::string> notes;
  for (std::size_t i = first; i < lines.size(); ++i) {
    const int line = static_cast<int>(i) + 1;
    html += fmt::format("<li><code>{}</code>", lines[i].empty() ? "&#8203;" : escape_html(lines[i]));
    const auto found = remarks.find(line);
    if (found != remarks.end()) {
      html += "<span>";
      for (const auto& [text, is_warning] : found->second) {
        html += fmt::format("<em{}>{}</em>", is_warning ? " class=\"warn\"" : "", escape_html(text));
        notes.push_back(fmt::format("line {}: {}", line, text));
      }
      html += "</span>";
    }
    html += "</li>\n";
  }
  page.html(html + "</ol>\n");
  page.markdown(MarkdownPage::fenced(without_leading_lines(record.recipe)));
  if (!notes.empty()) {
    std::string md = "Where its values went:\n\n";
    for (const std::string& note : notes) md += "- " + escape_markdown(note) + "\n";
    page.markdown(md + "\n");
  }
  if (!record.formula.empty()) {
    page.open_details("Formula of the method");
    page.code(record.formula);
    page.close_details();
  }
  if (!record.canonical_recipe.empty()) {
    page.open_details("Canonical form: every default written out");
    page.code(record.canonical_recipe);
    page.close_details();
  }
}

}  // namespace

const Section& section_recipe() {
  static const Section section = {"recipe", "Recipe, and where its values went", 20, [](const RecordView&) { return true; }, render_recipe};
  return section;
}

}  // namespace crucible
