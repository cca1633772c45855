// Three kinds of wrong, never mixed:
//   Diagnostics  the user's text or models are wrong: all problems, together (exit 2)
//   Error        the run cannot go on: I/O, damaged file, disk full (exit 3)
//   CHECK        our own bug: aborts (src/base/check.h)
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace crucible {

enum class ErrorCode {
  kInput,        // wrong recipe, option or model: exit 2
  kDamaged,      // a file is not what its header or format says: exit 3
  kIo,           // the system refused a read, a write, a sync: exit 3
  kNoSpace,      // not enough disk or memory: exit 3
  kNumeric,      // finite inputs became non-finite: exit 3
  kAudit,        // a measurement contradicts the plan: exit 3
  kInterrupted,  // a signal asked to stop: exit 130
};

// The process exit code that belongs to a code (0, 1, 2, 3, 130 as documented in docs/architecture.md).
int exit_code_of(ErrorCode code);

// Why a run cannot go on. `what()` is "outer context: inner context: message".
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  // Returns a copy with `context` put in front: what was being done when it failed.
  Error with_context(std::string_view context) const;

  ErrorCode code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
};

// Where something stands in a text file; line and column are 1-based, 0 = unknown. Columns count characters.
struct Place {
  std::string file;
  int line = 0;
  int column = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

// "file:line:column", as much of it as is known.
std::string to_string(const Place& place);

enum class Severity { kError, kNotice };

// One problem (or remark) about the user's input: what, where, why, what to do.
struct Diagnostic {
  Severity severity = Severity::kError;
  Place place;
  std::string message;      // what is wrong and why
  std::string hint;         // what to do; may be empty
  std::string source_line;  // the line of the file, for the caret; may be empty
};

// Collects every problem before anything is given up.
class Diagnostics {
 public:
  void add(Diagnostic diagnostic);
  void error(Place place, std::string message, std::string hint = {});
  void notice(Place place, std::string message, std::string hint = {});
  void append(const Diagnostics& other);

  bool has_errors() const noexcept { return error_count_ > 0; }
  int error_count() const noexcept { return error_count_; }
  bool empty() const noexcept { return items_.empty(); }
  const std::vector<Diagnostic>& items() const noexcept { return items_; }

  // Turns every notice into an error (`--strict`).
  void promote_notices();

  // Throws InputError that carries everything collected when there is at least one error.
  void throw_if_errors() const;

 private:
  std::vector<Diagnostic> items_;
  int error_count_ = 0;
};

// Wrong input, with all its problems.
class InputError : public Error {
 public:
  explicit InputError(Diagnostics diagnostics);
  const Diagnostics& diagnostics() const noexcept { return diagnostics_; }

 private:
  Diagnostics diagnostics_;
};

// Human text of all diagnostics: "file:line:col: error: message", the line, a caret, a hint. Ends with a newline each.
std::string render_diagnostics(const Diagnostics& diagnostics);

}  // namespace crucible
