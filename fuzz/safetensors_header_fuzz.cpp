// The safetensors header parser on arbitrary bytes. Either it refuses with an Error, or the entries tile the data exactly and rendering
// them gives a header that reads back the same.
//
// Input: the first 8 bytes are the length of the data, the rest is the header text.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "checkpoint/safetensors.h"
#include "crucible/error.h"
#include "crucible/tensor.h"

namespace {

using crucible::SafetensorsEntry;
using crucible::SafetensorsHeader;

void check_tiles(const SafetensorsHeader& header, std::int64_t data_bytes) {
  std::int64_t at = 0;
  for (const SafetensorsEntry& e : header.entries) {
    CHECK(e.begin == at && e.end >= e.begin);
    CHECK(crucible::byte_count(e.info) == e.end - e.begin);
    at = e.end;
  }
  CHECK(at == data_bytes);
}

void check_round_trip(const SafetensorsHeader& header, std::int64_t data_bytes) {
  std::vector<SafetensorsEntry> entries = header.entries;
  const std::string bytes = crucible::render_safetensors_header(entries, header.metadata);
  CHECK(bytes.size() % 8 == 0);
  const SafetensorsHeader again = crucible::parse_safetensors_header(std::string_view(bytes).substr(8), data_bytes);
  check_tiles(again, data_bytes);
  CHECK(again.metadata == header.metadata);
  CHECK(again.entries.size() == entries.size());
  std::map<std::string, const SafetensorsEntry*> by_name;
  for (const SafetensorsEntry& e : again.entries) by_name[e.info.name] = &e;
  for (const SafetensorsEntry& e : entries) {
    const SafetensorsEntry& other = *by_name.at(e.info.name);
    CHECK(other.info.dtype == e.info.dtype && other.info.shape == e.info.shape && other.begin == e.begin && other.end == e.end);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::int64_t data_bytes = 0;
  if (size < sizeof data_bytes) return 0;
  std::memcpy(&data_bytes, data, sizeof data_bytes);
  if (data_bytes < 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + sizeof data_bytes, size - sizeof data_bytes);
  SafetensorsHeader header;
  try {
    header = crucible::parse_safetensors_header(text, data_bytes);
  } catch (const crucible::Error&) {
    return 0;
  }
  check_tiles(header, data_bytes);
  check_round_trip(header, data_bytes);
  return 0;
}
