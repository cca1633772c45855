#include "checkpoint/strict_json.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <simdjson.h>

#include "base/check.h"
#include "base/text_util.h"

namespace crucible {
namespace {

// Two parsers. simdjson is several times as fast and takes what is plainly well-formed; nlohmann's lexer takes the rest, because it says
// where a text is wrong and gives numbers as they are written. simdjson makes a tree first, ten times as large as the text at worst.
constexpr std::size_t kMostForTree = std::size_t{8} << 20;

// Text that the two take differently: escaped code units (a lone surrogate), and -0 (a whole number to simdjson). Inside of strings this
// may see some where there are none, which costs time only.
bool is_for_lexer(std::string_view text) noexcept {
  if (text.find("\\u") != std::string_view::npos) return true;
  for (std::size_t at = text.find("-0"); at != std::string_view::npos; at = text.find("-0", at + 1)) {
    if (at == 0 || std::string_view("[:, \t\r\n").find(text[at - 1]) != std::string_view::npos) return true;
  }
  return false;
}

// A number with a fraction or an exponent: readers get its text, which the tree does not hold.
bool has_float(simdjson::dom::element element) noexcept {
  switch (element.type()) {
    case simdjson::dom::element_type::DOUBLE: return true;
    case simdjson::dom::element_type::ARRAY: {
      const simdjson::dom::array items = element.get_array().value_unsafe();
      return std::any_of(items.begin(), items.end(), [](simdjson::dom::element item) { return has_float(item); });
    }
    case simdjson::dom::element_type::OBJECT: {
      const simdjson::dom::object fields = element.get_object().value_unsafe();
      return std::any_of(fields.begin(), fields.end(), [](const simdjson::dom::key_value_pair& field) { return has_float(field.value); });
    }
    default: return false;
  }
}

class TreeEvents {
 public:
  explicit TreeEvents(JsonReader& reader) : reader_(reader) {}

  void send(simdjson::dom::element element) {
    switch (element.type()) {
      case simdjson::dom::element_type::ARRAY: {
        const simdjson::dom::array items = element.get_array().value_unsafe();
        reader_.start_array();
        for (const simdjson::dom::element item : items) send(item);
        return reader_.end_array();
      }
      case simdjson::dom::element_type::OBJECT: {
        const simdjson::dom::object fields = element.get_object().value_unsafe();
        reader_.start_object();
        for (const simdjson::dom::key_value_pair& field : fields) {
          reader_.key(copy(field.key));
          send(field.value);
        }
        return reader_.end_object();
      }
      case simdjson::dom::element_type::STRING: return reader_.string(copy(element.get_string().value_unsafe()));
      case simdjson::dom::element_type::BOOL: return reader_.boolean(element.get_bool().value_unsafe());
      case simdjson::dom::element_type::NULL_VALUE: return reader_.null();
      case simdjson::dom::element_type::UINT64: return reader_.number_unsigned(element.get_uint64().value_unsafe());
      case simdjson::dom::element_type::INT64: {
        const std::int64_t value = element.get_int64().value_unsafe();
        return value < 0 ? reader_.number_integer(value) : reader_.number_unsigned(static_cast<std::uint64_t>(value));
      }
      case simdjson::dom::element_type::DOUBLE: break;
    }
    CHECK(false, "a number with a fraction");
  }

 private:
  std::string& copy(std::string_view text) {
    text_.assign(text);
    return text_;
  }

  JsonReader& reader_;
  std::string text_;
};

// The interface is nlohmann's SAX.
class LexerEvents {
 public:
  explicit LexerEvents(JsonReader& reader) : reader_(reader) {}

  bool null() { return reader_.null(), true; }
  bool boolean(bool value) { return reader_.boolean(value), true; }
  bool number_integer(std::int64_t value) { return reader_.number_integer(value), true; }
  bool number_unsigned(std::uint64_t value) { return reader_.number_unsigned(value), true; }
  bool number_float(double value, const std::string& text) { return reader_.number_float(value, text), true; }
  bool string(std::string& value) { return reader_.string(value), true; }
  bool binary(nlohmann::json::binary_t&) { return true; }
  bool start_object(std::size_t) { return reader_.start_object(), true; }
  bool key(std::string& name) { return reader_.key(name), true; }
  bool end_object() { return reader_.end_object(), true; }
  bool start_array(std::size_t) { return reader_.start_array(), true; }
  bool end_array() { return reader_.end_array(), true; }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& problem) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ...": only the last part is news.
    std::string_view why = problem.what();
    if (const auto bracket = why.find("] "); bracket != std::string_view::npos) why.remove_prefix(bracket + 2);
    if (why.starts_with("parse error at")) {
      if (const auto colon = why.find(": "); colon != std::string_view::npos) why.remove_prefix(colon + 2);
    }
    throw_json(fmt::format("not valid JSON at byte {}: {}", position, printable(why, 200)));
  }

 private:
  JsonReader& reader_;
};

void check_text(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) throw_json("starts with a byte-order mark");
  if (const auto nul = text.find('\0'); nul != std::string_view::npos)
    throw_json(fmt::format("not valid JSON: a NUL byte at byte {}", nul));
}

}  // namespace

std::string in_quotes(std::string_view name) { return '"' + printable(name) + '"'; }

void throw_json(std::string message) { throw Error(ErrorCode::kInput, std::move(message)); }

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\t': out += "\\t"; break;
      case '\n': out += "\\n"; break;
      case '\f': out += "\\f"; break;
      case '\r': out += "\\r"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void JsonReader::enter() {
  if (++depth_ > depth_limit_) throw_json(fmt::format("nested deeper than {} levels", depth_limit_));
}

void read_json(std::string_view text, JsonReader& reader) {
  check_text(text);
  if (text.size() <= kMostForTree && !is_for_lexer(text)) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    if (parser.parse(text.data(), text.size()).get(root) == simdjson::SUCCESS && !has_float(root)) return TreeEvents(reader).send(root);
  }
  LexerEvents events(reader);
  nlohmann::json::sax_parse(text.begin(), text.end(), &events, nlohmann::json::input_format_t::json, true, false);
}

}  // namespace crucible
