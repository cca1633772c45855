#include "checkpoint/load_weights.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/text_util.h"
#include "base/units.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/strict_json.h"

namespace crucible {
namespace {

struct OneFile {
  std::unique_ptr<ReadFile> file;
  SafetensorsHeader header;
  std::string header_hash;
  bool missing = false;
  std::string problem;              // wrong input
  std::exception_ptr system_error;  // the system failed
};

// A message of the file layer starts with the path; a diagnostic has that in its place.
std::string without_path(const std::string& text, const std::string& path) {
  const std::string prefix = printable(path, 400) + ": ";
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

void read_one(const std::string& path, bool is_listed, OneFile& out) noexcept {
  try {
    if (is_listed && !path_exists(path)) {
      out.missing = true;
      return;
    }
    out.file = open_for_read(path);
    std::string text;
    out.header = read_safetensors_header(*out.file, &text);
    out.header_hash = hash128_hex(text);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInput || error.code() == ErrorCode::kDamaged) {
      out.problem = without_path(error.what(), path);
    } else {
      out.system_error = std::current_exception();
    }
  } catch (...) {
    out.system_error = std::current_exception();
  }
}

// A few threads: on a network disk each header costs some round trips.
std::vector<OneFile> read_all(const std::string& folder, const WeightChoice& choice) {
  const std::vector<std::string>& names = choice.files;
  std::vector<OneFile> all(names.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < names.size(); i = next++) read_one(folder + "/" + names[i], choice.index.has_value(), all[i]);
  };
  std::vector<std::jthread> helpers;
  const std::size_t wanted = std::min<std::size_t>(names.size() / 4, 7);
  try {
    for (std::size_t i = 0; i < wanted; ++i) helpers.emplace_back(work);
  } catch (const std::system_error&) {
    // No more threads to be had: this one does the rest.
  }
  work();
  helpers.clear();
  return all;
}

// Names that disagree with the index, by kind of disagreement.
class IndexCheck {
 public:
  IndexCheck(const WeightIndex& index, const std::vector<OneFile>& files, const std::vector<StoredTensor>& tensors)
      : index_(index), files_(files), tensors_(tensors) {}

  void report(const std::string& index_path, Diagnostics& diagnostics) {
    compare();
    const auto say = [&](const std::vector<std::string>& names, std::string_view one, std::string_view many) {
      if (names.empty()) return;
      diagnostics.error({index_path, 0, 0}, fmt::format("{} {}: {}", render_count(static_cast<std::int64_t>(names.size()), "tensor"),
                                                        names.size() == 1 ? one : many, join_names(names, 6)));
    };
    say(elsewhere_, "is not in the file that the index names", "are not in the files that the index names");
    say(unlisted_, "is in a weight file but not in the index", "are in weight files but not in the index");
  }

 private:
  std::string file_name(int file) const { return printable(index_.files[static_cast<std::size_t>(file)]); }
  bool readable(int file) const {
    return files_[static_cast<std::size_t>(file)].file != nullptr && files_[static_cast<std::size_t>(file)].problem.empty();
  }

  void compare() {
    auto stored = tensors_.begin();
    for (const WeightIndex::Item& item : index_.items) {
      for (; stored != tensors_.end() && stored->info.name < item.tensor; ++stored) add_unlisted(*stored);
      bool there = false;
      const StoredTensor* other = nullptr;
      for (; stored != tensors_.end() && stored->info.name == item.tensor; ++stored) {
        there |= stored->file == item.file;
        other = &*stored;
      }
      if (there || !readable(item.file)) continue;
      elsewhere_.push_back(fmt::format("{} (index: {}, {})", in_quotes(item.tensor), file_name(item.file),
                                       other != nullptr ? "found in " + file_name(other->file) : std::string("found nowhere")));
    }
    for (; stored != tensors_.end(); ++stored) add_unlisted(*stored);
  }
  void add_unlisted(const StoredTensor& t) { unlisted_.push_back(fmt::format("{} ({})", in_quotes(t.info.name), file_name(t.file))); }

  const WeightIndex& index_;
  const std::vector<OneFile>& files_;
  const std::vector<StoredTensor>& tensors_;
  std::vector<std::string> elsewhere_;
  std::vector<std::string> unlisted_;
};

void report_files(const std::string& folder, const WeightChoice& choice, const std::vector<OneFile>& all, Diagnostics& diagnostics) {
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].system_error) std::rethrow_exception(all[i].system_error);
    const Place place{folder + "/" + choice.files[i], 0, 0};
    if (all[i].missing) missing.push_back(printable(choice.files[i]));
    if (!all[i].problem.empty()) diagnostics.error(place, all[i].problem);
    for (const std::string& remark : all[i].header.remarks) diagnostics.notice(place, remark);
  }
  if (missing.empty()) return;
  diagnostics.error({folder + "/" + choice.index_name, 0, 0},
                    fmt::format("{} that it names {} missing: {}", render_count(static_cast<std::int64_t>(missing.size()), "weight file"),
                                missing.size() == 1 ? "is" : "are", join_names(missing, 6)),
                    "the download or copy is incomplete");
}

void report_doubles(const std::string& folder, const LoadedWeights& loaded, Diagnostics& diagnostics) {
  std::vector<std::string> doubles;
  const auto file_name = [&](const StoredTensor& t) { return printable(loaded.files[static_cast<std::size_t>(t.file)].name); };
  for (std::size_t i = 1; i < loaded.tensors.size(); ++i) {
    const StoredTensor& a = loaded.tensors[i - 1];
    const StoredTensor& b = loaded.tensors[i];
    if (a.info.name == b.info.name) doubles.push_back(fmt::format("{} ({} and {})", in_quotes(a.info.name), file_name(a), file_name(b)));
  }
  if (doubles.empty()) return;
  diagnostics.error(
      {}, fmt::format("{}: {} in two weight files: {}", printable(folder, 400),
                      doubles.size() == 1 ? "1 tensor is" : fmt::format("{} tensors are", doubles.size()), join_names(doubles, 6)));
}

void check_total(const std::string& index_path, const WeightIndex& index, const std::vector<StoredTensor>& tensors,
                 Diagnostics& diagnostics) {
  if (!index.total_bytes) return;
  std::int64_t bytes = 0;
  for (const StoredTensor& t : tensors) bytes += t.bytes;
  if (*index.total_bytes == static_cast<double>(bytes)) return;
  diagnostics.notice({index_path, 0, 0},
                     fmt::format("total_size says {}, the tensors have {} bytes", render_number(*index.total_bytes), bytes));
}

}  // namespace

LoadedWeights load_weights(const std::string& folder, const WeightChoice& choice, Diagnostics& diagnostics) {
  std::vector<OneFile> all = read_all(folder, choice);
  LoadedWeights loaded;
  report_files(folder, choice, all, diagnostics);
  std::size_t count = 0;
  for (const OneFile& one : all) count += one.header.entries.size();
  if (count > kMostTensors) {
    diagnostics.error({}, fmt::format("{}: {} tensors; {} are allowed", printable(folder, 400), count, kMostTensors));
    return loaded;
  }
  loaded.tensors.reserve(count);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string path = folder + "/" + choice.files[i];
    loaded.files.push_back({choice.files[i], path, all[i].file == nullptr ? 0 : all[i].file->size(), all[i].header_hash});
    for (SafetensorsEntry& e : all[i].header.entries) {
      loaded.tensors.push_back({std::move(e.info), static_cast<int>(i), all[i].header.data_start + e.begin, e.end - e.begin});
    }
  }
  std::sort(loaded.tensors.begin(), loaded.tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return a.info.name != b.info.name ? a.info.name < b.info.name : a.file < b.file;
  });
  report_doubles(folder, loaded, diagnostics);
  if (choice.index) {
    const std::string index_path = folder + "/" + choice.index_name;
    IndexCheck(*choice.index, all, loaded.tensors).report(index_path, diagnostics);
    check_total(index_path, *choice.index, loaded.tensors, diagnostics);
  }
  for (OneFile& one : all) loaded.open_files.push_back(std::move(one.file));
  return loaded;
}

}  // namespace crucible
