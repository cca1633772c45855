#include "checkpoint/select_weights.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "base/text_util.h"
#include "io/file.h"

namespace crucible {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

struct OtherFormat {
  std::string_view suffix;
  std::string_view what;
};
constexpr std::array kOtherFormats = {
    OtherFormat{".bin"sv, "PyTorch weights"},  OtherFormat{".bin.index.json"sv, "PyTorch weights"},
    OtherFormat{".pth"sv, "PyTorch weights"},  OtherFormat{".pt"sv, "PyTorch weights"},
    OtherFormat{".ckpt"sv, "PyTorch weights"}, OtherFormat{".gguf"sv, "GGUF weights"},
    OtherFormat{".ggml"sv, "GGML weights"},    OtherFormat{".h5"sv, "TensorFlow weights"},
    OtherFormat{".msgpack"sv, "Flax weights"}, OtherFormat{".onnx"sv, "ONNX weights"},
    OtherFormat{".nemo"sv, "NeMo weights"},    OtherFormat{".distcp"sv, "a PyTorch distributed checkpoint"},
    OtherFormat{".npz"sv, "NumPy weights"},
};

bool contains(const std::vector<std::string>& names, std::string_view name) { return std::binary_search(names.begin(), names.end(), name); }

// "model-00002-of-00007.safetensors"
bool is_shard_name(std::string_view name) { return name.find("-of-") != std::string_view::npos; }

class Selector {
 public:
  Selector(const std::string& folder, const std::vector<std::string>& names, Diagnostics& diagnostics)
      : folder_(folder), names_(names), diagnostics_(diagnostics) {}

  WeightChoice choose(const ConfigFacts& config) {
    if (!config.weights_file.empty()) return from_config(config.weights_file);
    if (contains(names_, kIndex)) {
      WeightChoice choice = from_index(std::string(kIndex));
      if (!contains(names_, kSingle)) return choice;
      if (!choice.index) return single_beside_bad_index();
      if (!std::binary_search(choice.files.begin(), choice.files.end(), kSingle)) choice.rival = kSingle;
      return choice;
    }
    if (contains(names_, kSingle)) return {{std::string(kSingle)}, {}, {}, {}};
    return from_other_names();
  }

 private:
  void error(std::string message, std::string hint = {}) {
    diagnostics_.error({}, fmt::format("{}: {}", printable(folder_, 400), message), std::move(hint));
  }
  void notice(std::string message) { diagnostics_.notice({}, fmt::format("{}: {}", printable(folder_, 400), message)); }

  WeightChoice from_config(const std::string& name) {
    Place place{folder_ + "/config.json", 0, 0};
    if (const std::string why = check_weight_file_name(name); !why.empty()) {
      diagnostics_.error(place, fmt::format("transformers_weights names the file \"{}\": {}", printable(name), why));
      return {};
    }
    if (name.ends_with(".safetensors.index.json")) return from_index(name);
    if (!name.ends_with(".safetensors")) {
      diagnostics_.error(
          place,
          fmt::format("transformers_weights names the file \"{}\": only .safetensors files and their indices are read", printable(name)));
      return {};
    }
    return {{name}, {}, {}, {}};
  }

  WeightChoice from_index(const std::string& name) {
    WeightChoice choice;
    choice.index_name = name;
    const std::string path = folder_ + "/" + name;
    try {
      choice.index = parse_weight_index(read_small_file(path, kMaxIndexBytes));
      choice.files = choice.index->files;
      if (choice.files.empty()) diagnostics_.error({path, 0, 0}, "its weight_map is empty: the model has no tensors");
    } catch (const Error& problem) {
      if (problem.code() == ErrorCode::kIo) throw;
      const std::string what = problem.what();
      diagnostics_.error({path, 0, 0}, what.starts_with(path + ": ") ? what.substr(path.size() + 2) : what);
    }
    return choice;
  }

  WeightChoice single_beside_bad_index() {
    // A broken index beside a single file is stale: the file is what every loader takes. What was said of the index stays as a notice.
    Diagnostics said = diagnostics_;
    diagnostics_ = {};
    for (Diagnostic d : said.items()) {
      if (d.place.file.ends_with(kIndex)) d.severity = Severity::kNotice;
      diagnostics_.add(std::move(d));
    }
    notice(fmt::format("{} is used, {} is ignored", kSingle, kIndex));
    return {{std::string(kSingle)}, {}, {}, {}};
  }

  WeightChoice from_other_names() {
    std::vector<std::string> found;
    std::vector<std::string> native;
    for (const std::string& name : names_) {
      if (!name.ends_with(".safetensors") || name.starts_with("adapter_model") || name.starts_with(".")) continue;
      (name.starts_with("consolidated") ? native : found).push_back(name);
    }
    if (found.empty()) found = native;
    if (found.size() == 1 && !is_shard_name(found.front())) {
      notice(fmt::format("no {} there; {} is taken for the weights", kSingle, found.front()));
      return {found, {}, {}, {}};
    }
    if (!found.empty()) {
      const bool shards = std::all_of(found.begin(), found.end(), is_shard_name);
      error(fmt::format("{} {} but no {}", shards ? "there are shards" : "there are several weight files", join_names(found, 4), kIndex),
            shards ? "the download is incomplete: fetch the index too" : "name the one file to read instead of the folder");
      return {};
    }
    report_no_safetensors();
    return {};
  }

  void report_no_safetensors() {
    const bool adapter = contains(names_, "adapter_config.json") ||
                         std::any_of(names_.begin(), names_.end(), [](const std::string& n) { return n.starts_with("adapter_model"); });
    if (adapter) {
      error("this is a LoRA adapter, not a model; adapters are not supported yet",
            "merge it into its base model first (peft: merge_and_unload)");
      return;
    }
    for (const OtherFormat& format : kOtherFormats) {
      const auto at = std::find_if(names_.begin(), names_.end(),
                                   [&](const std::string& n) { return n.ends_with(format.suffix) && n != "training_args.bin"; });
      if (at == names_.end()) continue;
      error(fmt::format("holds {} ({}), which are not supported yet; only safetensors is read", format.what, printable(*at)),
            "convert the model to safetensors (transformers: save_pretrained)");
      return;
    }
    const bool partial = std::any_of(names_.begin(), names_.end(), [](const std::string& n) { return n.ends_with(".incomplete"); });
    error(fmt::format("has no weights: neither {} nor {}", kSingle, kIndex), partial ? "a download was interrupted here" : "");
  }

  const std::string& folder_;
  const std::vector<std::string>& names_;
  Diagnostics& diagnostics_;
};

}  // namespace

WeightChoice select_weights(const std::string& folder, const std::vector<std::string>& names, const ConfigFacts& config,
                            Diagnostics& diagnostics) {
  return Selector(folder, names, diagnostics).choose(config);
}

}  // namespace crucible
