#include "io/output_folder.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "base/units.h"
#include "crucible/error.h"
#include "io/folder_swap.h"
#include "io/page_buffer.h"
#include "io/system_calls.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

// What is on disk and not committed. The mutex is held through a commit, so that nobody removes a folder that is being swapped.
struct Uncommitted {
  const OutputFolder* owner;
  std::string working;
  std::vector<std::string> made_parents;
};
struct Registry {
  std::mutex mutex;
  std::vector<Uncommitted> items;
};
Registry& registry() {
  static Registry r;
  return r;
}

void discard(const Uncommitted& item) noexcept {
  remove_folder(item.working);
  // Only those that are empty go; anything that others put there stays.
  for (auto it = item.made_parents.rbegin(); it != item.made_parents.rend(); ++it) ::rmdir(it->c_str());
}

[[noreturn]] void refuse(const std::string& path, std::string_view why) {
  throw Error(ErrorCode::kInput, fmt::format("output folder {}: {}", printable(path, 400), why));
}

bool same_entry(const struct stat& a, const struct stat& b) noexcept { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

// Is `entry` the folder `path` or one of the folders above it?
bool is_at_or_above(const struct stat& entry, const fs::path& path) {
  for (fs::path p = path;; p = p.parent_path()) {
    struct stat here {};
    if (::stat(p.c_str(), &here) == 0 && same_entry(here, entry)) return true;
    if (!p.has_relative_path()) return false;
  }
}

bool is_mount_point(const std::string& path, const struct stat& folder) noexcept {
  struct statx facts {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, 0, &facts) == 0 && (facts.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0) {
    return (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  }
  struct stat parent {};
  return ::stat((path + "/..").c_str(), &parent) == 0 && parent.st_dev != folder.st_dev;
}

// A target that is swapped as a whole must leave nobody behind in the old folder, and its parent must take a new entry.
bool can_be_swapped(const std::string& resolved, const struct stat& folder) {
  if (is_mount_point(resolved, folder)) return false;
  if (::access((resolved + "/..").c_str(), W_OK | X_OK) != 0) return false;
  std::error_code unknown;
  const fs::path working_directory = fs::current_path(unknown);
  return unknown || !is_at_or_above(folder, working_directory);
}

// Makes the missing folders of `path`, outermost first, and notes them.
void make_folders(const fs::path& path, std::vector<std::string>& made) {
  if (is_folder(path.string())) return;
  if (path.has_relative_path()) make_folders(path.parent_path(), made);
  if (system_calls().make_folder(path.c_str(), 0777) == 0) {
    made.push_back(path.string());
  } else if (errno != EEXIST || !is_folder(path.string())) {
    const int failed = errno;
    if (failed == EEXIST) refuse(path.string(), "exists and is not a folder");
    throw_system_error(path.string(), "cannot make the folder", failed);
  }
}

}  // namespace

bool is_occupied_folder(const std::string& path) {
  if (!is_folder(path)) return false;
  const std::vector<std::string> names = list_folder(path);
  return std::any_of(names.begin(), names.end(), [](const std::string& n) { return n != "lost+found"; });
}

bool is_plain_relative_name(std::string_view name) noexcept {
  if (name.find('\0') != std::string_view::npos) return false;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

OutputFolder::OutputFolder(std::string target, Existing existing, std::function<bool(const std::string&)> is_model_file)
    : target_(std::move(target)), is_model_file_(std::move(is_model_file)), existing_(existing) {
  if (target_.empty() || target_.find('\0') != std::string::npos) refuse(target_, "is no path");
  fs::path path = fs::absolute(target_);
  while (!path.has_filename() && path.has_relative_path()) path = path.parent_path();  // trailing slashes

  struct stat there {};
  Uncommitted mine{this, {}, {}};
  try {
    if (::stat(path.c_str(), &there) == 0) {
      if (!S_ISDIR(there.st_mode)) refuse(target_, "exists and is not a folder");
      resolved_ = fs::canonical(path).string();
      if (existing == Existing::kRefuse && is_occupied_folder(resolved_)) refuse(target_, "exists and is not empty");
      inside_ = !can_be_swapped(resolved_, there);
    } else {
      if (errno != ENOENT) refuse(target_, std::generic_category().message(errno));
      if (::lstat(path.c_str(), &there) == 0) refuse(target_, "is a link to a folder that does not exist");
      if (path.filename() == "." || path.filename() == "..") refuse(target_, "does not exist");
      make_folders(path.parent_path(), mine.made_parents);
      resolved_ = (fs::canonical(path.parent_path()) / path.filename()).string();
    }
    // The name of the temporary folder starts with the target's, cut so that it stays a legal name.
    const fs::path as_path(resolved_);
    const std::string beside = (as_path.parent_path() / fmt::format(".{}.crucible-", as_path.filename().string().substr(0, 200))).string();
    const std::string within = resolved_ + "/.crucible-";
    mine.working = make_temporary_folder(inside_ ? within : beside);
    int failed = errno;
    if (mine.working.empty() && !inside_ && is_folder(resolved_)) {  // a parent that takes no entries for reasons access(2) cannot see
      inside_ = true;
      mine.working = make_temporary_folder(within);
      failed = errno;
    }
    if (mine.working.empty()) throw_system_error(target_, "cannot make a folder to work in", failed);
  } catch (const fs::filesystem_error& error) {
    discard(mine);
    throw_system_error(target_, "cannot use as output folder", error.code().value());
  } catch (...) {
    discard(mine);
    throw;
  }
  working_ = mine.working;
  const std::lock_guard lock(registry().mutex);
  registry().items.push_back(std::move(mine));
}

OutputFolder::~OutputFolder() {
  const std::lock_guard lock(registry().mutex);
  std::vector<Uncommitted>& items = registry().items;
  const auto mine = std::find_if(items.begin(), items.end(), [this](const Uncommitted& u) { return u.owner == this; });
  if (mine == items.end()) return;
  discard(*mine);
  items.erase(mine);
}

void OutputFolder::protect(const std::string& input) const {
  struct stat in {};
  if (::stat(input.c_str(), &in) != 0) return;  // who reads it reports that
  std::error_code failed;
  const fs::path input_path = fs::canonical(input, failed);
  if (failed) return;
  const std::string shown = printable(input, 400);
  struct stat out {};
  if (::stat(resolved_.c_str(), &out) == 0) {
    if (same_entry(in, out)) refuse(target_, fmt::format("is the input model {}; choose another folder", shown));
    if (is_at_or_above(out, input_path)) refuse(target_, fmt::format("holds the input model {}; choose another folder", shown));
  }
  if (S_ISDIR(in.st_mode) && is_at_or_above(in, resolved_))
    refuse(target_, fmt::format("lies inside the input model {}; choose another folder", shown));
}

void OutputFolder::check_space(std::int64_t bytes) const {
  struct statvfs room {};
  if (::statvfs(working_.c_str(), &room) != 0) throw_system_error(working_, "cannot ask for free space", errno);
  const auto free_bytes = static_cast<std::int64_t>(room.f_bavail) * static_cast<std::int64_t>(room.f_frsize);
  if (free_bytes >= bytes) return;
  throw Error(ErrorCode::kNoSpace, fmt::format("{}: the model needs {} ({} bytes), the disk has {} ({} bytes) free",
                                               printable(target_, 400), render_bytes(bytes), bytes, render_bytes(free_bytes), free_bytes));
}

std::unique_ptr<WriteFile> OutputFolder::create(const std::string& name, std::int64_t size) {
  CHECK(!committed_ && is_plain_relative_name(name), "file name {}", name);
  for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string folder = working_ + "/" + name.substr(0, slash);
    if (is_folder(folder)) continue;
    if (system_calls().make_folder(folder.c_str(), 0777) != 0) throw_system_error(folder, "cannot make the folder", errno);
    subfolders_.push_back(folder);
  }
  return create_for_write(working_ + "/" + name, size);
}

void OutputFolder::add_small_file(const std::string& name, std::string_view content) {
  const auto file = create(name, static_cast<std::int64_t>(content.size()));
  file->write_at(0, content.data(), content.size());
  file->sync_and_close();
}

void OutputFolder::copy_file(const std::string& source, const std::string& name) {
  constexpr std::int64_t kPiece = std::int64_t{4} << 20;
  const auto from = open_for_read(source);
  const auto to = create(name, from->size());
  PageBuffer buffer;
  for (std::int64_t at = 0; at < from->size(); at += kPiece) {
    const auto n = static_cast<std::size_t>(std::min(kPiece, from->size() - at));
    std::byte* bytes = buffer.place(at, std::min(kPiece, from->size()));
    from->read_at(at, bytes, n);
    to->write_at(at, bytes, n);
  }
  from->check_unchanged();
  to->sync_and_close();
}

void OutputFolder::commit() {
  CHECK(!committed_, "{} is committed", target_);
  for (const std::string& folder : subfolders_) sync_folder(folder);
  sync_folder(working_);
  const std::lock_guard lock(registry().mutex);
  std::vector<Uncommitted>& items = registry().items;
  const auto mine = std::find_if(items.begin(), items.end(), [this](const Uncommitted& u) { return u.owner == this; });
  if (mine == items.end()) throw Error(ErrorCode::kInterrupted, fmt::format("{}: was abandoned", printable(target_, 400)));
  const auto done = [&] {
    items.erase(mine);
    committed_ = true;
  };
  if (is_folder(resolved_)) check_no_folder_in_the_way(working_, resolved_);
  if (!inside_) {
    struct stat old {};
    if (::stat(resolved_.c_str(), &old) == 0) static_cast<void>(::chmod(working_.c_str(), (old.st_mode & 07777) | S_IRWXU));
    if (rename_into_place(working_, resolved_)) return done();
    if (existing_ == Existing::kRefuse) refuse(target_, "was empty and no longer is: another program writes there");
    const std::string old_folder = swap_folders(working_, resolved_);
    if (!old_folder.empty()) {
      done();  // from here on the temporary folder may hold the user's old files
      return carry_over(old_folder, resolved_, is_model_file_);
    }
  } else if (existing_ == Existing::kRefuse) {
    for (const std::string& name : list_folder(resolved_)) {
      const std::string path = resolved_ + "/" + name;
      if (path != working_ && name != "lost+found") refuse(target_, "was empty and no longer is: another program writes there");
    }
  }
  move_into_place(working_, resolved_, is_model_file_, working_ + "-old-");
  done();
  if (!remove_folder(working_)) throw_system_error(working_, "the model is in place, but this folder could not be removed", ENOTEMPTY);
}

void abandon_all_outputs() noexcept {
  const std::lock_guard lock(registry().mutex);
  for (const Uncommitted& item : registry().items) discard(item);
  registry().items.clear();
}

}  // namespace crucible
