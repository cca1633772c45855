// Element types of tensors: the 22 of the safetensors format, one constexpr row of facts each.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace crucible {

// In the order in which the safetensors reference writer ranks them (it writes the last ones first).
enum class DType : std::uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

struct DTypeFacts {
  DType id;
  std::string_view name;        // safetensors spelling: "BF16"
  std::string_view torch_name;  // PyTorch and recipe spelling: "bfloat16"
  int bits;                     // per element
  bool mergeable;               // a real number type that merge arithmetic reads and writes
  double largest;               // largest finite value; 0 where not mergeable
};

const DTypeFacts& facts(DType dtype) noexcept;
std::span<const DTypeFacts> all_dtypes() noexcept;

// By safetensors name ("BF16", exact case); empty when unknown.
std::optional<DType> find_dtype(std::string_view safetensors_name) noexcept;
// By recipe spelling ("bfloat16", "torch.bfloat16"); empty when unknown.
std::optional<DType> find_torch_dtype(std::string_view torch_name) noexcept;

}  // namespace crucible
