#include "crucible/dtype.h"

#include <array>

namespace crucible {
namespace {

constexpr std::array<DTypeFacts, 22> kFacts = {{
    {DType::kBool, "BOOL", "bool", 8, false, 0},
    {DType::kF4, "F4", "float4_e2m1fn_x2", 4, false, 0},
    {DType::kF6E2M3, "F6_E2M3", "float6_e2m3fn", 6, false, 0},
    {DType::kF6E3M2, "F6_E3M2", "float6_e3m2fn", 6, false, 0},
    {DType::kU8, "U8", "uint8", 8, false, 0},
    {DType::kI8, "I8", "int8", 8, false, 0},
    {DType::kF8E5M2, "F8_E5M2", "float8_e5m2", 8, false, 0},
    {DType::kF8E4M3, "F8_E4M3", "float8_e4m3fn", 8, false, 0},
    {DType::kF8E8M0, "F8_E8M0", "float8_e8m0fnu", 8, false, 0},
    {DType::kF8E4M3Fnuz, "F8_E4M3FNUZ", "float8_e4m3fnuz", 8, false, 0},
    {DType::kF8E5M2Fnuz, "F8_E5M2FNUZ", "float8_e5m2fnuz", 8, false, 0},
    {DType::kI16, "I16", "int16", 16, false, 0},
    {DType::kU16, "U16", "uint16", 16, false, 0},
    {DType::kF16, "F16", "float16", 16, true, 65504.0},
    {DType::kBF16, "BF16", "bfloat16", 16, true, 3.3895313892515355e38},
    {DType::kI32, "I32", "int32", 32, false, 0},
    {DType::kU32, "U32", "uint32", 32, false, 0},
    {DType::kF32, "F32", "float32", 32, true, 3.4028234663852886e38},
    {DType::kC64, "C64", "complex64", 64, false, 0},
    {DType::kF64, "F64", "float64", 64, true, 1.7976931348623157e308},
    {DType::kI64, "I64", "int64", 64, false, 0},
    {DType::kU64, "U64", "uint64", 64, false, 0},
}};

}  // namespace

const DTypeFacts& facts(DType dtype) noexcept { return kFacts[static_cast<std::size_t>(dtype)]; }

std::span<const DTypeFacts> all_dtypes() noexcept { return kFacts; }

std::optional<DType> find_dtype(std::string_view name) noexcept {
  for (const DTypeFacts& f : kFacts) {
    if (f.name == name) return f.id;
  }
  return std::nullopt;
}

std::optional<DType> find_torch_dtype(std::string_view name) noexcept {
  constexpr std::string_view kPrefix = "torch.";
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  for (const DTypeFacts& f : kFacts) {
    if (f.torch_name == name) return f.id;
  }
  return std::nullopt;
}

}  // namespace crucible
