// The page as HTML: one file that needs nothing else.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "report/page.h"
#include "report/section.h"

namespace crucible {

// Any text as text or attribute value of HTML, with the marks of page.h as elements.
std::string escape_html(std::string_view text);
// The same without elements: for attributes and titles.
std::string escape_attribute(std::string_view text);

class HtmlPage : public Page {
 public:
  void paragraph(std::string_view text) override;
  void list(const std::vector<std::string>& items) override;
  void code(std::string_view text) override;
  void table(const Table& table) override;
  void panels(const std::vector<Panel>& charts) override;
  void open_details(std::string_view summary) override;
  void close_details() override;
  void html(std::string_view markup) override;
  void open_section(const Section& section);
  void close_section();
  std::string take();

 private:
  void cell(const Cell& cell, const Column& column, bool is_head);
  std::string out_;
};

// The whole file around the body of a page.
std::string html_document(std::string_view title, std::span<const Section* const> shown, std::string_view body);

}  // namespace crucible
