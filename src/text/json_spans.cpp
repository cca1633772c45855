#include "text/json_spans.h"

#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text_util.h"

namespace crucible {
namespace {

constexpr std::string_view kMark = "\xEF\xBB\xBF";
constexpr int kDepthLimit = 128;

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Scans a text that is known to be valid, but for its depth.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text), at_(text.starts_with(kMark) ? kMark.size() : 0) {}

  bool too_deep() const noexcept { return too_deep_; }

  JsonSpan value(int depth) {
    JsonSpan span;
    skip_space();
    span.begin = at_;
    if (depth > kDepthLimit) {
      too_deep_ = true;
    } else if (peek() == '{') {
      span.kind = JsonSpan::Kind::kObject;
      object(span, depth);
    } else if (peek() == '[') {
      span.kind = JsonSpan::Kind::kList;
      list(span, depth);
    } else if (peek() == '"') {
      span.kind = JsonSpan::Kind::kString;
      string();
    } else {
      while (at_ < text_.size() && !is_space(peek()) && peek() != ',' && peek() != ']' && peek() != '}') ++at_;
    }
    span.end = at_;
    return span;
  }

 private:
  char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() noexcept {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }

  void string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  void object(JsonSpan& span, int depth) {
    ++at_;
    for (skip_space(); peek() == '"' && !too_deep_; skip_space()) {
      JsonEntry entry;
      entry.key_begin = at_;
      string();
      entry.key_end = at_;
      entry.key = nlohmann::json::parse(text_.substr(entry.key_begin, at_ - entry.key_begin)).get<std::string>();
      skip_space();
      ++at_;  // the colon
      entry.value = value(depth + 1);
      span.entries.push_back(std::move(entry));
      skip_space();
      if (peek() == ',') ++at_;
    }
    ++at_;
  }

  void list(JsonSpan& span, int depth) {
    ++at_;
    for (skip_space(); at_ < text_.size() && peek() != ']' && !too_deep_; skip_space()) {
      span.items.push_back(value(depth + 1));
      skip_space();
      if (peek() == ',') ++at_;
    }
    ++at_;
  }

  std::string_view text_;
  std::size_t at_;
  bool too_deep_ = false;
};

}  // namespace

const JsonSpan* JsonSpan::find(std::string_view key) const noexcept {
  const JsonSpan* found = nullptr;
  for (const JsonEntry& entry : entries) {
    if (entry.key == key) found = &entry.value;
  }
  return found;
}

std::string to_standard_json(std::string_view text) {
  constexpr std::array<std::string_view, 3> kLiterals = {"-Infinity", "Infinity", "NaN"};
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_string && c == '\\' && i + 1 < text.size()) {
      out += text.substr(i, 2);
      i += 2;
      continue;
    }
    if (c == '"') in_string = !in_string;
    std::size_t skip = 0;
    for (const std::string_view literal : kLiterals) {
      if (!in_string && text.substr(i).starts_with(literal)) skip = literal.size();
      if (skip > 0) break;
    }
    if (skip > 0) {
      out += "null";
      i += skip;
    } else {
      out += c;
      ++i;
    }
  }
  return out;
}

std::optional<JsonSpan> find_json_spans(std::string_view text, std::string& problem) {
  const std::string standard = to_standard_json(text);
  try {
    const auto ignored = nlohmann::json::parse(standard, [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
      return depth < 1;  // a check only: no tree is kept
    });
    static_cast<void>(ignored);
  } catch (const nlohmann::json::exception& error) {
    problem = printable(error.what(), 200);
    return std::nullopt;
  }
  Scanner scanner(text);
  JsonSpan root = scanner.value(1);
  if (scanner.too_deep()) {
    problem = fmt::format("nested deeper than {} levels", kDepthLimit);
    return std::nullopt;
  }
  return root;
}

}  // namespace crucible
