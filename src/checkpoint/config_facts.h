// The few keys of config.json that decide which weight files are read and whether they hold plain numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace crucible {

inline constexpr std::int64_t kMaxConfigBytes = 64'000'000;

struct ConfigFacts {
  std::string weights_file;   // key transformers_weights; empty when absent
  bool is_quantized = false;  // has a quantization_config, at the top or in a nested config
  std::string quant_scheme;   // its quant_method or quant_algo, may be empty
};

// Python's NaN and Infinity, and a byte-order mark, are tolerated. Throws Error{kInput} when the text is no JSON object.
ConfigFacts parse_config_facts(std::string_view text);

// The same for hf_quant_config.json (NVIDIA ModelOpt): its quant_algo; empty when it cannot be read.
std::string parse_quant_algo(std::string_view text);

}  // namespace crucible
