#include "checkpoint/companions.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/text_util.h"
#include "checkpoint/parts.h"
#include "io/file.h"
#include "io/folder_swap.h"

namespace crucible {
namespace {

using namespace std::string_view_literals;

constexpr std::array kWeightSuffixes = {".safetensors"sv, ".bin"sv,  ".pt"sv,        ".pth"sv, ".gguf"sv, ".ggml"sv, ".h5"sv,
                                        ".msgpack"sv,     ".onnx"sv, ".onnx_data"sv, ".ot"sv,  ".npz"sv,  ".ckpt"sv, ".nemo"sv};

// Written by the program that merges; the ones of an input describe another merge.
constexpr std::array kOwnReports = {"README.md"sv, "mergekit_config.yml"sv, "crucible.json"sv, "crucible_report.html"sv};

constexpr std::array kModelFiles = {
    "config.json"sv,
    "model_index.json"sv,
    "modules.json"sv,
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

// Weights of other programs and data that only a program can read. Not removed when a folder is written again: they may be anything.
constexpr std::array kOtherData = {".pkl"sv, ".pickle"sv, ".tflite"sv, ".mlmodel"sv, ".pdparams"sv, ".onnx.data"sv, ".engine"sv};

// What training and merging programs say about the model that lies there.
constexpr std::array kReports = {"mergekit_moe_config.yml"sv, "mergekit_config.yaml"sv, "all_results.json"sv,  "train_results.json"sv,
                                 "eval_results.json"sv,       "test_results.json"sv,    "trainer_log.jsonl"sv, "training_loss.png"sv};

constexpr std::array kUnfinished = {".lock"sv, ".incomplete"sv, ".tmp"sv, ".part"sv, "~"sv};

// Subfolders that loaders of the model read, apart from those that its documents list. The parts of a sentence-transformers model
// ("1_Pooling") are told by their form too.
constexpr std::array kModelFolders = {"additional_chat_templates"sv, "assets"sv};

constexpr int kFolderDepth = 4;
constexpr std::int64_t kPointerBytes = 1024;  // a Git LFS pointer is shorter

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
  if (name == "scheduler_config.json") return false;  // of a pipeline: how it draws its noise, not how it was trained
  return std::any_of(kTrainingPrefixes.begin(), kTrainingPrefixes.end(), [&](std::string_view p) {
    return name.starts_with(p) && (name.size() == p.size() || name[p.size()] == '.' || name[p.size()] == '_' || p.ends_with('_'));
  });
}

template <class Names>
bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

template <class Suffixes>
bool ends_with_any(std::string_view name, const Suffixes& suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(), [&](std::string_view s) { return name.ends_with(s); });
}

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// "1_Pooling", "2_Normalize": a number, an underscore, a name.
bool is_module_folder(std::string_view name) noexcept {
  const std::size_t bar = name.find('_');
  return bar != std::string_view::npos && bar > 0 && bar + 1 < name.size() &&
         std::all_of(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(bar), is_digit) && !is_digit(name[bar + 1]);
}

// The first part of each folder that the model's documents list. What is wrong with them is said where the model is opened.
std::set<std::string> listed_folders(const std::string& folder) {
  std::set<std::string> out;
  Diagnostics told;
  for (const std::string& name : list_parts(folder, told).folders) out.insert(name.substr(0, name.find('/')));
  return out;
}

bool is_lfs_pointer(const std::string& path, std::int64_t bytes) {
  if (bytes == 0 || bytes > kPointerBytes) return false;
  try {
    return read_small_file(path, kPointerBytes).starts_with("version https://git-lfs.github.com/spec/");
  } catch (const Error&) {
    return false;  // who copies it says what is wrong
  }
}

class Surveyor {
 public:
  Surveyor(const std::string& folder, Diagnostics& diagnostics)
      : folder_(folder), listed_(listed_folders(folder)), diagnostics_(diagnostics) {}

  std::vector<FolderFile> run() {
    visit("", 0);
    return std::move(files_);
  }

 private:
  void visit(const std::string& prefix, int depth) {
    for (const std::string& entry : list_folder(folder_ + "/" + prefix)) {
      const std::string name = prefix + entry;
      const std::string path = folder_ + "/" + name;
      struct stat there {};
      if (::stat(path.c_str(), &there) != 0) {
        add_missing(name, path);
      } else if (S_ISDIR(there.st_mode)) {
        add_folder(name, entry, path, depth);
      } else if (!S_ISREG(there.st_mode)) {
        files_.push_back({name, 0, "not a regular file", false});
      } else {
        add_file(name, entry, path, there.st_size);
      }
    }
  }

  void add_missing(const std::string& name, const std::string& path) {
    struct stat there {};
    if (::lstat(path.c_str(), &there) != 0 || !S_ISLNK(there.st_mode)) return;
    if (why_left_out(name.substr(name.rfind('/') + 1)).empty()) {
      diagnostics_.notice({}, fmt::format("{} is a link to a file that does not exist; it is not copied", printable(path, 400)),
                          "if this is a Hub cache, the download is incomplete");
    }
    files_.push_back({name, 0, "a link to a file that does not exist", false});
  }

  void add_folder(const std::string& name, const std::string& entry, const std::string& path, int depth) {
    struct stat there {};
    const bool is_link = ::lstat(path.c_str(), &there) == 0 && S_ISLNK(there.st_mode);
    const bool known = depth > 0 || contains(kModelFolders, entry) || is_module_folder(entry) || listed_.contains(entry);
    if (entry.front() == '.') {
      files_.push_back({name + "/", 0, "hidden", false});
    } else if (known && !is_link && depth < kFolderDepth) {
      visit(name + "/", depth + 1);
    } else {
      files_.push_back(
          {name + "/", 0, known ? "a link to a folder, or too deep" : "a folder that loaders of the model do not read", false});
    }
  }

  void add_file(const std::string& name, const std::string& entry, const std::string& path, std::int64_t bytes) {
    FolderFile file{name, bytes, why_left_out(entry), entry.ends_with(".py")};
    const std::size_t slash = name.find('/');
    if (slash != std::string::npos && !listed_.contains(name.substr(0, slash)) && has_weight_suffix(entry)) {
      file.left_out = "weights in a folder that no document of the model lists";
      diagnostics_.notice({},
                          fmt::format("{}: weights in a folder that neither modules.json nor model_index.json lists; they are neither "
                                      "merged nor copied",
                                      printable(path, 400)),
                          "list the folder, or copy them into the output by hand");
    } else if (file.left_out.empty() && is_lfs_pointer(path, bytes)) {
      diagnostics_.notice({}, fmt::format("{} is a Git LFS pointer, not the file itself", printable(path, 400)),
                          "fetch it with git lfs pull");
    }
    files_.push_back(std::move(file));
  }

  const std::string& folder_;
  std::set<std::string> listed_;  // folders of its top level that its documents name
  Diagnostics& diagnostics_;
  std::vector<FolderFile> files_;
};

}  // namespace

bool is_model_file_name(const std::string& name) {
  const std::size_t slash = name.find('/');
  // Templates of the old model would be offered beside those of the new one.
  if (slash != std::string::npos) return name.starts_with("additional_chat_templates/");
  // Training state has weight suffixes too, but no merge makes or replaces it.
  if (is_training_state(name)) return false;
  return has_weight_suffix(name) || is_weight_index(name) || contains(kModelFiles, name) || contains(kOwnReports, name);
}

bool is_weights_name(std::string_view name) noexcept {
  return !name.empty() && name.front() != '.' && !is_training_state(name) && (has_weight_suffix(name) || is_weight_index(name));
}

std::string why_left_out(const std::string& name) {
  if (name.empty() || name.front() == '.') return "hidden";
  if (is_training_state(name) || name.find(".tfevents.") != std::string::npos) return "training state";
  if (is_weight_index(name)) return "an index of weights";
  if (has_weight_suffix(name) || ends_with_any(name, kOtherData)) return "weights";
  if (contains(kOwnReports, name) || contains(kReports, name)) return "it is about the input";
  if (name == "adapter_config.json") return "it makes loaders look for an adapter";
  if (ends_with_any(name, kUnfinished)) return "a lock or an unfinished file";
  return {};
}

std::vector<FolderFile> survey_folder(const std::string& folder, Diagnostics& diagnostics) {
  std::vector<FolderFile> files = Surveyor(folder, diagnostics).run();
  std::sort(files.begin(), files.end(), [](const FolderFile& a, const FolderFile& b) { return a.name < b.name; });
  return files;
}

std::vector<std::string> list_companion_files(const std::string& folder, Diagnostics& diagnostics) {
  std::vector<std::string> names;
  for (FolderFile& file : survey_folder(folder, diagnostics)) {
    if (file.left_out.empty()) names.push_back(std::move(file.name));
  }
  return names;
}

}  // namespace crucible
