#include "crucible/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "checkpoint/companions.h"
#include "checkpoint/config_facts.h"
#include "checkpoint/load_weights.h"
#include "checkpoint/quantized.h"
#include "checkpoint/select_weights.h"
#include "io/folder_swap.h"

namespace crucible {

struct Checkpoint::Impl {
  std::string path;
  LoadedWeights weights;
  std::string config_text;
  std::vector<std::string> companions;
};

namespace {

namespace fs = std::filesystem;

class Opener {
 public:
  Opener(const std::string& path, Diagnostics& diagnostics) : path_(path), diagnostics_(diagnostics) {
    while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  }

  Checkpoint::Impl open() {
    Checkpoint::Impl model;
    model.path = path_;
    if (is_folder(path_)) {
      open_folder(model);
    } else if (path_exists(path_)) {
      open_file(model);
    } else {
      diagnostics_.error({}, fmt::format("{}: no such file or folder", printable(path_, 400)));
    }
    return model;
  }

 private:
  void open_folder(Checkpoint::Impl& model) {
    const std::vector<std::string> names = list_folder(path_);
    model.config_text = read_text("config.json", names);
    if (!model.config_text.empty()) read_config(model.config_text);
    model.companions = list_companion_files(path_, diagnostics_);
    WeightChoice choice = select_weights(path_, names, config_, diagnostics_);
    if (choice.files.empty()) return;
    notice_stray_shards(choice, names);
    model.weights = load(choice);
    std::optional<std::string> algo;
    if (const std::string text = read_text("hf_quant_config.json", names); !text.empty()) algo = parse_quant_algo(text);
    check_model(model, algo);
  }

  void open_file(Checkpoint::Impl& model) {
    const fs::path file(path_);
    const std::string name = file.filename().string();
    if (!name.ends_with(".safetensors")) {
      diagnostics_.error({}, fmt::format("{}: only .safetensors files and model folders are read", printable(path_, 400)));
      return;
    }
    if (name.find("-of-") != std::string::npos) {
      diagnostics_.notice({}, fmt::format("{}: is one shard of a model; the other shards are not read", printable(path_, 400)),
                          "name the folder to read all");
    }
    const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
    WeightChoice choice;
    choice.files = {name};
    model.weights = load_weights(folder, choice, diagnostics_);
    check_model(model, {});
  }

  // The text of a file of the folder; empty when there is none or it cannot be used (a diagnostic says why).
  std::string read_text(const std::string& name, const std::vector<std::string>& names) {
    if (!std::binary_search(names.begin(), names.end(), name)) return {};
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

  void notice_stray_shards(const WeightChoice& choice, const std::vector<std::string>& names) {
    if (!choice.index) return;
    std::vector<std::string> stray;
    for (const std::string& name : names) {
      const bool shard = name.starts_with("model-") && name.ends_with(".safetensors");
      if (shard && !std::binary_search(choice.files.begin(), choice.files.end(), name)) stray.push_back(printable(name));
    }
    if (!stray.empty())
      diagnostics_.notice({path_ + "/" + choice.index_name, 0, 0}, fmt::format("does not name {}; ignored", join_names(stray, 4)));
  }

  void check_model(const Checkpoint::Impl& model, const std::optional<std::string>& nvidia_algo) {
    if (diagnostics_.has_errors()) return;
    if (model.weights.tensors.empty()) diagnostics_.error({}, fmt::format("{}: has no tensors", printable(path_, 400)));
    const std::string quantized = find_quantization(config_, nvidia_algo, model.weights.tensors);
    if (!quantized.empty()) {
      diagnostics_.error(
          {}, fmt::format("{}: {}", printable(path_, 400), quantized),
          "use the original model, or dequantise it first (if its weights are plain numbers, remove quantization_config from config.json)");
    }
  }

  std::string path_;
  Diagnostics& diagnostics_;
  ConfigFacts config_;
};

}  // namespace

Checkpoint::Checkpoint(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Checkpoint Checkpoint::open(const std::string& path, Diagnostics& diagnostics) {
  // Its own list: what the caller already holds must not count as this model's errors.
  Diagnostics mine;
  auto impl = std::make_shared<Impl>();
  try {
    *impl = Opener(path, mine).open();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInput) throw;
    mine.error({}, error.what());
  }
  if (mine.has_errors()) {
    impl->weights = {};
    impl->path = path;
  }
  diagnostics.append(mine);
  return Checkpoint(std::move(impl));
}

const std::string& Checkpoint::path() const noexcept { return impl_->path; }
const std::vector<WeightFile>& Checkpoint::files() const noexcept { return impl_->weights.files; }
const std::vector<StoredTensor>& Checkpoint::tensors() const noexcept { return impl_->weights.tensors; }
const std::string& Checkpoint::config_text() const noexcept { return impl_->config_text; }
const std::vector<std::string>& Checkpoint::companion_files() const noexcept { return impl_->companions; }

const StoredTensor* Checkpoint::find(std::string_view name) const noexcept {
  const std::vector<StoredTensor>& all = impl_->weights.tensors;
  const auto at = std::lower_bound(all.begin(), all.end(), name, [](const StoredTensor& t, std::string_view n) { return t.info.name < n; });
  return at != all.end() && at->info.name == name ? &*at : nullptr;
}

void Checkpoint::read(int file, std::int64_t offset, void* buffer, std::size_t size) const {
  CHECK(file >= 0 && static_cast<std::size_t>(file) < impl_->weights.open_files.size(), "file {}", file);
  impl_->weights.open_files[static_cast<std::size_t>(file)]->read_at(offset, buffer, size);
}

void Checkpoint::check_unchanged() const {
  for (const auto& file : impl_->weights.open_files) file->check_unchanged();
}

}  // namespace crucible
