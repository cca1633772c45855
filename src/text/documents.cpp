#include "text/documents.h"

#include <algorithm>

#include "text/lines.h"

namespace crucible {
namespace {

constexpr std::size_t kMostPadding = 64u << 20;

bool is_marker(std::string_view line, std::string_view marker) {
  if (!line.starts_with(marker)) return false;
  const std::string_view rest = line.substr(marker.size());
  return rest.empty() || std::string_view(" \t\r\n").find(rest.front()) != std::string_view::npos;
}

// Lines that may stand in front of a document's marker: nothing, remarks, directives.
bool is_preamble(std::string_view line) {
  const std::size_t at = line.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos || line[at] == '#' || line.front() == '%';
}

// The next line with its end.
std::string_view next_line(std::string_view text) {
  const std::size_t end = text.find_first_of("\r\n");
  if (end == std::string_view::npos) return text;
  const bool pair = text[end] == '\r' && end + 1 < text.size() && text[end + 1] == '\n';
  return text.substr(0, end + (pair ? 2 : 1));
}

}  // namespace

std::optional<std::vector<std::string>> split_documents(std::string_view text) {
  std::vector<std::string> documents(1);
  bool is_fresh = true;  // the document has nothing but its preamble
  std::size_t lines = 0, padding = 0;
  const auto open = [&] {
    padding += lines;
    if (padding > kMostPadding) return false;
    documents.emplace_back(lines, '\n');
    is_fresh = true;
    return true;
  };
  for (text = without_byte_order_mark(text); !text.empty(); ++lines) {
    const std::string_view line = next_line(text);
    text.remove_prefix(line.size());
    if (is_marker(line, "---")) {
      if (!is_fresh && !open()) return std::nullopt;
      is_fresh = false;
    } else if (!is_preamble(line)) {
      is_fresh = false;
    }
    documents.back() += line;
    if (!is_marker(line, "...")) continue;
    ++lines;
    const bool done = open();
    --lines;
    if (!done) return std::nullopt;
  }
  return documents;
}

std::string_view without_leading_lines(std::string_view text) noexcept {
  const std::size_t at = text.find_first_not_of('\n');
  return text.substr(std::min(at, text.size()));
}

}  // namespace crucible
