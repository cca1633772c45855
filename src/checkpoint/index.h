// model.safetensors.index.json: which weight file holds which tensor. Every value in it is a stranger's claim.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crucible {

inline constexpr std::int64_t kMaxIndexBytes = 256'000'000;

struct WeightIndex {
  struct Item {
    std::string tensor;
    int file = 0;  // index into `files`
  };
  std::vector<std::string> files;  // sorted; relative to the folder
  std::vector<Item> items;         // sorted by tensor
  std::optional<double> total_bytes;
};

// Throws Error{kInput}: bad JSON, no weight_map, a name twice, a file name that is no plain relative path.
WeightIndex parse_weight_index(std::string_view text);

// The text of an index: `file_of` is the file of each tensor, sorted by tensor.
std::string render_weight_index(std::int64_t total_bytes, std::span<const std::pair<std::string_view, std::string_view>> file_of);

// What is wrong with a file name taken from an index or a config (formats.md 14.2); empty when it is a plain relative path.
std::string check_weight_file_name(std::string_view name);

}  // namespace crucible
