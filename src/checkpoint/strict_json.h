// JSON from strangers, as events: bounded depth, strict UTF-8, nothing after the value. What may stand where is the reader's business;
// this part holds what is the same for all readers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "crucible/error.h"

namespace crucible {

// Base of event readers. A reader overrides the events it cares about; the others are ignored here. Strings may be moved from.
class JsonReader {
 public:
  explicit JsonReader(int depth_limit) : depth_limit_(depth_limit) {}
  virtual ~JsonReader() = default;

  virtual void null() {}
  virtual void boolean(bool) {}
  virtual void number_integer(std::int64_t) {}  // negative, or -0
  virtual void number_unsigned(std::uint64_t) {}
  virtual void number_float(double, const std::string&) {}  // with its text; also integers above 2^64 - 1
  virtual void string(std::string&) {}
  virtual void start_object() { enter(); }
  virtual void key(std::string&) {}
  virtual void end_object() { leave(); }
  virtual void start_array() { enter(); }
  virtual void end_array() { leave(); }

 protected:
  void enter();
  void leave() noexcept { --depth_; }
  int depth() const noexcept { return depth_; }  // 1 inside the outermost object

 private:
  int depth_limit_;
  int depth_ = 0;
};

// A name from a file as it may stand in a message.
std::string in_quotes(std::string_view name);

[[noreturn]] void throw_json(std::string message);

// `text`, valid UTF-8, as a JSON string with its quotes.
void append_json_string(std::string& out, std::string_view text);

// Feeds `text` to `reader`. Throws Error{kInput} (a byte-order mark, a NUL, "not valid JSON at byte N: ...") and whatever the reader
// throws.
void read_json(std::string_view text, JsonReader& reader);

}  // namespace crucible
