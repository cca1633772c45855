#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

#include "base/check.h"
#include "base/checked.h"
#include "base/text_util.h"
#include "checkpoint/sniff.h"
#include "checkpoint/strict_json.h"

namespace crucible {
namespace {

constexpr std::int64_t kPrefix = 8;

void append_little_endian(std::string& out, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

std::uint64_t load_little_endian(const std::array<unsigned char, 8>& bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

// "what is wrong", or what the file really is when its first bytes tell.
[[noreturn]] void throw_bad_file(const ReadFile& file, const std::string& why) {
  std::string first(static_cast<std::size_t>(std::min<std::int64_t>(file.size(), kSniffBytes)), '\0');
  file.read_at(0, first.data(), first.size());
  const std::string kind = sniff_file(first);
  throw Error(ErrorCode::kInput,
              kind.empty() ? fmt::format("is no valid safetensors file: {}", why) : fmt::format("is no safetensors file: it is {}", kind));
}

}  // namespace

SafetensorsHeader read_safetensors_header(const ReadFile& file, std::string* header_text) {
  if (file.size() < kPrefix) {
    throw_bad_file(file, fmt::format("it has {} bytes; the length of the header alone takes {}", file.size(), kPrefix));
  }
  std::array<unsigned char, 8> prefix{};
  file.read_at(0, prefix.data(), prefix.size());
  const std::uint64_t length = load_little_endian(prefix);
  if (length > static_cast<std::uint64_t>(kMaxSafetensorsHeader)) {
    throw_bad_file(file, fmt::format("a header of {} bytes is claimed; {} are allowed", length, kMaxSafetensorsHeader));
  }
  const auto header_bytes = static_cast<std::int64_t>(length);
  if (header_bytes > file.size() - kPrefix) {
    throw_bad_file(file, fmt::format("a header of {} bytes is claimed, the file has {} in all: it is cut off, or no safetensors file",
                                     header_bytes, file.size()));
  }
  std::string text(static_cast<std::size_t>(header_bytes), '\0');
  file.read_at(kPrefix, text.data(), text.size());
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) throw_bad_file(file, "its header is empty");
  SafetensorsHeader header = parse_safetensors_header(text, file.size() - kPrefix - header_bytes);
  if (header_text != nullptr) *header_text = std::move(text);
  return header;
}

std::string render_safetensors_header(std::vector<SafetensorsEntry>& entries, const std::map<std::string, std::string>& metadata) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return a.info.dtype != b.info.dtype ? a.info.dtype > b.info.dtype : a.info.name < b.info.name;
  });
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (json.back() != '{') json += ',';
      append_json_string(json, key);
      json += ':';
      append_json_string(json, value);
    }
    json += '}';
  }
  std::int64_t at = 0;
  for (SafetensorsEntry& e : entries) {
    const auto end = checked_add(at, byte_count(e.info));
    CHECK(end.has_value(), "tensor {}", e.info.name);
    e.begin = at;
    e.end = at = *end;
    if (json.size() > 1) json += ',';
    append_json_string(json, e.info.name);
    fmt::format_to(std::back_inserter(json), ":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", facts(e.info.dtype).name,
                   fmt::join(e.info.shape, ","), e.begin, e.end);
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  if (static_cast<std::int64_t>(json.size()) > kMaxSafetensorsHeader) {
    throw Error(ErrorCode::kInput,
                fmt::format("a weight file with {} tensors needs a header of {} bytes; the format allows {} (use smaller shards)",
                            entries.size(), json.size(), kMaxSafetensorsHeader));
  }
  std::string out;
  out.reserve(json.size() + 8);
  append_little_endian(out, json.size());
  return out += json;
}

}  // namespace crucible
