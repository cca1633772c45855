#include "text/yaml.h"

#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <optional>
#include <streambuf>
#include <utility>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "text/lines.h"
#include "text/yaml_builder.h"

namespace crucible {
namespace {

// Hands the text to the scanner in pieces and stops when it reads far ahead without any event: a list in brackets is queued token by
// token until it closes, so "[[[[..." would cost a hundred times its size.
class BoundedText : public std::streambuf {
 public:
  explicit BoundedText(std::string_view text) : text_(text) {}
  bool& on_event() { return on_event_; }
  bool stopped() const { return stopped_; }
  std::size_t position() const { return at_; }

 protected:
  int_type underflow() override {
    constexpr std::size_t kPiece = 4096;
    constexpr std::size_t kFarAhead = 1u << 19;
    if (std::exchange(on_event_, false)) event_at_ = at_;
    stopped_ = stopped_ || at_ - event_at_ > kFarAhead;
    if (stopped_ || at_ == text_.size()) return traits_type::eof();
    const std::size_t size = std::min(kPiece, text_.size() - at_);
    piece_.assign(text_.substr(at_, size));
    at_ += size;
    setg(piece_.data(), piece_.data(), piece_.data() + size);
    return traits_type::to_int_type(piece_[0]);
  }

 private:
  std::string_view text_;
  std::string piece_;
  std::size_t at_ = 0;
  std::size_t event_at_ = 0;
  bool on_event_ = false;
  bool stopped_ = false;
};

struct Explanation {
  std::string_view pattern;  // the library's message starts with it
  std::string_view message;
  std::string_view hint;
};

constexpr Explanation kExplanations[] = {
    {"illegal map value", "a `:` is not allowed here", "check the indentation; a text that holds `: ` needs quotes"},
    {"illegal block entry", "a `- ` is not allowed here", "check the indentation; a text that starts with `- ` needs quotes"},
    {"illegal map key", "a `? ` is not allowed here", "check the indentation"},
    {"end of map not found", "this line does not fit the mapping above it", "check the indentation"},
    {"end of sequence not found", "this line does not fit the list above it",
     "check the indentation; every entry of a list starts with `- `"},
    {"end of map flow not found", "the mapping in braces is not closed", "add `}`, or quote a text that starts with `{`"},
    {"end of sequence flow not found", "the list in brackets is not closed", "add `]`, or quote a text that starts with `[`"},
    {"illegal flow end", "a closing bracket without an opening one", ""},
    {"unknown escape character", "unknown escape in a text in double quotes",
     "write a Windows path in single quotes ('C:\\models\\a') or with forward slashes (C:/models/a)"},
    {"bad character found while scanning hex number", "unknown escape in a text in double quotes",
     "write a Windows path in single quotes ('C:\\models\\a') or with forward slashes (C:/models/a)"},
    {"invalid unicode", "an escape in double quotes that is no character", ""},
    {"unknown token", "a value cannot start with this character", "put the text in quotes"},
    {"illegal tab", "a tab is used for indentation", "YAML is indented with spaces only"},
    {"the referenced anchor is not defined", "an alias without its anchor", "define it before its use: `&name` in front of a value"},
    {"illegal document indicator", "a document marker inside a quoted text", "add the closing quote"},
};

bool is_indented_with_tab(std::string_view line) {
  const std::size_t end = std::min(line.find_first_not_of(" \t"), line.size());
  return line.substr(0, end).find('\t') != std::string_view::npos;
}

Diagnostic explain(const YAML::Exception& problem, std::string_view text, const LineIndex& lines, const std::string& file) {
  Diagnostic out;
  out.place = {file, 0, 0};
  const std::string_view said = problem.msg;
  const bool is_escape = said.starts_with("unknown escape") || said.starts_with("bad character");
  if (problem.mark.pos >= 0) {
    auto at = static_cast<std::size_t>(problem.mark.pos);
    // The scanner is past a bad escape when it complains.
    if (is_escape) at = std::min(at, text.rfind('\\', at));
    out.place = lines.place_at(at, file);
  }
  const bool tabs_matter = !is_escape && said.find("flow") == std::string_view::npos;  // inside brackets and quotes they do not
  if (tabs_matter && is_indented_with_tab(lines.line(out.place.line))) {
    out.message = "a tab is used for indentation";
    out.hint = "YAML is indented with spaces only";
    out.place.column = 1 + static_cast<int>(lines.line(out.place.line).find('\t'));
    return out;
  }
  for (const Explanation& e : kExplanations) {
    if (!said.starts_with(e.pattern)) continue;
    out.message = e.message;
    out.hint = e.hint;
    return out;
  }
  out.message = fmt::format("not valid YAML: {}", printable(problem.msg));
  return out;
}

std::size_t first_invalid_utf8(std::string_view text) {
  std::size_t good = 0;  // the prefix of this length is valid
  for (std::size_t bad = text.size(); bad - good > 1;) {
    const std::size_t middle = good + (bad - good) / 2;
    // A cut inside a character is not a fault: it is valid with up to three more bytes.
    bool valid = false;
    for (std::size_t extra = 0; extra < 4 && middle + extra <= text.size() && !valid; ++extra)
      valid = is_valid_utf8(text.substr(0, middle + extra));
    (valid ? good : bad) = middle;
  }
  return good;
}

// Empty, or why the bytes are no text that may be scanned.
std::optional<Diagnostic> check_bytes(std::string_view text, const std::string& file, const YamlLimits& limits) {
  Diagnostic out;
  out.place = {file, 0, 0};
  if (text.size() > limits.bytes) {
    out.message = fmt::format("the file has {}, more than the {} that are read", render_bytes(static_cast<std::int64_t>(text.size())),
                              render_bytes(static_cast<std::int64_t>(limits.bytes)));
    return out;
  }
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    out.message = "the file is in UTF-16";
    out.hint = "save it as UTF-8";
    return out;
  }
  if (!is_valid_utf8(text)) {
    const std::size_t at = first_invalid_utf8(text);
    const std::string_view before = text.substr(0, at);
    const std::size_t start = before.find_last_of('\n') == std::string_view::npos ? 0 : before.find_last_of('\n') + 1;
    out.place.line = 1 + static_cast<int>(std::count(before.begin(), before.end(), '\n'));
    out.place.column = 1 + static_cast<int>(std::count_if(before.begin() + static_cast<std::ptrdiff_t>(start), before.end(),
                                                          [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
    out.message = fmt::format("the text is not valid UTF-8: byte 0x{:02x}", static_cast<unsigned char>(text[at]));
    out.hint = "save it as UTF-8";
    return out;
  }
  // Control characters have no business in a recipe: some end the text for the scanner, some act on a terminal.
  if (const auto at = find_control(text)) {
    out.place = LineIndex(text).place_at(*at, file);
    out.message = fmt::format("a control character ({}) is not allowed", printable(text.substr(*at, text[*at] == '\xC2' ? 2 : 1)));
    return out;
  }
  return std::nullopt;
}

// The scanner does not know a lone carriage return as a line end, and refuses tabs in lines that are blank. Bytes keep their positions.
std::string tidied(std::string_view text) {
  std::string out(text);
  std::size_t line = 0;
  bool is_blank = true;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '\r' && (i + 1 == out.size() || out[i + 1] != '\n')) out[i] = '\n';
    is_blank = is_blank && (out[i] == ' ' || out[i] == '\t' || out[i] == '\r' || out[i] == '\n');
    if (out[i] != '\n' && i + 1 < out.size()) continue;
    if (is_blank)
      std::replace(out.begin() + static_cast<std::ptrdiff_t>(line), out.begin() + static_cast<std::ptrdiff_t>(i + 1), '\t', ' ');
    line = i + 1;
    is_blank = true;
  }
  return out;
}

// False after a problem that leaves no trees worth looking at.
bool scan(const std::string& text, const LineIndex& lines, const std::string& file, const YamlLimits& limits, Diagnostics& diagnostics,
          std::vector<Node>& documents) {
  BoundedText source(text);
  YamlBuilder builder(text, lines, file, limits, diagnostics, source.on_event());
  std::optional<Diagnostic> problem;
  try {
    std::istream stream(&source);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const StopParsing&) {
    return false;
  } catch (const YAML::Exception& e) {
    problem = explain(e, text, lines, file);
  }
  if (source.stopped()) {
    problem = Diagnostic{};
    problem->place = {file, 0, 0};
    problem->message = "a single value or list in brackets is too long";
    problem->hint = "write long lists with one `- ` entry per line";
  }
  if (problem) {
    diagnostics.add(*std::move(problem));
    return false;
  }
  documents = builder.take_documents();
  return true;
}

}  // namespace

std::vector<Node> parse_yaml(std::string_view text, const std::string& file, Diagnostics& diagnostics, const YamlLimits& limits) {
  text = without_byte_order_mark(text);
  if (auto problem = check_bytes(text, file, limits)) {
    diagnostics.add(*std::move(problem));
    return {};
  }
  const std::string clean = tidied(text);
  const LineIndex lines(clean);
  Diagnostics found;
  std::vector<Node> documents;
  const bool usable = scan(clean, lines, file, limits, found, documents);
  for (Diagnostic d : found.items()) {
    d.source_line = lines.line_shown(d.place);
    diagnostics.add(std::move(d));
  }
  if (!usable) documents.clear();
  return documents;
}

std::string line_of(std::string_view text, int line) { return std::string(LineIndex(without_byte_order_mark(text)).line(line)); }

}  // namespace crucible
