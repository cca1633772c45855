// A tensor described: name, element type, shape. Row-major, contiguous, little-endian, as in safetensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crucible/dtype.h"

namespace crucible {

using Shape = std::vector<std::int64_t>;

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  // empty = one element (rank 0)
};

// Number of elements; empty when the product does not fit 63 bits.
std::optional<std::int64_t> checked_elem_count(const Shape& shape) noexcept;
// Number of bytes; empty on overflow or when the elements do not fill whole bytes.
std::optional<std::int64_t> checked_byte_count(DType dtype, const Shape& shape) noexcept;

// The same for shapes that were validated before (a header that was read).
std::int64_t elem_count(const Shape& shape);
std::int64_t byte_count(const TensorInfo& info);

// Length of a row: the last axis; a rank-0 or rank-1 tensor is one row.
std::int64_t row_length(const Shape& shape);

// "[4096, 11008]"
std::string to_string(const Shape& shape);

}  // namespace crucible
