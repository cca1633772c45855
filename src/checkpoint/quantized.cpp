#include "checkpoint/quantized.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "checkpoint/strict_json.h"

namespace crucible {
namespace {

using namespace std::string_view_literals;

struct Mark {
  std::string_view part;  // a suffix of the tensor name; with a leading '*', anywhere in it
  std::string_view scheme;
};

// Names that only quantised checkpoints use. Most telling first.
constexpr std::array kNameMarks = {
    Mark{"*.quant_state.bitsandbytes__nf4", "bitsandbytes 4-bit (nf4)"},
    Mark{"*.quant_state.bitsandbytes__fp4", "bitsandbytes 4-bit (fp4)"},
    Mark{".quant_map", "bitsandbytes 4-bit"},
    Mark{".absmax", "bitsandbytes 4-bit"},
    Mark{".SCB", "bitsandbytes 8-bit"},
    Mark{".qweight", "GPTQ or AWQ"},
    Mark{".qzeros", "GPTQ or AWQ"},
    Mark{".weight_packed", "compressed-tensors"},
    Mark{".weight_scale_inv", "block FP8"},
    Mark{"_scale_inv", "block FP8"},
    Mark{".weight_scale_2", "NVIDIA ModelOpt"},
    Mark{".weight_zero_point", "compressed-tensors"},
    Mark{".W_q", "HQQ"},
    Mark{".codebooks", "AQLM"},
    Mark{"weight._data", "quanto"},
    Mark{".weight._scale", "quanto"},
};

bool has_mark(std::string_view name, std::string_view part) {
  return part.front() == '*' ? name.find(part.substr(1)) != std::string_view::npos : name.ends_with(part);
}

const StoredTensor* find_by_name(const std::vector<StoredTensor>& tensors, std::string_view name) {
  const auto at =
      std::lower_bound(tensors.begin(), tensors.end(), name, [](const StoredTensor& t, std::string_view n) { return t.info.name < n; });
  return at != tensors.end() && at->info.name == name ? &*at : nullptr;
}

bool is_small_float(DType dtype) {
  switch (dtype) {
    case DType::kF4:
    case DType::kF6E2M3:
    case DType::kF6E3M2:
    case DType::kF8E5M2:
    case DType::kF8E4M3:
    case DType::kF8E8M0:
    case DType::kF8E4M3Fnuz:
    case DType::kF8E5M2Fnuz: return true;
    default: return false;
  }
}

struct Evidence {
  std::string scheme;
  const StoredTensor* tensor = nullptr;
};

// The scheme that one tensor gives away; empty when it is plain.
std::string scheme_of(const StoredTensor& tensor, const std::vector<StoredTensor>& tensors) {
  const TensorInfo& t = tensor.info;
  for (const Mark& m : kNameMarks) {
    if (has_mark(t.name, m.part)) return std::string(m.scheme);
  }
  if (t.dtype == DType::kU8 && t.name.ends_with("_blocks") &&
      find_by_name(tensors, t.name.substr(0, t.name.size() - 7) + "_scales") != nullptr) {
    return "MXFP4";
  }
  if (is_small_float(t.dtype)) return fmt::format("{} weights", facts(t.dtype).name);
  const bool is_weight = t.name == "weight" || t.name.ends_with(".weight");
  const bool is_packed = t.dtype == DType::kU8 || t.dtype == DType::kI8 || t.dtype == DType::kI32;
  if (is_weight && is_packed && t.shape.size() >= 2) return fmt::format("{} codes of an unknown packing", facts(t.dtype).name);
  return {};
}

Evidence find_evidence(const std::vector<StoredTensor>& tensors) {
  Evidence weak;
  for (const StoredTensor& t : tensors) {
    std::string scheme = scheme_of(t, tensors);
    if (scheme.empty()) continue;
    const bool named = std::any_of(kNameMarks.begin(), kNameMarks.end(), [&](const Mark& m) { return has_mark(t.info.name, m.part); });
    if (named || scheme == "MXFP4") return {std::move(scheme), &t};  // a name says more than a dtype
    if (weak.tensor == nullptr) weak = {std::move(scheme), &t};
  }
  return weak;
}

}  // namespace

std::string find_quantization(const ConfigFacts& config, const std::optional<std::string>& nvidia_algo,
                              const std::vector<StoredTensor>& tensors) {
  constexpr std::string_view kVerdict = "quantised inputs are not merged yet";
  const Evidence evidence = find_evidence(tensors);
  std::string scheme = config.quant_scheme;
  if (nvidia_algo && scheme.empty()) scheme = nvidia_algo->empty() ? "NVIDIA ModelOpt" : fmt::format("NVIDIA ModelOpt {}", *nvidia_algo);
  const std::string_view file = config.is_quantized ? "config.json has a quantization_config"sv : "there is a hf_quant_config.json"sv;
  if (evidence.tensor != nullptr) {
    const StoredTensor& t = *evidence.tensor;
    return fmt::format("the weights are quantised ({}; tensor {} is {} {}): {}", scheme.empty() ? evidence.scheme : scheme,
                       in_quotes(t.info.name), facts(t.info.dtype).name, to_string(t.info.shape), kVerdict);
  }
  if (!config.is_quantized && !nvidia_algo) return {};
  return fmt::format("the model is declared quantised ({}; {}): {}", scheme.empty() ? "unnamed scheme" : scheme, file, kVerdict);
}

}  // namespace crucible
