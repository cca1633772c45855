// The page as Markdown (GitHub's form, with tables): no charts, the numbers in tables.
#pragma once

#include <string>
#include <string_view>

#include "report/page.h"
#include "report/section.h"

namespace crucible {

class MarkdownPage : public Page {
 public:
  void paragraph(std::string_view text) override;
  void list(const std::vector<std::string>& items) override;
  void code(std::string_view text) override;
  void table(const Table& table) override;
  void open_details(std::string_view summary) override;
  void close_details() override;
  void markdown(std::string_view markup) override;
  static std::string fenced(std::string_view text);
  void open_section(const Section& section);
  std::string take();

 private:
  std::string out_;
};

// Plain text as Markdown text, with the marks of page.h.
std::string escape_markdown(std::string_view text);

}  // namespace crucible
