#include "checkpoint/companions.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/text_util.h"
#include "io/folder_swap.h"

namespace crucible {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::array kWeightSuffixes = {".safetensors"sv, ".bin"sv,  ".pt"sv,        ".pth"sv, ".gguf"sv, ".ggml"sv, ".h5"sv,
                                        ".msgpack"sv,     ".onnx"sv, ".onnx_data"sv, ".ot"sv,  ".npz"sv,  ".ckpt"sv, ".nemo"sv};

// Written by the program that merges; the ones of an input describe another merge.
constexpr std::array kOwnReports = {"README.md"sv, "mergekit_config.yml"sv, "crucible.json"sv, "crucible_report.html"sv};

constexpr std::array kModelFiles = {
    "config.json"sv,
    "generation_config.json"sv,
    "hf_quant_config.json"sv,
    "quantize_config.json"sv,
    "tokenizer.json"sv,
    "tokenizer_config.json"sv,
    "tokenizer.model"sv,
    "tokenizer.model.v3"sv,
    "tekken.json"sv,
    "special_tokens_map.json"sv,
    "added_tokens.json"sv,
    "vocab.json"sv,
    "vocab.txt"sv,
    "merges.txt"sv,
    "spiece.model"sv,
    "sentencepiece.bpe.model"sv,
    "chat_template.json"sv,
    "chat_template.jinja"sv,
    "preprocessor_config.json"sv,
    "processor_config.json"sv,
    "adapter_config.json"sv,
};

constexpr std::array kTrainingPrefixes = {"optimizer"sv,     "scheduler"sv, "rng_state"sv, "trainer_state"sv,
                                          "training_args"sv, "zero_pp_"sv,  "mp_rank_"sv};

bool has_weight_suffix(std::string_view name) {
  return std::any_of(kWeightSuffixes.begin(), kWeightSuffixes.end(), [&](std::string_view s) { return name.ends_with(s); });
}

// "model.safetensors.index.json", with a variant too: "model.safetensors.index.fp16.json".
bool is_weight_index(std::string_view name) {
  if (!name.ends_with(".json")) return false;
  return name.ends_with(".index.json") || name.find(".safetensors.index.") != std::string_view::npos ||
         name.find(".bin.index.") != std::string_view::npos;
}

bool is_training_state(std::string_view name) {
  return std::any_of(kTrainingPrefixes.begin(), kTrainingPrefixes.end(), [&](std::string_view p) {
    return name.starts_with(p) && (name.size() == p.size() || name[p.size()] == '.' || name[p.size()] == '_' || p.ends_with('_'));
  });
}

template <class Names>
bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool is_model_file_name(const std::string& name) {
  // Training state has weight suffixes too, but no merge makes or replaces it.
  if (is_training_state(name)) return false;
  return has_weight_suffix(name) || is_weight_index(name) || contains(kModelFiles, name) || contains(kOwnReports, name);
}

bool is_companion_file_name(const std::string& name) {
  if (name.empty() || name.front() == '.') return false;
  return !has_weight_suffix(name) && !is_weight_index(name) && !is_training_state(name) && !contains(kOwnReports, name);
}

std::vector<std::string> list_companion_files(const std::string& folder, Diagnostics& diagnostics) {
  std::vector<std::string> files;
  for (const std::string& name : list_folder(folder)) {
    if (!is_companion_file_name(name)) continue;
    const std::string path = folder + "/" + name;
    struct stat there {};
    if (::stat(path.c_str(), &there) == 0) {
      if (S_ISREG(there.st_mode)) files.push_back(name);
    } else if (::lstat(path.c_str(), &there) == 0 && S_ISLNK(there.st_mode)) {
      diagnostics.notice({}, fmt::format("{} is a link to a file that does not exist; it is not copied", printable(path, 400)),
                         "if this is a Hub cache, the download is incomplete");
    }
  }
  return files;
}

}  // namespace crucible
