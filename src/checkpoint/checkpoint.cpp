#include "crucible/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "checkpoint/companions.h"
#include "checkpoint/open_part.h"
#include "checkpoint/parts.h"
#include "checkpoint/strict_json.h"
#include "io/folder_swap.h"

namespace crucible {

struct Checkpoint::Impl {
  std::string path;
  LoadedWeights weights;
  std::vector<ModelPart> parts = std::vector<ModelPart>(1);
  std::vector<std::string> companions;
};

namespace {

namespace fs = std::filesystem;

// Where tensors of parts are known by their folder, no tensor of the model's own folder may have a name that says the same.
void check_names(const std::string& path, const std::vector<ModelPart>& parts, const LoadedWeights& root, Diagnostics& diagnostics) {
  for (const StoredTensor& t : root.tensors) {
    const std::size_t part = part_of(parts, t.info.name);
    if (part == 0) continue;
    diagnostics.error({}, fmt::format("{}: its tensor {} has the name of a tensor of its part {}", printable(path, 400),
                                      in_quotes(t.info.name), in_quotes(parts[part].folder)));
  }
}

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
    const PartList listed = list_parts(path_, diagnostics_);
    model.companions = list_companion_files(path_, diagnostics_);
    std::vector<LoadedWeights> weights(1);
    for (const std::string& folder : listed.folders) open_listed(folder, listed, model, weights);
    const bool is_whole = weights.size() == 1 && !diagnostics_.has_errors();
    const bool is_read = is_whole || listed.lists_root || (!listed.is_pipeline && holds_weights(names));
    OpenedPart root = open_part(path_, names, is_read ? OpenWhat::kWeightsToo : OpenWhat::kConfigOnly, diagnostics_);
    model.parts.front().config_text = std::move(root.config_text);
    weights.front() = std::move(root.weights);
    if (!is_read) notice_unread(names);
    check_names(path_, model.parts, weights.front(), diagnostics_);
    model.weights = joined(std::move(weights), model.parts);
  }

  static bool holds_weights(const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(), [](const std::string& n) { return is_weights_name(n); });
  }

  // A folder that a document lists. It may hold no weights (a scheduler, a tokenizer), and then it is no part.
  void open_listed(const std::string& folder, const PartList& listed, Checkpoint::Impl& model, std::vector<LoadedWeights>& weights) {
    const std::string path = name_below(path_, folder);
    if (is_behind_link(folder)) {
      diagnostics_.error({},
                         fmt::format("{}: this part of the model is a link, and links to folders are not followed", printable(path, 400)),
                         "put the folder itself there; its files may be links");
      return;
    }
    const std::vector<std::string> names = is_folder(path) ? list_folder(path) : std::vector<std::string>();
    if (!holds_weights(names)) {
      const bool has_config = std::binary_search(names.begin(), names.end(), "config.json");
      if (listed.is_pipeline && (names.empty() || has_config)) {
        diagnostics_.notice({},
                            fmt::format("{}: model_index.json lists this part, and {}", printable(path, 400),
                                        has_config ? "it has a config.json but no weights" : "there is no such folder, or it is empty"));
      }
      return;
    }
    OpenedPart part = open_part(path, names, OpenWhat::kWeightsToo, diagnostics_);
    model.parts.push_back({folder, std::move(part.config_text)});
    weights.push_back(std::move(part.weights));
  }

  bool is_behind_link(const std::string& folder) const {
    for (std::size_t slash = folder.find('/');; slash = folder.find('/', slash + 1)) {
      struct stat there {};
      if (::lstat(name_below(path_, folder.substr(0, slash)).c_str(), &there) == 0 && S_ISLNK(there.st_mode)) return true;
      if (slash == std::string::npos) return false;
    }
  }

  // Pipelines often come with all their weights once more, in one file for other programs.
  void notice_unread(const std::vector<std::string>& names) {
    std::vector<std::string> unread;
    for (const std::string& name : names) {
      if (is_weights_name(name)) unread.push_back(printable(name));
    }
    if (unread.empty()) return;
    diagnostics_.notice({},
                        fmt::format("{}: {} {} beside the parts of the model, where its loader does not look: neither merged nor copied",
                                    printable(path_, 400), join_names(unread, 4), unread.size() == 1 ? "lies" : "lie"));
  }

  // Files and tensors of all parts under the names that the model has for them.
  static LoadedWeights joined(std::vector<LoadedWeights> weights, const std::vector<ModelPart>& parts) {
    if (weights.size() == 1) return std::move(weights.front());
    LoadedWeights all;
    for (std::size_t p = 0; p < weights.size(); ++p) {
      const int first = static_cast<int>(all.files.size());
      for (WeightFile& file : weights[p].files) {
        file.name = name_below(parts[p].folder, file.name);
        file.part = p;
        all.files.push_back(std::move(file));
      }
      for (auto& file : weights[p].open_files) all.open_files.push_back(std::move(file));
      for (StoredTensor& t : weights[p].tensors) {
        t.info.name = name_below(parts[p].folder, t.info.name);
        t.file += first;
        all.tensors.push_back(std::move(t));
      }
    }
    std::sort(all.tensors.begin(), all.tensors.end(),
              [](const StoredTensor& a, const StoredTensor& b) { return a.info.name < b.info.name; });
    return all;
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
    check_part(path_, model.weights, {}, {}, diagnostics_);
  }

  std::string path_;
  Diagnostics& diagnostics_;
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
    impl->parts.resize(1);
    impl->path = path;
  }
  diagnostics.append(mine);
  return Checkpoint(std::move(impl));
}

const std::string& Checkpoint::path() const noexcept { return impl_->path; }
const std::vector<WeightFile>& Checkpoint::files() const noexcept { return impl_->weights.files; }
const std::vector<StoredTensor>& Checkpoint::tensors() const noexcept { return impl_->weights.tensors; }
const std::vector<ModelPart>& Checkpoint::parts() const noexcept { return impl_->parts; }
const std::vector<std::string>& Checkpoint::companion_files() const noexcept { return impl_->companions; }

const StoredTensor* Checkpoint::find(std::string_view name) const noexcept {
  const std::vector<StoredTensor>& all = impl_->weights.tensors;
  const auto at = std::lower_bound(all.begin(), all.end(), name, [](const StoredTensor& t, std::string_view n) { return t.info.name < n; });
  return at != all.end() && at->info.name == name ? &*at : nullptr;
}

void Checkpoint::read(int file, std::int64_t offset, void* buffer, std::size_t size) const {
  weight_file(file).read_at(offset, buffer, size);
}

const ReadFile& Checkpoint::weight_file(int file) const {
  CHECK(file >= 0 && static_cast<std::size_t>(file) < impl_->weights.open_files.size(), "file {}", file);
  return *impl_->weights.open_files[static_cast<std::size_t>(file)];
}

void Checkpoint::check_unchanged() const {
  for (const auto& file : impl_->weights.open_files) file->check_unchanged();
}

}  // namespace crucible
