#include "io/folder_swap.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/text_util.h"
#include "crucible/error.h"
#include "io/file.h"
#include "io/system_calls.h"

namespace crucible {
namespace {

std::string in(const std::string& folder, const std::string& name) { return folder + '/' + name; }

bool is_real_folder(const std::string& path) noexcept {
  struct stat there {};
  return ::lstat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode);
}

// All files below a folder, relative to it, sorted; links are not followed.
void list_files(const std::string& root, const std::string& prefix, std::vector<std::string>& files) {
  for (const std::string& name : list_folder(in(root, prefix))) {
    if (is_real_folder(in(root, prefix + name))) {
      list_files(root, prefix + name + '/', files);
    } else {
      files.push_back(prefix + name);
    }
  }
}

std::vector<std::string> all_files(const std::string& root) {
  std::vector<std::string> files;
  list_files(root, "", files);
  return files;
}

// Makes the folders above `root`/`name`, below `root`; those that were missing are noted.
void make_parents(const std::string& root, const std::string& name, std::vector<std::string>& made) {
  for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string folder = in(root, name.substr(0, slash));
    if (is_real_folder(folder)) continue;
    if (system_calls().make_folder(folder.c_str(), 0777) != 0) throw_system_error(folder, "cannot make the folder", errno);
    made.push_back(folder);
  }
}

// Is there anything at the path, a dangling link included?
bool is_there(const std::string& path) noexcept {
  struct stat there {};
  return ::lstat(path.c_str(), &there) == 0;
}

// The files by which a loader finds a model: gone first, back last.
bool is_entry_point(std::string_view name) noexcept {
  return name == "model.safetensors" || name == "model_index.json" || name.ends_with(".index.json");
}

std::string parent_of(const std::string& path) { return std::filesystem::path(path).parent_path().string(); }

// Renames that can be taken back as long as keep() was not called.
class Moves {
 public:
  Moves() = default;
  Moves(const Moves&) = delete;
  Moves& operator=(const Moves&) = delete;
  void move(std::string from, std::string to) {
    done_.reserve(done_.size() + 1);
    if (system_calls().rename_new(from.c_str(), to.c_str()) != 0)
      throw_system_error(from, fmt::format("cannot move to {}", printable(to, 400)), errno);
    done_.emplace_back(std::move(from), std::move(to));
  }
  // Answers whether everything is where it was.
  bool undo() noexcept {
    bool all = true;
    for (auto it = done_.rbegin(); it != done_.rend(); ++it) all &= system_calls().rename_new(it->second.c_str(), it->first.c_str()) == 0;
    done_.clear();
    return all;
  }

 private:
  std::vector<std::pair<std::string, std::string>> done_;
};

// For file systems without an exchange. Between the two renames the target is missing; both folders are complete all the time.
bool swap_by_two_renames(const std::string& working, const std::string& target, const std::string& old_folder) {
  if (system_calls().rename(target.c_str(), old_folder.c_str()) != 0) return false;
  if (system_calls().rename(working.c_str(), target.c_str()) == 0) return true;
  const int failed = errno;
  if (system_calls().rename(old_folder.c_str(), target.c_str()) != 0) {
    throw Error(ErrorCode::kIo, fmt::format("{}: cannot be put in place; the folder that was there is now {}", printable(target, 400),
                                            printable(old_folder, 400)));
  }
  throw_system_error(working, fmt::format("cannot rename to {}", printable(target, 400)), failed);
}

}  // namespace

std::vector<std::string> list_folder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), [](DIR* d) { return ::closedir(d); });
  if (folder == nullptr) throw_system_error(path, "cannot list the folder", errno);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) throw_system_error(path, "cannot list the folder", errno);
  std::sort(names.begin(), names.end());
  return names;
}

std::string make_temporary_folder(const std::string& prefix) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string path = prefix;
    for (int i = 0; i < 6; ++i) path += kLetters[random() % kLetters.size()];
    if (system_calls().make_folder(path.c_str(), 0777) == 0) return path;
    if (errno != EEXIST) return {};
  }
  return {};
}

bool remove_folder(const std::string& path) noexcept {
  // Another thread may still create a file in it while it is emptied.
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::error_code failed;
    std::filesystem::remove_all(path, failed);
    if (!failed) return true;
  }
  return false;
}

void check_no_folder_in_the_way(const std::string& working, const std::string& target) {
  for (const std::string& name : all_files(working)) {
    if (is_real_folder(in(target, name)))
      throw Error(ErrorCode::kInput, fmt::format("{}: is a folder; the model has a file of that name", printable(in(target, name), 400)));
    for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
      const std::string folder = in(target, name.substr(0, slash));
      if (is_there(folder) && !is_real_folder(folder))
        throw Error(ErrorCode::kInput, fmt::format("{}: is a file; the model has a folder of that name", printable(folder, 400)));
    }
  }
}

bool rename_into_place(const std::string& working, const std::string& target) {
  if (system_calls().rename(working.c_str(), target.c_str()) == 0) {
    sync_folder(parent_of(target));
    return true;
  }
  if (errno != ENOTEMPTY && errno != EEXIST) throw_system_error(working, fmt::format("cannot rename to {}", printable(target, 400)), errno);
  return false;
}

std::string swap_folders(const std::string& working, const std::string& target) {
  if (system_calls().exchange(working.c_str(), target.c_str()) == 0) return working;
  const std::string aside = working + "-old";
  return swap_by_two_renames(working, target, aside) ? aside : std::string{};
}

namespace {

// Moves what is not the model's from one folder into the other; what could not be moved goes to `stuck`. A folder that both have is
// gone through.
void carry_entries(const std::string& old_folder, const std::string& target, const std::string& prefix, const NamePredicate& is_model_file,
                   std::vector<std::string>& stuck) {
  for (const std::string& entry : list_folder(in(old_folder, prefix))) {
    const std::string name = prefix + entry;
    const std::string from = in(old_folder, name);
    const bool folder = is_real_folder(from);
    if (is_model_file && is_model_file(folder ? name + '/' : name)) continue;
    if (system_calls().rename_new(from.c_str(), in(target, name).c_str()) == 0) continue;
    if (errno != EEXIST) {
      stuck.push_back(name);
    } else if (folder && is_real_folder(in(target, name))) {
      carry_entries(old_folder, target, name + '/', is_model_file, stuck);
    }
  }
}

}  // namespace

void carry_over(const std::string& old_folder, const std::string& target, const NamePredicate& is_model_file) {
  std::vector<std::string> stuck;
  try {
    // Before anything of the old folder goes: after a power cut the target must not be the old folder again, half empty.
    sync_folder(parent_of(target));
    carry_entries(old_folder, target, "", is_model_file, stuck);
    sync_folder(target);
  } catch (const Error& error) {
    throw Error(error.code(),
                fmt::format("{}; the new model is in place, the old files are in {}", error.what(), printable(old_folder, 400)));
  }
  if (!stuck.empty()) {
    throw Error(ErrorCode::kIo,
                fmt::format("{}: the new model is in place, but {} could not be carried over and still {} in {}", printable(target, 400),
                            printable(join_names(stuck), 400), stuck.size() == 1 ? "lies" : "lie", printable(old_folder, 400)));
  }
  if (!remove_folder(old_folder)) {
    throw Error(ErrorCode::kIo, fmt::format("{}: the new model is in place, but the old files in {} could not be removed",
                                            printable(target, 400), printable(old_folder, 400)));
  }
}

void move_into_place(const std::string& working, const std::string& target, const NamePredicate& is_model_file,
                     const std::string& aside_prefix) {
  const std::string skip = std::filesystem::path(working).filename().string();
  std::vector<std::string> fresh = all_files(working);
  const std::set<std::string> fresh_names(fresh.begin(), fresh.end());
  std::vector<std::string> replaced;
  for (const std::string& name : list_folder(target)) {
    if (name == skip) continue;
    if (is_real_folder(in(target, name))) {
      const bool whole = is_model_file && is_model_file(name + '/');
      std::vector<std::string> inside;
      if (whole || (is_model_file && is_real_folder(in(working, name)))) list_files(target, name + '/', inside);
      std::copy_if(inside.begin(), inside.end(), std::back_inserter(replaced),
                   [&](const std::string& n) { return whole || is_model_file(n); });
      continue;
    }
    if (fresh_names.contains(name) || (is_model_file && is_model_file(name))) replaced.push_back(name);
  }
  for (const std::string& name : fresh) {
    if (name.find('/') != std::string::npos && is_there(in(target, name)) &&
        std::find(replaced.begin(), replaced.end(), name) == replaced.end())
      replaced.push_back(name);
  }
  std::stable_partition(replaced.begin(), replaced.end(), [](const std::string& n) { return is_entry_point(n); });
  std::stable_partition(fresh.begin(), fresh.end(), [](const std::string& n) { return !is_entry_point(n); });

  std::string aside;
  if (!replaced.empty()) {
    aside = make_temporary_folder(aside_prefix);
    if (aside.empty()) throw_system_error(target, "cannot make a folder for the files that are replaced", errno);
  }
  Moves moves;
  std::vector<std::string> made, made_aside;
  try {
    for (const std::string& name : replaced) {
      make_parents(aside, name, made_aside);
      moves.move(in(target, name), in(aside, name));
    }
    for (const std::string& name : fresh) {
      make_parents(target, name, made);
      moves.move(in(working, name), in(target, name));
    }
    for (const std::string& folder : made) sync_folder(folder);
    sync_folder(target);
  } catch (const Error& error) {
    if (!moves.undo()) {
      throw Error(error.code(), fmt::format("{}; not all could be put back: files of the old model are in {}", error.what(),
                                            printable(aside.empty() ? target : aside, 400)));
    }
    for (auto folder = made.rbegin(); folder != made.rend(); ++folder) ::rmdir(folder->c_str());
    if (!aside.empty()) remove_folder(aside);
    throw;
  }
  if (!aside.empty() && !remove_folder(aside)) {
    throw Error(ErrorCode::kIo, fmt::format("{}: the new model is in place, but the old files in {} could not be removed",
                                            printable(target, 400), printable(aside, 400)));
  }
}

}  // namespace crucible
