// Two checkpoints compared, tensor by tensor, in one streaming pass.
//
//   identical  same type, shape and bytes
//   changed    same type and shape, other bytes
//   retyped    other types, one shape; compared by value where both are real number types
//   reshaped   other shapes
//   removed    only in A;  added: only in B
//
// Of a pair of real number tensors a and b, over the elements that are finite in both, in f64:
//   relative ||a - b|| / ||a||,  cosine <a, b> / (||a|| ||b||),  largest |a - b| and where (the first place),
//   and over all elements how many differ: in their stored bytes where the types agree, by value where they do not (NaN equals NaN there).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/stream.h"
#include "crucible/checkpoint.h"

namespace crucible {

enum class DiffStatus { kIdentical, kChanged, kRetyped, kReshaped, kRemoved, kAdded };
std::string_view to_string(DiffStatus status) noexcept;

struct TensorDiff {
  std::string name;
  DiffStatus status = DiffStatus::kIdentical;
  std::optional<TensorInfo> a, b;
  std::int64_t elems = 0;      // compared
  std::int64_t differing = 0;  // elements; of types narrower than a byte: bytes
  std::int64_t nonfinite_a = 0, nonfinite_b = 0;
  bool has_values = false;    // the numbers below; integers and packed types have none
  bool equal_values = false;  // every pair is equal as numbers, NaN and NaN too
  double norm_a = 0, norm_b = 0, norm_difference = 0;
  double relative = 0;           // infinite where a is all zeros and b is not
  double cosine = 0;             // NaN where a norm is zero
  double largest = 0;            // |a - b|
  std::int64_t largest_at = -1;  // element index; -1 where nothing differs
  double largest_a = 0, largest_b = 0;
};

struct CheckpointDiff {
  std::vector<TensorDiff> tensors;  // sorted by name
  std::int64_t count(DiffStatus status) const noexcept;
  // Is every tensor in both with one shape, and of equal bytes and type, or, with a tolerance, ||a - b|| <= tolerance * ||a|| and as many
  // non-finite elements?
  bool equal(std::optional<double> tolerance) const noexcept;
};

struct DiffOptions {
  std::string pattern;  // of tensor names; empty = all
  StreamOptions stream;
};

CheckpointDiff diff_checkpoints(const Checkpoint& a, const Checkpoint& b, const DiffOptions& options);

// "[12, 7]": the place of an element in its tensor.
std::string render_index(std::int64_t element, const Shape& shape);

// One value of config.json that differs; empty text = not there.
struct ConfigDifference {
  std::string key;  // dotted
  std::string a, b;
};
// Objects are compared key by key, everything else as JSON values; texts that are not JSON are one difference with an empty key.
std::vector<ConfigDifference> diff_configs(const std::string& a, const std::string& b);

}  // namespace crucible
