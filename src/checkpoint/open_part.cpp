#include "checkpoint/open_part.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/text_util.h"
#include "checkpoint/config_facts.h"
#include "checkpoint/quantized.h"
#include "checkpoint/select_weights.h"

namespace crucible {
namespace {

class PartOpener {
 public:
  PartOpener(const std::string& path, const std::vector<std::string>& names, Diagnostics& diagnostics)
      : path_(path), names_(names), diagnostics_(diagnostics) {}

  OpenedPart open(OpenWhat what) {
    OpenedPart part;
    part.config_text = read_text("config.json");
    if (!part.config_text.empty()) read_config(part.config_text);
    if (what == OpenWhat::kConfigOnly) return part;
    WeightChoice choice = select_weights(path_, names_, config_, diagnostics_);
    if (choice.files.empty()) return part;
    notice_stray_shards(choice);
    part.weights = load(choice);
    std::optional<std::string> algo;
    if (const std::string text = read_text("hf_quant_config.json"); !text.empty()) algo = parse_quant_algo(text);
    check_part(path_, part.weights, config_, algo, diagnostics_);
    return part;
  }

 private:
  // The text of a file of the folder; empty when there is none or it cannot be used (a diagnostic says why).
  std::string read_text(const std::string& name) {
    if (!std::binary_search(names_.begin(), names_.end(), name)) return {};
    try {
      return read_small_file(path_ + "/" + name, kMaxConfigBytes);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kIo) throw;
      diagnostics_.error({}, error.what());
      return {};
    }
  }

  void read_config(const std::string& text) {
    try {
      config_ = parse_config_facts(text);
    } catch (const Error& error) {
      diagnostics_.error({path_ + "/config.json", 0, 0}, error.what());
    }
  }

  LoadedWeights load(const WeightChoice& choice) {
    if (choice.rival.empty()) return load_weights(path_, choice, diagnostics_);
    Diagnostics of_index;
    LoadedWeights from_index = load_weights(path_, choice, of_index);
    if (!of_index.has_errors()) {
      diagnostics_.append(of_index);
      diagnostics_.notice({},
                          fmt::format("{}: holds {} and, apart from it, {}; the files of the index are used", printable(path_, 400),
                                      choice.rival, choice.index_name),
                          "transformers would load the single file: remove whichever is stale");
      return from_index;
    }
    diagnostics_.notice({}, fmt::format("{}: {} is used; {} is ignored because it does not fit the files there ({})", printable(path_, 400),
                                        choice.rival, choice.index_name, first_error(of_index)));
    WeightChoice single;
    single.files = {choice.rival};
    return load_weights(path_, single, diagnostics_);
  }

  static std::string first_error(const Diagnostics& diagnostics) {
    for (const Diagnostic& d : diagnostics.items()) {
      if (d.severity == Severity::kError) return d.message;
    }
    return {};
  }

  void notice_stray_shards(const WeightChoice& choice) {
    if (!choice.index) return;
    std::vector<std::string> stray;
    for (const std::string& name : names_) {
      const bool shard = name.starts_with("model-") && name.ends_with(".safetensors");
      if (shard && !std::binary_search(choice.files.begin(), choice.files.end(), name)) stray.push_back(printable(name));
    }
    if (!stray.empty())
      diagnostics_.notice({path_ + "/" + choice.index_name, 0, 0}, fmt::format("does not name {}; ignored", join_names(stray, 4)));
  }

  const std::string& path_;
  const std::vector<std::string>& names_;
  Diagnostics& diagnostics_;
  ConfigFacts config_;
};

}  // namespace

OpenedPart open_part(const std::string& folder, const std::vector<std::string>& names, OpenWhat what, Diagnostics& diagnostics) {
  // Its own list: what was wrong with another part must not count as this one's errors.
  Diagnostics mine;
  OpenedPart part = PartOpener(folder, names, mine).open(what);
  diagnostics.append(mine);
  return part;
}

void check_part(const std::string& where, const LoadedWeights& weights, const ConfigFacts& config,
                const std::optional<std::string>& nvidia_algo, Diagnostics& diagnostics) {
  if (diagnostics.has_errors()) return;
  if (weights.tensors.empty()) diagnostics.error({}, fmt::format("{}: has no tensors", printable(where, 400)));
  const std::string quantized = find_quantization(config, nvidia_algo, weights.tensors);
  if (!quantized.empty()) {
    diagnostics.error(
        {}, fmt::format("{}: {}", printable(where, 400), quantized),
        "use the original model, or dequantise it first (if its weights are plain numbers, remove quantization_config from config.json)");
  }
}

}  // namespace crucible
