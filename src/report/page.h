// What sections write to: blocks of content. The HTML page and the Markdown page show the same blocks in their own way.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crucible {

// Marks inside any text of a page. The text itself is plain; escaping is the page's affair.
std::string mono(std::string_view text);
std::string strong(std::string_view text);
// A message of the program: what it puts in backquotes is code.
std::string with_code(std::string_view text);

enum class Tone { kPlain, kGood, kBad, kWarn, kMuted };

struct Cell {
  std::string text;
  std::string note;   // smaller, beside the text
  std::string hover;  // more words, shown by a pointer
  int heat = -1;      // 0 ... 10: strength of the colour behind; -1 none
  Tone tone = Tone::kPlain;
  double bar = -1;  // a share drawn as a bar behind the text; negative: none
  Cell() = default;
  Cell(std::string t) : text(std::move(t)) {}  // NOLINT: a text is a cell
  Cell(const char* t) : text(t) {}             // NOLINT
};

enum class Kind { kText, kNumber, kCode };

struct Column {
  std::string title;
  Kind kind = Kind::kText;
  bool starts_group = false;
};

struct Table {
  std::string caption;
  std::vector<std::pair<std::string, int>> groups;  // titles over runs of columns
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
  std::string filter;    // label of a text box that filters rows; empty: none
  std::string css_name;  // for style and tests
  bool tall = false;     // scrolls inside a box of its own
};

struct Panel {
  std::string title;
  std::string svg;
  std::string note;
};

class Page {
 public:
  Page() = default;
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;
  virtual ~Page() = default;

  virtual void paragraph(std::string_view text) = 0;
  virtual void list(const std::vector<std::string>& items) = 0;
  virtual void code(std::string_view text) = 0;
  virtual void table(const Table& table) = 0;
  // Charts side by side. A page that cannot draw leaves them out: their numbers stand in a table as well.
  virtual void panels(const std::vector<Panel>& /*charts*/) {}
  virtual void open_details(std::string_view summary) = 0;
  virtual void close_details() = 0;
  // For one form only.
  virtual void html(std::string_view /*markup*/) {}
  virtual void markdown(std::string_view /*markup*/) {}
};

}  // namespace crucible
