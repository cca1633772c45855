#include "checkpoint/config_facts.h"

#include <vector>

#include "checkpoint/strict_json.h"
#include "crucible/error.h"
#include "text/json_spans.h"

namespace crucible {
namespace {

constexpr int kConfigDepth = 128;

class ConfigReader : public JsonReader {
 public:
  explicit ConfigReader(ConfigFacts& facts) : JsonReader(kConfigDepth), facts_(facts) {}

  void null() override { scalar(); }
  void boolean(bool) override { scalar(); }
  void number_integer(std::int64_t) override { scalar(); }
  void number_unsigned(std::uint64_t) override { scalar(); }
  void number_float(double, const std::string&) override { scalar(); }
  void string(std::string& value) override {
    const std::string& key = keys_.empty() ? value : keys_.back();
    if (depth() == 1 && key == "transformers_weights") facts_.weights_file = value;
    // bitsandbytes of old wrote no method, only its switches.
    if (in_quantization_ > 0 && (key == "quant_method" || key == "quant_algo") && facts_.quant_scheme.empty()) facts_.quant_scheme = value;
    scalar();
  }
  void start_object() override {
    enter();
    // At the top, or one level down in text_config and the like.
    if (in_quantization_ == 0 && !keys_.empty() && keys_.back() == "quantization_config" && depth() <= 3) {
      in_quantization_ = depth();
      facts_.is_quantized = true;
    }
    keys_.emplace_back();
  }
  void key(std::string& name) override { keys_.back() = name; }
  void end_object() override {
    keys_.pop_back();
    if (depth() == in_quantization_) in_quantization_ = 0;
    leave();
  }
  void start_array() override {
    enter();
    if (depth() == 1) throw_json("is a list, not a JSON object");
    keys_.emplace_back();
  }
  void end_array() override {
    keys_.pop_back();
    leave();
  }

 private:
  void scalar() {
    if (depth() == 0) throw_json("is not a JSON object");
  }

  ConfigFacts& facts_;
  std::vector<std::string> keys_;  // the key being read, for each open object or array
  int in_quantization_ = 0;        // depth of the quantization_config; 0 = outside
};

class AlgoReader : public JsonReader {
 public:
  AlgoReader() : JsonReader(kConfigDepth) {}
  void key(std::string& name) override { at_algo_ = name == "quant_algo"; }
  void string(std::string& value) override {
    if (at_algo_ && algo.empty()) algo = value;
  }
  std::string algo;

 private:
  bool at_algo_ = false;
};

}  // namespace

ConfigFacts parse_config_facts(std::string_view text) {
  const std::string clean = to_standard_json(text);
  ConfigFacts facts;
  ConfigReader reader(facts);
  read_json(clean, reader);
  return facts;
}

std::string parse_quant_algo(std::string_view text) {
  AlgoReader reader;
  try {
    read_json(text, reader);
  } catch (const Error&) {
    return {};
  }
  return reader.algo;
}

}  // namespace crucible
