#include "report/verify_files.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/text_util.h"
#include "checkpoint/safetensors.h"
#include "crucible/checkpoint.h"
#include "io/file.h"
#include "io/folder_swap.h"
#include "io/page_buffer.h"
#include "run/content_hash.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPieceBytes = std::int64_t{16} << 20;

void say(Verification& found, Wrong::Kind kind, const std::string& name, std::string text) {
  found.wrong.push_back({kind, name, std::move(text)});
}

// The folder within the output that a file lies in; empty = the output itself.
std::string folder_of(const std::string& file_name) { return fs::path(file_name).parent_path().string(); }

// Where a tensor's bytes lie in the file that is there.
struct Located {
  const Record::Tensor* tensor = nullptr;
  const ReadFile* file = nullptr;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
  std::vector<Hash128> chunks;
};

// Opens one weight file and compares what can be without its data. Null when its data cannot be looked at.
std::unique_ptr<ReadFile> open_weights(const std::string& folder, const Record::File& recorded, SafetensorsHeader& header,
                                       Verification& found) {
  const std::string path = (fs::path(folder) / recorded.name).string();
  const std::string name = printable(recorded.name);
  if (!path_exists(path)) {
    say(found, Wrong::Kind::kFile, recorded.name, fmt::format("{} is missing", name));
    return nullptr;
  }
  bool size_differs = false;
  try {
    auto file = open_for_read(path);
    size_differs = file->size() != recorded.bytes;
    if (size_differs) {
      say(found, Wrong::Kind::kFile, recorded.name, fmt::format("{} has {} bytes, the record says {}", name, file->size(), recorded.bytes));
    }
    std::string text;
    header = read_safetensors_header(*file, &text);
    if (hash128_hex(text) != recorded.header_hash) {
      say(found, Wrong::Kind::kFile, recorded.name, fmt::format("{} has another header than the one that was written", name));
    }
    return file;
  } catch (const Error& problem) {
    if (!size_differs) say(found, Wrong::Kind::kFile, recorded.name, fmt::format("{} cannot be read: {}", name, problem.what()));
    return nullptr;
  }
}

// The tensors of one file that can be hashed; what is missing or of another form is said.
void locate_tensors(const Record& record, int file, const ReadFile* in, const SafetensorsHeader& header, std::vector<Located>& located,
                    Verification& found) {
  std::map<std::string_view, const SafetensorsEntry*> there;
  for (const SafetensorsEntry& e : header.entries) there.emplace(e.info.name, &e);
  // What lies in a folder belongs to the part of that name, and its tensors have their names without it there.
  const std::string part = folder_of(record.files[static_cast<std::size_t>(file)].name);
  for (const Record::Tensor& t : record.tensors) {
    if (t.file != file) continue;
    const auto it = there.find(name_in_folder(t.name, part));
    if (it == there.end()) {
      say(found, Wrong::Kind::kTensor, t.name, fmt::format("tensor {} is missing", printable(t.name)));
      continue;
    }
    const SafetensorsEntry& e = *it->second;
    if (e.info.shape != t.shape || facts(e.info.dtype).name != t.dtype) {
      say(found, Wrong::Kind::kTensor, t.name,
          fmt::format("tensor {} is {} {}, the record says {} {}", printable(t.name), facts(e.info.dtype).name, to_string(e.info.shape),
                      printable(t.dtype), to_string(t.shape)));
      continue;
    }
    const std::int64_t bytes = e.end - e.begin;
    located.push_back({&t, in, header.data_start + e.begin, bytes, {}});
    located.back().chunks.resize(static_cast<std::size_t>(ceil_div(bytes, t.hash_chunk)));
  }
}

// Reads and hashes everything, in file order, several pieces at a time.
void hash_all(std::vector<Located>& tensors, const RunOptions& run) {
  struct Piece {
    Located* tensor;
    std::size_t first, count;  // chunks
  };
  std::vector<Piece> pieces;
  for (Located& t : tensors) {
    const auto step = static_cast<std::size_t>(std::max<std::int64_t>(1, kPieceBytes / t.tensor->hash_chunk));
    for (std::size_t c = 0; c < t.chunks.size(); c += step) pieces.push_back({&t, c, std::min(step, t.chunks.size() - c)});
  }
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      PageBuffer buffer;
      for (std::size_t i = next++; i < pieces.size(); i = next++) {
        if (run.stop != nullptr && run.stop->load(std::memory_order_relaxed)) throw Error(ErrorCode::kInterrupted, "interrupted");
        const Piece& p = pieces[i];
        for (std::size_t c = p.first; c < p.first + p.count; ++c) {
          const std::int64_t at = static_cast<std::int64_t>(c) * p.tensor->tensor->hash_chunk;
          const std::int64_t size = std::min(p.tensor->tensor->hash_chunk, p.tensor->bytes - at);
          std::byte* bytes = buffer.place(p.tensor->offset + at, size);
          p.tensor->file->read_at(p.tensor->offset + at, bytes, static_cast<std::size_t>(size));
          p.tensor->chunks[c] = hash128(bytes, static_cast<std::size_t>(size));
        }
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = pieces.size();
    }
  };
  {
    const auto wanted = static_cast<std::size_t>(run.threads > 0 ? run.threads : default_threads());
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < std::min(wanted, pieces.size()); ++i) others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void verify_weight_files(const std::string& folder, const Record& record, const RunOptions& run, Verification& found) {
  std::vector<std::unique_ptr<ReadFile>> files;
  std::vector<Located> located;
  for (std::size_t f = 0; f < record.files.size(); ++f) {
    SafetensorsHeader header;
    files.push_back(open_weights(folder, record.files[f], header, found));
    if (files.back() != nullptr) locate_tensors(record, static_cast<int>(f), files.back().get(), header, located, found);
  }
  std::sort(located.begin(), located.end(),
            [](const Located& a, const Located& b) { return std::pair(a.tensor->file, a.offset) < std::pair(b.tensor->file, b.offset); });
  hash_all(located, run);
  for (const Located& t : located) {
    found.bytes_hashed += t.bytes;
    if (combined_hex(t.chunks) == t.tensor->hash) continue;
    say(found, Wrong::Kind::kTensor, t.tensor->name,
        fmt::format("tensor {} differs from the one that was written", printable(t.tensor->name)));
  }
  found.files = static_cast<std::int64_t>(record.files.size());
  found.tensors = static_cast<std::int64_t>(located.size());

  std::set<std::string> known, folders = {""};
  for (const Record::File& f : record.files) {
    known.insert(f.name);
    folders.insert(folder_of(f.name));
  }
  for (const std::string& part : folders) {
    const std::string path = part.empty() ? folder : name_below(folder, part);
    if (!is_folder(path)) continue;  // its files are missing, which was said
    for (const std::string& entry : list_folder(path)) {
      const std::string name = name_below(part, entry);
      if (name.ends_with(".safetensors") && !known.contains(name))
        say(found, Wrong::Kind::kFile, name, fmt::format("{} is a weight file that this merge did not write", printable(name)));
    }
  }
}

void verify_companions(const std::string& folder, const Record& record, Verification& found) {
  for (const Record::File& recorded : record.companions) {
    const std::string path = (fs::path(folder) / recorded.name).string();
    std::string why;
    if (!path_exists(path)) {
      why = "is missing";
    } else if (hash_file(path) != recorded.content_hash) {
      why = "differs from the one that was written";
    }
    ++found.companions;
    if (why.empty()) continue;
    std::string text = fmt::format("{} {}", printable(recorded.name), why);
    // A card is there to be edited, and no model depends on it.
    if (recorded.name == "README.md") {
      found.remarks.push_back(std::move(text));
    } else {
      say(found, Wrong::Kind::kCompanion, recorded.name, std::move(text));
    }
  }
}

}  // namespace crucible
