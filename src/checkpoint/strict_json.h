// JSON from strangers, as events and never as a tree: bounded depth, strict UTF-8, nothing after the value. What may stand where is the
// reader's business; this part holds what is the same for all readers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "crucible/error.h"

namespace crucible {

// Base of event readers (the interface is nlohmann's SAX). A reader hides the events it cares about; the others are ignored here.
class JsonReader {
 public:
  explicit JsonReader(int depth_limit) : depth_limit_(depth_limit) {}

  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(std::int64_t) { return true; }  // negative, or -0
  bool number_unsigned(std::uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }  // also integers above 2^64 - 1
  bool string(std::string&) { return true; }
  bool binary(nlohmann::json::binary_t&) { return true; }
  bool start_object(std::size_t) { return enter(); }
  bool key(std::string&) { return true; }
  bool end_object() { return leave(); }
  bool start_array(std::size_t) { return enter(); }
  bool end_array() { return leave(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& problem);

 protected:
  bool enter();
  bool leave() {
    --depth_;
    return true;
  }
  int depth() const noexcept { return depth_; }  // 1 inside the outermost object

 private:
  int depth_limit_;
  int depth_ = 0;
};

// A name from a file as it may stand in a message.
std::string in_quotes(std::string_view name);

[[noreturn]] void throw_json(std::string message);

// Throws when the text starts with a byte-order mark or holds a NUL (which the lexer would take for the end).
void check_json_text(std::string_view text);

// Feeds `text` to `reader`. Throws Error{kInput} ("not valid JSON at byte N: ...") and whatever the reader throws.
template <class Reader>
void read_json(std::string_view text, Reader& reader) {
  check_json_text(text);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader, nlohmann::json::input_format_t::json, true, false);
}

}  // namespace crucible
