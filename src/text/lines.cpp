#include "text/lines.h"

#include <algorithm>

#include "base/text_util.h"

namespace crucible {
namespace {

constexpr std::size_t kBlock = 256;

bool starts_char(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

std::optional<std::size_t> find_control(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) return i;
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0u;
    if (c == 0xC2 && next >= 0x80 && next < 0xA0 && next != 0x85) return i;
  }
  return std::nullopt;
}

std::string_view without_byte_order_mark(std::string_view text) noexcept {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  return text.starts_with(kByteOrderMark) ? text.substr(kByteOrderMark.size()) : text;
}

LineIndex::LineIndex(std::string_view text) : text_(text), starts_{0} {
  std::size_t chars = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i % kBlock == 0) chars_at_block_.push_back(chars);
    if (starts_char(text[i])) ++chars;
    const bool lone_return = text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n');
    if (text[i] == '\n' || lone_return) starts_.push_back(i + 1);
  }
}

std::size_t LineIndex::chars_before(std::size_t offset) const {
  if (chars_at_block_.empty()) return 0;
  const std::size_t block = std::min(offset / kBlock, chars_at_block_.size() - 1);
  std::size_t chars = chars_at_block_[block];
  for (std::size_t i = block * kBlock; i < offset; ++i) chars += starts_char(text_[i]) ? 1u : 0u;
  return chars;
}

Place LineIndex::place_at(std::size_t offset, const std::string& file) const {
  offset = std::min(offset, text_.size());
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), offset);
  const std::size_t start = *(after - 1);
  const auto column = chars_before(offset) - chars_before(start) + 1;
  return {file, static_cast<int>(after - starts_.begin()), static_cast<int>(column)};
}

std::string_view LineIndex::line(int line) const {
  if (line < 1 || static_cast<std::size_t>(line) > starts_.size()) return {};
  const std::size_t index = static_cast<std::size_t>(line) - 1;
  const std::size_t end = index + 1 < starts_.size() ? starts_[index + 1] : text_.size();
  std::string_view out = text_.substr(starts_[index], end - starts_[index]);
  while (!out.empty() && (out.back() == '\n' || out.back() == '\r')) out.remove_suffix(1);
  return out;
}

std::string LineIndex::line_shown(const Place& place) const {
  constexpr int kLastCaret = 160;
  constexpr std::size_t kMostChars = 200;
  const std::string_view whole = line(place.line);
  if (place.column > kLastCaret) return {};
  std::string_view cut = whole;
  std::size_t chars = 0;
  for (std::size_t i = 0; i < whole.size() && cut.size() == whole.size(); ++i) {
    if (starts_char(whole[i]) && ++chars > kMostChars) cut = whole.substr(0, i);
  }
  if (find_control(cut) || !is_valid_utf8(cut)) return {};
  return std::string(cut) + (cut.size() < whole.size() ? "..." : "");
}

}  // namespace crucible
