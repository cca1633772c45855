#include "schema/field.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"

namespace crucible {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

// The booleans of YAML 1.1, which is what the tools around us write.
std::optional<bool> parse_word_flag(std::string_view text) {
  const std::string word = lower(text);
  if (word == "true" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "no" || word == "off") return false;
  return std::nullopt;
}

std::optional<bool> parse_flag(std::string_view text) {
  if (const auto word = parse_word_flag(text)) return word;
  const auto number = parse_number(text);
  if (number && (*number == 0.0 || *number == 1.0)) return *number == 1.0;
  return std::nullopt;
}

// YAML 1.1 reads "010" as eight and people mean ten, so neither is taken.
bool has_leading_zero(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  return text.size() > 1 && text.front() == '0' && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// What people write for a number and why it is none; empty when nothing is known.
std::string_view number_trap(std::string_view text) {
  const std::string word = lower(text);
  if (has_leading_zero(text)) return "; a leading zero is ambiguous (octal in YAML 1.1)";
  std::string_view bare = word;
  if (!bare.empty() && (bare.front() == '-' || bare.front() == '+')) bare.remove_prefix(1);
  if (bare == ".inf" || bare == "inf" || bare == "infinity" || bare == ".nan" || bare == "nan") return "; it must be finite";
  const bool only_number_characters = !bare.empty() && bare.find_first_not_of("0123456789.,_%e+-") == std::string_view::npos;
  if (!only_number_characters || bare.find_first_of("0123456789") == std::string_view::npos) return "";
  if (bare.back() == '%') return "; write a fraction, not a percentage";
  if (bare.find(',') != std::string_view::npos) return "; write a decimal point, not a comma";
  if (bare.find('_') != std::string_view::npos) return "; write the digits without `_`";
  if (bare.find('e') != std::string_view::npos) return "; it is too large";
  return "";
}

bool is_unlimited(const Range& r) { return std::isinf(r.low) && std::isinf(r.high); }

// "a number in [0, 1]", "true or false": the type as part of a sentence.
std::string type_with_article(const Field& field) {
  std::string type = field.type_text();
  if (type.starts_with("number")) return "a " + type;
  if (type.starts_with("integer")) return "an " + type;
  return type;
}

std::optional<Value> parse_choice(const Field& field, std::string_view text) {
  const auto matches = [&](std::string_view wanted) -> std::optional<Value> {
    for (std::size_t i = 0; i < field.choices.size(); ++i) {
      const Choice& c = field.choices[i];
      bool hit = lower(c.name) == wanted;
      for (const std::string_view alias : c.aliases) hit = hit || lower(alias) == wanted;
      if (hit) return Value(static_cast<int>(i));
    }
    return std::nullopt;
  };
  if (const auto exact = matches(lower(text))) return exact;
  // A choice that grew out of a flag keeps taking the flag's spellings.
  if (const auto flag = parse_flag(text)) return matches(*flag ? "true" : "false");
  return std::nullopt;
}

std::optional<double> parse_real(std::string_view text, bool quoted) {
  if (!quoted) {
    if (const auto flag = parse_word_flag(text)) return *flag ? 1.0 : 0.0;
  }
  if (has_leading_zero(text)) return std::nullopt;
  return parse_number(text);
}

std::optional<Value> parse_integer_field(std::string_view text, bool quoted) {
  if (!has_leading_zero(text)) {
    if (const auto integer = parse_integer(text)) return Value(*integer);
  }
  constexpr double kExact = 9007199254740992.0;  // above, not every integer is a double
  const auto real = parse_real(text, quoted);
  if (!real || std::trunc(*real) != *real || std::abs(*real) > kExact) return std::nullopt;
  return Value(static_cast<std::int64_t>(*real));
}

double as_double(const Value& value) {
  return std::visit([](auto v) { return static_cast<double>(v); }, value);
}

}  // namespace

bool Range::contains(double v) const noexcept {
  if (std::isnan(v)) return false;
  return (low_open ? v > low : v >= low) && (high_open ? v < high : v <= high);
}

std::string Range::text() const {
  if (is_unlimited(*this)) return "any number";
  if (std::isinf(high)) return fmt::format("{} {}", low_open ? ">" : ">=", render_number(low));
  if (std::isinf(low)) return fmt::format("{} {}", high_open ? "<" : "<=", render_number(high));
  return fmt::format("in {}{}, {}{}", low_open ? '(' : '[', render_number(low), render_number(high), high_open ? ')' : ']');
}

std::string Field::type_text() const {
  switch (kind) {
    case FieldKind::kFlag: return "true or false";
    case FieldKind::kNumber: return is_unlimited(limits) ? "any number" : "number " + limits.text();
    case FieldKind::kInteger: return is_unlimited(limits) ? "any integer" : "integer " + limits.text();
    case FieldKind::kChoice: {
      std::vector<std::string> all;
      for (const Choice& c : choices) all.emplace_back(c.name);
      return fmt::format("one of {}", fmt::join(all, ", "));
    }
  }
  return {};
}

std::string Field::default_text() const {
  if (!default_note.empty()) return default_note;
  return is_required ? "required" : value_text(default_value);
}

std::string Field::value_text(const Value& value) const {
  switch (kind) {
    case FieldKind::kFlag: return as_double(value) != 0.0 ? "true" : "false";
    case FieldKind::kNumber: return render_number(as_double(value));
    case FieldKind::kInteger: return fmt::format("{}", static_cast<std::int64_t>(as_double(value)));
    case FieldKind::kChoice: {
      const auto index = static_cast<std::size_t>(as_double(value));
      CHECK(index < choices.size(), "choice {} of {}", index, name);
      return std::string(choices[index].name);
    }
  }
  return {};
}

std::optional<Value> Field::parse(std::string_view text, bool quoted, std::string& why) const {
  text = trimmed(text);
  std::optional<Value> value;
  switch (kind) {
    case FieldKind::kFlag:
      if (const auto flag = parse_flag(text)) value = *flag;
      break;
    case FieldKind::kNumber:
      if (const auto real = parse_real(text, quoted)) value = *real;
      break;
    case FieldKind::kInteger: value = parse_integer_field(text, quoted); break;
    case FieldKind::kChoice: value = parse_choice(*this, text); break;
  }
  const bool numeric = kind == FieldKind::kNumber || kind == FieldKind::kInteger;
  if (value && (!numeric || limits.contains(as_double(*value)))) return value;
  const bool looks_numeric = parse_number(text).has_value();
  const std::string shown = text.empty() ? "empty" : looks_numeric ? printable(text, 40) : fmt::format("`{}`", printable(text, 40));
  why = fmt::format("is {}, allowed is {}{}", shown, type_with_article(*this), numeric && !value ? number_trap(text) : "");
  return std::nullopt;
}

std::size_t schema_detail::next_struct_id() {
  static std::atomic<std::size_t> next{1};
  return next++;
}

std::optional<std::size_t> FieldTable::find(std::string_view name) const noexcept {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].name == name) return i;
  }
  return std::nullopt;
}

std::vector<std::string> FieldTable::names() const {
  std::vector<std::string> out;
  for (const Field& f : fields_) out.push_back(f.name);
  return out;
}

std::optional<std::size_t> FieldTable::find_member(std::size_t struct_id, std::ptrdiff_t offset) const noexcept {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].struct_id == struct_id && fields_[i].offset == offset) return i;
  }
  return std::nullopt;
}

std::string_view to_string(Origin::Level level) noexcept {
  switch (level) {
    case Origin::Level::kDefault: return "default";
    case Origin::Level::kGlobal: return "global";
    case Origin::Level::kModule: return "module";
    case Origin::Level::kSlice: return "slice";
    case Origin::Level::kModel: return "model";
  }
  return "";
}

Params::Params(const FieldTable& table) : table_(&table), origins_(table.size()), taken_(table.size(), false) {
  for (const Field& f : table.fields()) values_.push_back(f.default_value);
}

void Params::set(std::size_t index, Value value, Origin origin) {
  CHECK(index < values_.size(), "field {} of {}", index, values_.size());
  values_[index] = value;
  origins_[index] = std::move(origin);
}

std::size_t Params::index_of(std::size_t struct_id, std::ptrdiff_t offset) const {
  const auto index = table_->find_member(struct_id, offset);
  CHECK(index.has_value(), "a member without a field was asked for");
  return *index;
}

std::string shown_value(const Params& params, std::size_t index) {
  const Field& field = params.table()[index];
  return params.is_default(index) && !field.default_note.empty() ? field.default_note : field.value_text(params.value(index));
}

}  // namespace crucible
