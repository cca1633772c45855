#include "crucible/error.h"

#include <utility>

#include <fmt/format.h>

namespace crucible {
namespace {

// The caret line keeps tabs, so it lines up whatever the tab width.
std::string caret_under(const std::string& line, int column) {
  std::string out;
  int at = 1;
  for (std::size_t i = 0; i < line.size() && at < column; ++i) {
    if ((static_cast<unsigned char>(line[i]) & 0xC0) == 0x80) continue;
    out += line[i] == '\t' ? '\t' : ' ';
    ++at;
  }
  return out + '^';
}

std::string joined(const Diagnostics& diagnostics) {
  std::string text = render_diagnostics(diagnostics);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

int exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInput: return 2;
    case ErrorCode::kDamaged:
    case ErrorCode::kIo:
    case ErrorCode::kNoSpace:
    case ErrorCode::kNumeric:
    case ErrorCode::kAudit: return 3;
    case ErrorCode::kInterrupted: return 130;
  }
  return 3;
}

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

Error Error::with_context(std::string_view context) const { return Error(code_, fmt::format("{}: {}", context, message_)); }

std::string to_string(const Place& place) {
  std::string out = place.file;
  if (place.line > 0) {
    if (!out.empty()) out += ':';
    out += std::to_string(place.line);
    if (place.column > 0) out += fmt::format(":{}", place.column);
  }
  return out;
}

void Diagnostics::add(Diagnostic diagnostic) {
  if (diagnostic.severity == Severity::kError) ++error_count_;
  items_.push_back(std::move(diagnostic));
}

void Diagnostics::error(Place place, std::string message, std::string hint) {
  add({Severity::kError, std::move(place), std::move(message), std::move(hint), {}});
}

void Diagnostics::notice(Place place, std::string message, std::string hint) {
  add({Severity::kNotice, std::move(place), std::move(message), std::move(hint), {}});
}

void Diagnostics::append(const Diagnostics& other) {
  for (const Diagnostic& d : other.items_) add(d);
}

void Diagnostics::promote_notices() {
  for (Diagnostic& d : items_) {
    if (d.severity == Severity::kNotice) {
      d.severity = Severity::kError;
      ++error_count_;
    }
  }
}

void Diagnostics::throw_if_errors() const {
  if (has_errors()) throw InputError(*this);
}

InputError::InputError(Diagnostics diagnostics) : Error(ErrorCode::kInput, joined(diagnostics)), diagnostics_(std::move(diagnostics)) {}

std::string render_diagnostics(const Diagnostics& diagnostics) {
  std::string out;
  for (const Diagnostic& d : diagnostics.items()) {
    const std::string where = to_string(d.place);
    out += fmt::format("{}{}{}: {}\n", where, where.empty() ? "" : ": ", d.severity == Severity::kError ? "error" : "notice", d.message);
    if (!d.source_line.empty()) {
      out += fmt::format("  {}\n", d.source_line);
      if (d.place.column > 0) out += fmt::format("  {}\n", caret_under(d.source_line, d.place.column));
    }
    if (!d.hint.empty()) out += fmt::format("  hint: {}\n", d.hint);
  }
  return out;
}

}  // namespace crucible
