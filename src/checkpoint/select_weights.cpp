#include "checkpoint/select_weights.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "base/text_util.h"
#include "io/file.h"

namespace crucible {
namespace {

using namespace std::string_view_literals;

// As transformers call their weight files, and as diffusers do. A file is STEM.safetensors, an index STEM.safetensors.index.json.
constexpr std::array kStems = {"model"sv, "diffusion_pytorch_model"sv};
constexpr std::string_view kFileEnd = ".safetensors";
constexpr std::string_view kIndexEnd = ".safetensors.index.json";

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
    for (const std::string_view stem : kStems) {
      const std::string single = std::string(stem) + std::string(kFileEnd);
      const std::string index = std::string(stem) + std::string(kIndexEnd);
      if (contains(names_, index)) return from_index_beside(index, single);
      if (contains(names_, single)) return {{single}, {}, {}, {}};
    }
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

  WeightChoice from_index_beside(const std::string& index, const std::string& single) {
    WeightChoice choice = from_index(index);
    if (!contains(names_, single)) return choice;
    if (!choice.index) return single_beside_bad_index(index, single);
    if (!std::binary_search(choice.files.begin(), choice.files.end(), single)) choice.rival = single;
    return choice;
  }

  WeightChoice single_beside_bad_index(const std::string& index, const std::string& single) {
    // A broken index beside a single file is stale: the file is what every loader takes. What was said of the index stays as a notice.
    Diagnostics said = diagnostics_;
    diagnostics_ = {};
    for (Diagnostic d : said.items()) {
      if (d.place.file.ends_with(index)) d.severity = Severity::kNotice;
      diagnostics_.add(std::move(d));
    }
    notice(fmt::format("{} is used, {} is ignored", single, index));
    return {{single}, {}, {}, {}};
  }

  WeightChoice from_other_names() {
    std::vector<std::string> indices;
    for (const std::string& name : names_) {
      if (name.ends_with(kIndexEnd) && !name.starts_with('.')) indices.push_back(name);
    }
    if (indices.size() == 1) {
      notice(fmt::format("no {}{} there; {} is taken for the index of its weights", kStems.front(), kFileEnd, indices.front()));
      return from_index(indices.front());
    }
    std::vector<std::string> found;
    std::vector<std::string> native;
    for (const std::string& name : names_) {
      if (!name.ends_with(".safetensors") || name.starts_with("adapter_model") || name.starts_with(".")) continue;
      (name.starts_with("consolidated") ? native : found).push_back(name);
    }
    if (found.empty()) found = native;
    if (found.size() == 1 && !is_shard_name(found.front())) {
      notice(fmt::format("no {}{} there; {} is taken for the weights", kStems.front(), kFileEnd, found.front()));
      return {found, {}, {}, {}};
    }
    if (!found.empty()) {
      const bool shards = std::all_of(found.begin(), found.end(), is_shard_name);
      error(fmt::format("{} {} but no {}{}", shards ? "there are shards" : "there are several weight files", join_names(found, 4),
                        kStems.front(), kIndexEnd),
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
    error(fmt::format("has no weights: neither {0}{1} nor {0}{2}", kStems.front(), kFileEnd, kIndexEnd),
          partial ? "a download was interrupted here" : "");
  }

  const std::string& folder_;
  const std::vector<std::string>& names_;
  Diagnostics& diagnostics_;
};

}  // namespace

std::string_view weights_stem(std::string_view file_name) noexcept {
  for (const std::string_view stem : kStems) {
    const std::string_view rest = file_name.substr(std::min(stem.size(), file_name.size()));
    if (file_name.starts_with(stem) && (rest.starts_with('.') || rest.starts_with('-'))) return stem;
  }
  return kStems.front();
}

WeightChoice select_weights(const std::string& folder, const std::vector<std::string>& names, const ConfigFacts& config,
                            Diagnostics& diagnostics) {
  return Selector(folder, names, diagnostics).choose(config);
}

}  // namespace crucible
