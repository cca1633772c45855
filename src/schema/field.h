// Parameters declared once. A field table, built from member pointers of a plain struct, is all that the recipe binder, the
// validation, the help, the JSON Schema, the trace and the tests know about a parameter.
//
//   struct Global { bool normalize = true; double lambda = 1.0; };
//   const FieldTable table{
//       field(&Global::normalize, "normalize", "divide by the sum of the weights"),
//       field(&Global::lambda, "lambda", "scale of the merged task vector").symbol("lambda")};
//
// The struct's member initialisers are the defaults. A value is handed to arithmetic by Params::take only, which records it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "crucible/error.h"

namespace crucible {

// One value of a parameter. A choice is the index into the field's choices.
using Value = std::variant<bool, double, std::int64_t, int>;

enum class FieldKind { kFlag, kNumber, kInteger, kChoice };

struct Choice {
  std::string_view name;
  std::vector<std::string_view> aliases;  // other accepted spellings ("true" for "l1")
};

// Limits of a number. Infinite = none.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;
  bool contains(double v) const noexcept;
  std::string text() const;  // "in [0, 1]", "> 0", "any number"
};

class Field {
 public:
  std::string name;
  std::string help;
  std::string symbol_text;  // how the formula writes it; empty = the name
  FieldKind kind = FieldKind::kNumber;
  Range limits;
  std::vector<Choice> choices;
  bool is_required = false;
  Value default_value = 0.0;
  std::string default_note;            // when the default is better told than printed ("the other width")
  std::optional<Value> neutral_value;  // the value at which the parameter has no effect (for counterfactual runs)
  std::ptrdiff_t offset = 0;           // of the member in its struct: the identity of the field
  std::size_t struct_id = 0;           // of the struct the member belongs to

  Field& range(double low, double high) {
    limits.low = low;
    limits.high = high;
    return *this;
  }
  Field& above(double low) {
    limits.low = low;
    limits.low_open = true;
    return *this;
  }
  Field& at_least(double low) {
    limits.low = low;
    return *this;
  }
  Field& required() {
    is_required = true;
    return *this;
  }
  Field& symbol(std::string text) {
    symbol_text = std::move(text);
    return *this;
  }
  Field& neutral(Value v) {
    neutral_value = v;
    return *this;
  }
  Field& with_default(Value v) {
    default_value = v;
    return *this;
  }  // where methods of one family differ
  Field& default_is(std::string note) {
    default_note = std::move(note);
    return *this;
  }

  // "number in [0, 1]", "true or false", "one of l1, per_element, none"
  std::string type_text() const;
  std::string default_text() const;
  std::string value_text(const Value& value) const;

  // Reads a scalar as YAML writes it. On failure returns empty and says why (without the field's name).
  std::optional<Value> parse(std::string_view text, bool quoted, std::string& why) const;
};

namespace schema_detail {
std::size_t next_struct_id();
template <typename P>
std::size_t struct_id_of() {
  static const std::size_t id = next_struct_id();
  return id;
}
template <typename P, typename M>
std::ptrdiff_t offset_of(M P::*member) {
  alignas(P) static const P probe{};
  return reinterpret_cast<const char*>(&(probe.*member)) - reinterpret_cast<const char*>(&probe);
}
template <typename M>
constexpr FieldKind kind_of() {
  if constexpr (std::is_same_v<M, bool>)
    return FieldKind::kFlag;
  else if constexpr (std::is_enum_v<M>)
    return FieldKind::kChoice;
  else if constexpr (std::is_integral_v<M>)
    return FieldKind::kInteger;
  else
    return FieldKind::kNumber;
}
template <typename M>
Value to_value(M m) {
  if constexpr (std::is_same_v<M, bool>)
    return m;
  else if constexpr (std::is_enum_v<M>)
    return static_cast<int>(m);
  else if constexpr (std::is_integral_v<M>)
    return static_cast<std::int64_t>(m);
  else
    return static_cast<double>(m);
}
template <typename M>
M from_value(const Value& v) {
  if constexpr (std::is_same_v<M, bool>)
    return std::get<bool>(v);
  else if constexpr (std::is_enum_v<M>)
    return static_cast<M>(std::get<int>(v));
  else if constexpr (std::is_integral_v<M>)
    return static_cast<M>(std::get<std::int64_t>(v));
  else
    return static_cast<M>(std::get<double>(v));
}
}  // namespace schema_detail

// Declares one member. An enum member needs its choices in enumerator order.
template <typename P, typename M>
Field field(M P::*member, std::string name, std::string help, std::vector<Choice> choices = {}) {
  Field f;
  f.name = std::move(name);
  f.help = std::move(help);
  f.kind = schema_detail::kind_of<M>();
  f.choices = std::move(choices);
  f.offset = schema_detail::offset_of(member);
  f.struct_id = schema_detail::struct_id_of<P>();
  const P defaults{};
  f.default_value = schema_detail::to_value(defaults.*member);
  return f;
}

class FieldTable {
 public:
  FieldTable() = default;
  FieldTable(std::initializer_list<Field> fields) : fields_(fields) {}
  explicit FieldTable(std::vector<Field> fields) : fields_(std::move(fields)) {}

  const std::vector<Field>& fields() const noexcept { return fields_; }
  std::size_t size() const noexcept { return fields_.size(); }
  const Field& operator[](std::size_t i) const { return fields_[i]; }
  std::optional<std::size_t> find(std::string_view name) const noexcept;
  std::vector<std::string> names() const;
  std::optional<std::size_t> find_member(std::size_t struct_id, std::ptrdiff_t offset) const noexcept;

 private:
  std::vector<Field> fields_;
};

// Where a resolved value came from: the trace of one number.
struct Origin {
  enum class Level { kDefault, kGlobal, kModule, kSlice, kModel };
  Level level = Level::kDefault;
  Place place;              // of the value in the recipe; unknown for a default
  std::string filter;       // the filter that matched, when there was one
  std::optional<double> t;  // position in the gradient, when it was one
};

std::string_view to_string(Origin::Level level) noexcept;

// The resolved values of one table for one tensor (and model). take() is the only way into arithmetic.
class Params {
 public:
  explicit Params(const FieldTable& table);  // all defaults

  const FieldTable& table() const noexcept { return *table_; }
  void set(std::size_t index, Value value, Origin origin);
  const Value& value(std::size_t index) const { return values_[index]; }  // for reports; does not record
  const Origin& origin(std::size_t index) const { return origins_[index]; }
  bool is_default(std::size_t index) const { return origins_[index].level == Origin::Level::kDefault; }

  // Hands the value of a member to arithmetic and records that it was taken.
  template <typename P, typename M>
  M take(M P::*member) const {
    const std::size_t index = index_of(schema_detail::struct_id_of<P>(), schema_detail::offset_of(member));
    taken_[index] = true;
    return schema_detail::from_value<M>(values_[index]);
  }
  // The same value without recording: for checks and reports, never for arithmetic.
  template <typename P, typename M>
  M peek(M P::*member) const {
    return schema_detail::from_value<M>(values_[index_of(schema_detail::struct_id_of<P>(), schema_detail::offset_of(member))]);
  }
  // Was this member given a value in the recipe?
  template <typename P, typename M>
  bool given(M P::*member) const {
    return !is_default(index_of(schema_detail::struct_id_of<P>(), schema_detail::offset_of(member)));
  }
  bool was_taken(std::size_t index) const { return taken_[index]; }
  void forget_taken() const { taken_.assign(taken_.size(), false); }

 private:
  std::size_t index_of(std::size_t struct_id, std::ptrdiff_t offset) const;  // CHECKs

  const FieldTable* table_;
  std::vector<Value> values_;
  std::vector<Origin> origins_;
  mutable std::vector<bool> taken_;
};

// The value as reports show it: a default that depends on other parameters is told in words.
std::string shown_value(const Params& params, std::size_t index);

}  // namespace crucible
