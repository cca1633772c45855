#include "report/html.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "report/html_style.h"

namespace crucible {
namespace {

constexpr char kMonoOpen = '\x01', kMonoClose = '\x02', kStrongOpen = '\x03', kStrongClose = '\x04';

std::string escape(std::string_view text, bool with_elements) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      case kMonoOpen: out += with_elements ? "<code>" : ""; break;
      case kMonoClose: out += with_elements ? "</code>" : ""; break;
      case kStrongOpen: out += with_elements ? "<strong>" : ""; break;
      case kStrongClose: out += with_elements ? "</strong>" : ""; break;
      default: out += c;
    }
  }
  return out;
}

std::string wrapped(std::string_view text, char open, char close) {
  std::string out(1, open);
  for (const char c : text) {
    if (c != kMonoOpen && c != kMonoClose && c != kStrongOpen && c != kStrongClose) out += c;
  }
  return out + close;
}

// One letter each: there may be thousands of cells.
std::string_view css_of(Tone tone) {
  constexpr std::array<std::string_view, 5> kNames = {"", "good", "bad", "warn", "m"};
  return kNames[static_cast<std::size_t>(tone)];
}

}  // namespace

std::string mono(std::string_view text) { return wrapped(text, kMonoOpen, kMonoClose); }
std::string strong(std::string_view text) { return wrapped(text, kStrongOpen, kStrongClose); }

std::string with_code(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = text.find('`', at), close = open == std::string_view::npos ? open : text.find('`', open + 1);
    if (close == std::string_view::npos) return out + std::string(text.substr(at));
    out += text.substr(at, open - at);
    out += mono(text.substr(open + 1, close - open - 1));
    at = close + 1;
  }
  return out;
}

std::string escape_html(std::string_view text) { return escape(text, true); }
std::string escape_attribute(std::string_view text) { return escape(text, false); }

void HtmlPage::paragraph(std::string_view text) { out_ += fmt::format("<p>{}</p>\n", escape_html(text)); }

void HtmlPage::list(const std::vector<std::string>& items) {
  out_ += "<ul>\n";
  for (const std::string& item : items) out_ += fmt::format("<li>{}</li>\n", escape_html(item));
  out_ += "</ul>\n";
}

void HtmlPage::code(std::string_view text) { out_ += fmt::format("<pre class=\"scroll\">{}</pre>\n", escape_html(text)); }

void HtmlPage::cell(const Cell& cell, const Column& column, bool is_head) {
  std::string css;
  const auto add = [&](std::string_view name) {
    if (!name.empty()) css += (css.empty() ? "" : " ") + std::string(name);
  };
  if (column.kind == Kind::kNumber) add("n");
  if (column.starts_group) add("w");
  if (cell.heat >= 0) add(fmt::format("h{}", std::min(cell.heat, 10)));
  add(css_of(cell.tone));
  if (cell.bar >= 0) add("bar");
  out_ += is_head ? "<th scope=\"row\"" : "<td";
  if (!css.empty()) out_ += fmt::format(" class=\"{}\"", css);
  if (cell.bar >= 0) out_ += fmt::format(" style=\"--v:{:.4g}%\"", 100 * std::clamp(cell.bar, 0.0, 1.0));
  if (!cell.hover.empty()) out_ += fmt::format(" title=\"{}\"", escape_attribute(cell.hover));
  out_ += ">";
  const std::string text = escape_html(cell.text);
  out_ += column.kind == Kind::kCode && !text.empty() ? "<code>" + text + "</code>" : text;
  if (!cell.note.empty()) out_ += fmt::format("<small>{}</small>", escape_html(cell.note));
  out_ += is_head ? "</th>" : "</td>";
}

void HtmlPage::table(const Table& table) {
  std::string css = table.css_name;
  out_ +=
      fmt::format("<div class=\"scroll{}\"><table{}{}>\n", table.tall ? " tall" : "", css.empty() ? "" : fmt::format(" class=\"{}\"", css),
                  table.filter.empty() ? "" : fmt::format(" data-filter=\"{}\"", escape_attribute(table.filter)));
  if (!table.caption.empty()) out_ += fmt::format("<caption>{}</caption>\n", escape_html(table.caption));
  out_ += "<thead>";
  if (!table.groups.empty()) {
    out_ += "<tr class=\"groups\">";
    for (const auto& [title, span] : table.groups) {
      out_ += title.empty() ? fmt::format("<td colspan=\"{}\"></td>", span)
                            : fmt::format("<th scope=\"colgroup\" colspan=\"{}\">{}</th>", span, escape_html(title));
    }
    out_ += "</tr>\n";
  }
  out_ += "<tr>";
  for (const Column& column : table.columns) {
    out_ += fmt::format("<th scope=\"col\"{}>{}</th>", column.kind == Kind::kNumber ? " class=\"n\"" : "", escape_html(column.title));
  }
  out_ += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    out_ += "<tr>";
    for (std::size_t i = 0; i < row.size() && i < table.columns.size(); ++i) cell(row[i], table.columns[i], i == 0);
    out_ += "</tr>\n";
  }
  out_ += "</tbody></table></div>\n";
}

void HtmlPage::panels(const std::vector<Panel>& charts) {
  out_ += "<div class=\"panels\">\n";
  for (const Panel& chart : charts) {
    out_ += "<figure>";
    if (!chart.title.empty()) out_ += fmt::format("<figcaption>{}</figcaption>", escape_html(chart.title));
    out_ += fmt::format("<div class=\"scroll\">{}</div>", chart.svg);
    if (!chart.note.empty()) out_ += fmt::format("<p class=\"note\">{}</p>", escape_html(chart.note));
    out_ += "</figure>\n";
  }
  out_ += "</div>\n";
}

void HtmlPage::open_details(std::string_view summary) { out_ += fmt::format("<details><summary>{}</summary>\n", escape_html(summary)); }
void HtmlPage::close_details() { out_ += "</details>\n"; }
void HtmlPage::html(std::string_view markup) { out_ += markup; }

void HtmlPage::open_section(const Section& section) {
  out_ += fmt::format("<section id=\"{}\">\n", section.name);
  if (!section.title.empty()) out_ += fmt::format("<h2>{}</h2>\n", escape_html(section.title));
}
void HtmlPage::close_section() { out_ += "</section>\n"; }

std::string HtmlPage::take() { return std::move(out_); }

std::string html_document(std::string_view title, std::span<const Section* const> shown, std::string_view body) {
  std::string nav;
  for (const Section* section : shown) {
    if (!section->title.empty()) nav += fmt::format("<a href=\"#{}\">{}</a>\n", section->name, escape_html(section->title));
  }
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
      "script-src '{}'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n",
      kScriptHash, escape_attribute(title), kStyle);
  // The verdict comes first, the list of sections under it.
  const std::size_t end = body.find("</section>");
  const std::size_t cut = end == std::string_view::npos ? 0 : end + std::string_view("</section>\n").size();
  out += "<main>\n";
  out += body.substr(0, cut);
  out += "<nav aria-label=\"Sections\">\n" + nav + "</nav>\n";
  out += body.substr(cut);
  out += "</main>\n<script>";
  out += kScript;
  out += "</script>\n</body>\n</html>\n";
  return out;
}

}  // namespace crucible
