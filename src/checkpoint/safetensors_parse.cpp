// The header as JSON events, then as a tiling of the data: formats.md 1.3 and 1.4.
#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/text_util.h"
#include "base/units.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/strict_json.h"

namespace crucible {
namespace {

constexpr int kHeaderDepth = 16;
constexpr std::size_t kLargestRank = 64;
constexpr std::uint64_t kLargestDim = std::uint64_t{1} << 48;
constexpr std::size_t kLongestName = 4096;
constexpr std::size_t kMostRemarks = 5;

class HeaderReader : public JsonReader {
 public:
  explicit HeaderReader(SafetensorsHeader& header) : JsonReader(kHeaderDepth), header_(header) {}

  void null() override {
    if (state_ != State::kHeader || !at_metadata_) scalar("null");
  }
  void boolean(bool) override { scalar("a boolean"); }
  void number_integer(std::int64_t) override { scalar("a negative number"); }
  void number_float(double, const std::string& text) override {
    scalar(fmt::format("{}, not a whole number below 2^63", printable(text, 40)));
  }
  void number_unsigned(std::uint64_t value) override;
  void string(std::string& value) override;
  void start_object() override;
  void start_array() override;
  void key(std::string& name) override;
  void end_object() override;
  void end_array() override;

  void finish_remarks() {
    if (unknown_fields_ > kMostRemarks)
      header_.remarks.push_back(fmt::format("{} more unknown fields ignored", unknown_fields_ - kMostRemarks));
  }

 private:
  enum class State { kStart, kHeader, kMetadata, kEntry, kShape, kOffsets };
  enum Field : unsigned { kNone = 0, kDType = 1, kShapeField = 2, kOffsetsField = 4 };

  [[noreturn]] void fail(std::string_view why) const {
    if (state_ == State::kStart || (state_ == State::kHeader && at_metadata_) || state_ == State::kMetadata) throw_json(std::string(why));
    throw_json(fmt::format("tensor {}: {}", in_quotes(entry_.info.name), why));
  }
  std::string_view field_name() const { return field_ == kDType ? "dtype" : field_ == kShapeField ? "shape" : "data_offsets"; }
  bool ignoring() const noexcept { return ignored_below_ > 0; }
  // A value of a kind that has no place where it stands, unless it is inside something that is ignored.
  void scalar(std::string_view what);
  void start_entry(std::string& name);
  void start_field(const std::string& name);
  void finish_entry();

  SafetensorsHeader& header_;
  State state_ = State::kStart;
  bool at_metadata_ = false;
  bool had_metadata_ = false;
  int ignored_below_ = 0;  // depth of an ignored value; 0 = none
  unsigned seen_ = 0;      // fields of this entry
  Field field_ = kNone;
  std::set<std::string> unknown_seen_;
  std::size_t unknown_fields_ = 0;
  std::string metadata_key_;
  SafetensorsEntry entry_;
  Shape shape_;
  std::vector<std::int64_t> offsets_;
};

void HeaderReader::scalar(std::string_view what) {
  if (ignoring()) return;
  switch (state_) {
    case State::kStart: fail(fmt::format("the header is {}, not a JSON object", what));
    case State::kHeader: fail(fmt::format("{} is {}, not an object", at_metadata_ ? "__metadata__" : "its entry", what));
    case State::kMetadata: fail(fmt::format("__metadata__ {} is {}, not a string", in_quotes(metadata_key_), what));
    case State::kEntry:
      if (field_ == kNone) return;
      fail(fmt::format("{} is {}", field_name(), what));
    case State::kShape:
    case State::kOffsets: fail(fmt::format("{} holds {}", field_name(), what));
  }
}

void HeaderReader::number_unsigned(std::uint64_t value) {
  if (ignoring() || (state_ != State::kShape && state_ != State::kOffsets)) return scalar("a number");
  if (state_ == State::kShape) {
    if (value > kLargestDim) fail(fmt::format("dimension {} is larger than 2^48", value));
    if (shape_.size() == kLargestRank) fail(fmt::format("has more than {} dimensions", kLargestRank));
    shape_.push_back(static_cast<std::int64_t>(value));
    return;
  }
  if (value > std::uint64_t{INT64_MAX}) fail(fmt::format("data offset {} is larger than any file", value));
  if (offsets_.size() == 2) fail("data_offsets holds more than two numbers");
  offsets_.push_back(static_cast<std::int64_t>(value));
}

void HeaderReader::string(std::string& value) {
  if (!ignoring() && state_ == State::kMetadata) {
    if (!header_.metadata.emplace(metadata_key_, value).second)
      fail(fmt::format("__metadata__ has the key {} twice", in_quotes(metadata_key_)));
    return;
  }
  if (ignoring() || state_ != State::kEntry || field_ != kDType) return scalar("a string");
  const auto dtype = find_dtype(value);
  if (!dtype) fail(fmt::format("unknown dtype {}", in_quotes(value)));
  entry_.info.dtype = *dtype;
}

void HeaderReader::start_object() {
  enter();
  if (ignoring()) return;
  switch (state_) {
    case State::kStart: state_ = State::kHeader; return;
    case State::kHeader: state_ = at_metadata_ ? State::kMetadata : State::kEntry; return;
    case State::kEntry:
      if (field_ == kNone) {
        ignored_below_ = depth();
        return;
      }
      break;
    default: break;
  }
  scalar("an object");
}

void HeaderReader::start_array() {
  enter();
  if (ignoring()) return;
  if (state_ == State::kEntry && field_ == kShapeField) {
    state_ = State::kShape;
  } else if (state_ == State::kEntry && field_ == kOffsetsField) {
    state_ = State::kOffsets;
  } else if (state_ == State::kEntry && field_ == kNone) {
    ignored_below_ = depth();
  } else {
    scalar("an array");
  }
}

void HeaderReader::key(std::string& name) {
  if (ignoring()) return;
  if (state_ == State::kHeader) {
    start_entry(name);
  } else if (state_ == State::kMetadata) {
    metadata_key_ = name;
  } else {
    start_field(name);
  }
}

void HeaderReader::start_entry(std::string& name) {
  at_metadata_ = name == "__metadata__";
  if (at_metadata_) {
    if (std::exchange(had_metadata_, true)) fail("__metadata__ stands there twice");
    return;
  }
  entry_ = {};
  entry_.info.name = std::move(name);
  if (entry_.info.name.size() > kLongestName)
    fail(fmt::format("a name of {} bytes; {} are allowed", entry_.info.name.size(), kLongestName));
  if (entry_.info.name.find('\0') != std::string::npos) fail("a NUL byte in the name");
  if (header_.entries.size() == kMostTensors) throw_json(fmt::format("more than {} tensors", kMostTensors));
  seen_ = 0;
  unknown_seen_.clear();
  shape_.clear();
  offsets_.clear();
}

void HeaderReader::start_field(const std::string& name) {
  field_ = name == "dtype" ? kDType : name == "shape" ? kShapeField : name == "data_offsets" ? kOffsetsField : kNone;
  const bool repeated = field_ == kNone ? !unknown_seen_.insert(name).second : (seen_ & field_) != 0;
  if (repeated) fail(fmt::format("the field {} stands there twice", in_quotes(name)));
  seen_ |= field_;
  if (field_ == kNone && unknown_fields_++ < kMostRemarks) {
    header_.remarks.push_back(fmt::format("tensor {}: unknown field {} ignored", in_quotes(entry_.info.name), in_quotes(name)));
  }
}

void HeaderReader::end_object() {
  if (!ignoring()) {
    if (state_ == State::kEntry) finish_entry();
    if (state_ == State::kEntry || state_ == State::kMetadata) state_ = State::kHeader;
  } else if (depth() == ignored_below_) {
    ignored_below_ = 0;
  }
  leave();
}

void HeaderReader::end_array() {
  if (!ignoring()) {
    state_ = State::kEntry;
  } else if (depth() == ignored_below_) {
    ignored_below_ = 0;
  }
  leave();
}

void HeaderReader::finish_entry() {
  for (const auto& [bit, name] : {std::pair{kDType, "dtype"}, std::pair{kShapeField, "shape"}, std::pair{kOffsetsField, "data_offsets"}}) {
    if ((seen_ & bit) == 0) fail(fmt::format("the field \"{}\" is missing", name));
  }
  if (offsets_.size() != 2)
    fail(fmt::format("data_offsets holds {}, not two", render_count(static_cast<std::int64_t>(offsets_.size()), "number")));
  entry_.begin = offsets_[0];
  entry_.end = offsets_[1];
  if (entry_.begin > entry_.end) fail(fmt::format("data_offsets [{}, {}] run backwards", entry_.begin, entry_.end));
  entry_.info.shape = Shape(shape_.begin(), shape_.end());  // a copy without spare room: there may be a million
  header_.entries.push_back(std::move(entry_));
  entry_ = {};
}

void check_unique_names(const std::vector<SafetensorsEntry>& entries) {
  struct Key {
    std::uint64_t hash;
    std::uint32_t index;
  };
  std::vector<Key> keys;
  keys.reserve(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) keys.push_back({hash64(entries[i].info.name), static_cast<std::uint32_t>(i)});
  const auto name = [&](const Key& k) -> const std::string& { return entries[k.index].info.name; };
  std::sort(keys.begin(), keys.end(), [&](const Key& a, const Key& b) { return a.hash != b.hash ? a.hash < b.hash : name(a) < name(b); });
  const auto twice =
      std::adjacent_find(keys.begin(), keys.end(), [&](const Key& a, const Key& b) { return a.hash == b.hash && name(a) == name(b); });
  if (twice != keys.end()) throw_json(fmt::format("duplicate name: tensor {} stands there twice", in_quotes(name(*twice))));
}

// Every byte of the data belongs to exactly one tensor: begin equals the end before, from 0 on.
void check_tiling(std::vector<SafetensorsEntry>& entries, std::int64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.info.name) < std::tie(b.begin, b.end, b.info.name);
  });
  const SafetensorsEntry* before = nullptr;
  for (const SafetensorsEntry& e : entries) {
    const std::int64_t expected = before == nullptr ? 0 : before->end;
    if (e.begin != expected) {
      const std::string name = in_quotes(e.info.name);
      if (before == nullptr) throw_json(fmt::format("tensor {}: the first tensor begins at byte {}, not at 0", name, e.begin));
      const std::string other = in_quotes(before->info.name);
      if (e.begin < expected)
        throw_json(fmt::format("tensor {}: begins at byte {}, but {} ends at {}: they overlap", name, e.begin, other, expected));
      throw_json(fmt::format("tensor {}: begins at byte {}, but {} ends at {}: {} of no tensor between them", name, e.begin, other,
                             expected, render_count(e.begin - expected, "byte")));
    }
    before = &e;
  }
  for (const SafetensorsEntry& e : entries) {
    const TensorInfo& t = e.info;
    // Zero dimensions count as one here, so the answer does not depend on where the zero stands.
    Shape nonzero = t.shape;
    std::replace(nonzero.begin(), nonzero.end(), std::int64_t{0}, std::int64_t{1});
    const auto most = checked_elem_count(nonzero);
    if (!most || !checked_mul(*most, facts(t.dtype).bits)) {
      throw_json(
          fmt::format("tensor {}: shape {} of {} is larger than any file", in_quotes(t.name), to_string(t.shape), facts(t.dtype).name));
    }
    const auto bytes = checked_byte_count(t.dtype, t.shape);
    if (!bytes)
      throw_json(
          fmt::format("tensor {}: shape {} of {} does not fill whole bytes", in_quotes(t.name), to_string(t.shape), facts(t.dtype).name));
    if (*bytes != e.end - e.begin) {
      throw_json(fmt::format("tensor {}: shape {} of {} needs {}, data_offsets give {}", in_quotes(t.name), to_string(t.shape),
                             facts(t.dtype).name, render_count(*bytes, "byte"), e.end - e.begin));
    }
  }
  const std::int64_t end = entries.empty() ? 0 : entries.back().end;
  if (end > data_bytes) {
    throw_json(fmt::format("the tensors need {}, the file has {} after the header: it is cut off, {} short", render_count(end, "byte"),
                           data_bytes, render_count(end - data_bytes, "byte")));
  }
  if (end < data_bytes) throw_json(fmt::format("{} after the last tensor belong to none", render_count(data_bytes - end, "byte")));
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view header_text, std::int64_t data_bytes) {
  SafetensorsHeader header;
  header.data_start = 8 + static_cast<std::int64_t>(header_text.size());
  HeaderReader reader(header);
  read_json(header_text, reader);
  reader.finish_remarks();
  check_unique_names(header.entries);
  check_tiling(header.entries, data_bytes);
  return header;
}

}  // namespace crucible
