#include "report/markdown.h"

#include <algorithm>

#include <fmt/format.h>

namespace crucible {
namespace {

constexpr std::size_t kMostRows = 60;

// A fence longer than any run of backquotes inside.
std::string fence_for(std::string_view text, std::size_t least) {
  std::size_t longest = 0, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return std::string(std::max(least, longest + 1), '`');
}

std::string code_span(std::string_view text) {
  if (text.empty()) return {};
  std::string inside;
  for (const char c : text) {
    if (c == '\n' || c == '\t') {
      inside += ' ';
    } else if (c == '|') {
      inside += "\\|";  // a code span inside a table still ends its cell at a bar
    } else if (c >= 0x05 || c < 0) {
      inside += c;
    }
  }
  const std::string fence = fence_for(inside, 1);
  const std::string pad = inside.front() == '`' || inside.back() == '`' ? " " : "";
  return fence + pad + inside + pad + fence;
}

std::string cell_text(const Cell& cell, const Column& column) {
  std::string out = column.kind == Kind::kCode ? code_span(cell.text) : escape_markdown(cell.text);
  if (!cell.note.empty()) out += (out.empty() ? "(" : " (") + escape_markdown(cell.note) + ")";
  return out;
}

}  // namespace

std::string escape_markdown(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\x01') {
      const std::size_t end = std::min(text.find('\x02', i), text.size());
      out += code_span(text.substr(i + 1, end - i - 1));
      i = end;
    } else if (c == '\x03' || c == '\x04') {
      out += "**";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '\n' || c == '\t') {
      out += ' ';
    } else if (std::string_view("\\`*[]|~").find(c) != std::string_view::npos) {
      out += '\\';
      out += c;
    } else if (c == '#' && out.empty()) {
      out += "\\#";
    } else {
      out += c;
    }
  }
  return out;
}

void MarkdownPage::paragraph(std::string_view text) { out_ += escape_markdown(text) + "\n\n"; }

void MarkdownPage::list(const std::vector<std::string>& items) {
  for (const std::string& item : items) out_ += "- " + escape_markdown(item) + "\n";
  out_ += "\n";
}

std::string MarkdownPage::fenced(std::string_view text) {
  const std::string fence = fence_for(text, 3);
  return fence + "\n" + std::string(text) + (text.empty() || text.back() == '\n' ? "" : "\n") + fence + "\n\n";
}

void MarkdownPage::code(std::string_view text) { out_ += fenced(text); }

void MarkdownPage::table(const Table& table) {
  if (!table.caption.empty()) out_ += escape_markdown(table.caption) + "\n\n";
  std::vector<std::string> titles;
  std::size_t column = 0;
  const auto add = [&](const std::string& group, int span) {
    for (int i = 0; i < span && column < table.columns.size(); ++i, ++column) {
      const std::string& own = table.columns[column].title;
      titles.push_back(escape_markdown(group.empty() ? own : own.empty() ? group : fmt::format("{}: {}", group, own)));
    }
  };
  for (const auto& [title, span] : table.groups) add(title, span);
  add("", static_cast<int>(table.columns.size()));
  out_ += "|";
  for (const std::string& title : titles) out_ += " " + title + " |";
  out_ += "\n|";
  for (const Column& c : table.columns) out_ += c.kind == Kind::kNumber ? "---:|" : "---|";
  out_ += "\n";
  for (std::size_t r = 0; r < std::min(table.rows.size(), kMostRows); ++r) {
    out_ += "|";
    for (std::size_t i = 0; i < table.rows[r].size() && i < table.columns.size(); ++i) {
      out_ += " " + cell_text(table.rows[r][i], table.columns[i]) + " |";
    }
    out_ += "\n";
  }
  out_ += "\n";
  if (table.rows.size() > kMostRows) {
    out_ += fmt::format("{} of {} rows; all of them: `crucible report --format html` or `json`.\n\n", kMostRows, table.rows.size());
  }
}

void MarkdownPage::open_details(std::string_view summary) { out_ += "<details><summary>" + escape_markdown(summary) + "</summary>\n\n"; }
void MarkdownPage::close_details() { out_ += "</details>\n\n"; }
void MarkdownPage::markdown(std::string_view markup) { out_ += markup; }

void MarkdownPage::open_section(const Section& section) {
  if (!section.title.empty()) out_ += fmt::format("## {}\n\n", section.title);
}

std::string MarkdownPage::take() { return std::move(out_); }

}  // namespace crucible
