#include "crucible/tensor.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/checked.h"

namespace crucible {

std::optional<std::int64_t> checked_elem_count(const Shape& shape) noexcept {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) {
    if (d < 0) return std::nullopt;
    const auto product = checked_mul(n, d);
    if (!product) return std::nullopt;
    n = *product;
  }
  return n;
}

std::optional<std::int64_t> checked_byte_count(DType dtype, const Shape& shape) noexcept {
  const auto elems = checked_elem_count(shape);
  if (!elems) return std::nullopt;
  const auto bits = checked_mul(*elems, facts(dtype).bits);
  if (!bits || *bits % 8 != 0) return std::nullopt;
  return *bits / 8;
}

std::int64_t elem_count(const Shape& shape) {
  const auto n = checked_elem_count(shape);
  CHECK(n.has_value());
  return *n;
}

std::int64_t byte_count(const TensorInfo& info) {
  const auto n = checked_byte_count(info.dtype, info.shape);
  CHECK(n.has_value(), "tensor {}", info.name);
  return *n;
}

std::int64_t row_length(const Shape& shape) { return shape.empty() ? 1 : shape.back(); }

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace crucible
