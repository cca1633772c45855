// The safetensors header: parse (hostile bytes in, validated value out) and render (canonical bytes out).
//
//   offset 0      8 bytes   N, unsigned little-endian: length of the header text
//   offset 8      N bytes   UTF-8 JSON object {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}
//   offset 8+N    rest      data; offsets are relative to here; every byte belongs to exactly one tensor
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/error.h"
#include "crucible/tensor.h"
#include "io/file.h"

namespace crucible {

inline constexpr std::int64_t kMaxSafetensorsHeader = 100'000'000;
// Of a model, in one file or in many.
inline constexpr std::size_t kMostTensors = 4'000'000;

struct SafetensorsEntry {
  TensorInfo info;
  std::int64_t begin = 0;  // relative to the data start
  std::int64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;        // in offset order
  std::map<std::string, std::string> metadata;  // empty when absent or null
  std::vector<std::string> remarks;             // tolerated oddities: unknown fields
  std::int64_t data_start = 0;                  // 8 + N
};

// Validates the header text against the length of the data that follows it (formats.md 1.3, 1.4). Throws Error{kInput} with the
// reason and, where there is one, the tensor's name (control bytes escaped).
SafetensorsHeader parse_safetensors_header(std::string_view header_text, std::int64_t data_bytes);

// Reads and validates the header of an open file; says what the file is when it is something else (Git LFS pointer, HTML, zip, GGUF, ...).
SafetensorsHeader read_safetensors_header(const ReadFile& file, std::string* header_text = nullptr);

// Lays tensors out from 0 without gaps and renders the file's first 8+N bytes, padded to a multiple of 8.
// Order: element size descending (the reference writer's dtype rank), then name. Fills begin and end of `entries` and sorts them.
std::string render_safetensors_header(std::vector<SafetensorsEntry>& entries, const std::map<std::string, std::string>& metadata);

}  // namespace crucible
