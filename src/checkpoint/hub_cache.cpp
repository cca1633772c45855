#include "checkpoint/hub_cache.h"

#include <algorithm>
#include <cstdlib>

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/text_util.h"
#include "checkpoint/index.h"
#include "crucible/error.h"
#include "io/file.h"
#include "io/folder_swap.h"

namespace crucible {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string{} : std::string(value);
}

bool is_name_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

bool is_hub_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > 96) return false;
  if (!std::all_of(name.begin(), name.end(), is_name_char)) return false;
  const auto is_edge = [](char c) { return c == '-' || c == '.'; };
  return !is_edge(name.front()) && !is_edge(name.back()) && name.find("--") == std::string_view::npos &&
         name.find("..") == std::string_view::npos && !name.ends_with(".git");
}

bool is_commit(std::string_view text) noexcept {
  return text.size() == 40 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::vector<std::string> names_in(const std::string& folder) {
  try {
    return is_folder(folder) ? list_folder(folder) : std::vector<std::string>{};
  } catch (const Error&) {
    return {};
  }
}

std::string stripped(std::string text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && is_blank(text.back())) text.pop_back();
  return text;
}

bool is_link(const std::string& path) noexcept {
  struct stat there {};
  return ::lstat(path.c_str(), &there) == 0 && S_ISLNK(there.st_mode);
}

// What a snapshot lacks, as far as links and the index tell; empty when it is complete.
std::string find_gap(const std::string& snapshot, const std::string& repository) {
  std::vector<std::string> dangling;
  const std::vector<std::string> names = names_in(snapshot);
  for (const std::string& name : names) {
    const std::string path = fmt::format("{}/{}", snapshot, name);
    if (is_link(path) && !path_exists(path)) dangling.push_back(printable(name));
  }
  if (!dangling.empty())
    return fmt::format("{} to files that do not exist: {}", dangling.size() == 1 ? "a link leads" : "links lead", join_names(dangling, 4));
  std::vector<std::string> missing;
  try {
    const std::string index = snapshot + "/model.safetensors.index.json";
    if (path_exists(index)) {
      for (const std::string& file : parse_weight_index(read_small_file(index, kMaxIndexBytes)).files) {
        if (!path_exists(fmt::format("{}/{}", snapshot, file))) missing.push_back(printable(file));
      }
    }
  } catch (const Error&) {
    return {};  // who opens the model says what is wrong with the index
  }
  if (!missing.empty() && !path_exists(snapshot + "/model.safetensors")) return fmt::format("missing: {}", join_names(missing, 4));
  const auto is_weight = [](const std::string& n) {
    return n.ends_with(".safetensors") || n.ends_with(".bin") || n.ends_with(".gguf") || n.ends_with(".pth") || n.ends_with(".pt");
  };
  if (std::any_of(names.begin(), names.end(), is_weight)) return {};
  const std::vector<std::string> blobs = names_in(repository + "/blobs");
  const bool interrupted = std::any_of(blobs.begin(), blobs.end(), [](const std::string& n) { return n.ends_with(".incomplete"); });
  return interrupted ? "the weights are missing (a download was interrupted)" : "the weights are missing";
}

}  // namespace

std::string expand_path(std::string_view path) {
  std::string out;
  std::size_t i = 0;
  if (path == "~" || path.starts_with("~/")) {
    out = environment("HOME");
    i = 1;
  }
  while (i < path.size()) {
    if (path[i] != '$') {
      out += path[i++];
      continue;
    }
    const bool braces = i + 1 < path.size() && path[i + 1] == '{';
    std::size_t end = i + (braces ? 2 : 1);
    const std::size_t begin = end;
    while (end < path.size() && is_name_char(path[end]) && path[end] != '.' && path[end] != '-') ++end;
    const bool closed = !braces || (end < path.size() && path[end] == '}');
    const std::string name(path.substr(begin, end - begin));
    if (name.empty() || !closed || std::getenv(name.c_str()) == nullptr) {
      out += path[i++];
      continue;
    }
    out += environment(name.c_str());
    i = end + (braces ? 1 : 0);
  }
  return out;
}

std::string hub_cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string value = environment(name); !value.empty()) return expand_path(value);
  }
  if (const std::string value = environment("HF_HOME"); !value.empty()) return expand_path(value) + "/hub";
  if (const std::string value = environment("XDG_CACHE_HOME"); !value.empty()) return expand_path(value) + "/huggingface/hub";
  return expand_path("~/.cache/huggingface/hub");
}

bool is_hub_id(std::string_view text) noexcept {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_hub_name(text);
  return is_hub_name(text.substr(0, slash)) && is_hub_name(text.substr(slash + 1)) && text.size() <= 96;
}

HubLookup find_in_hub_cache(const std::string& cache, const std::string& id, const std::string& revision) {
  HubLookup found;
  std::string folder = "models--" + id;
  if (const std::size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  found.repository = cache + "/" + folder;
  if (!is_folder(found.repository)) {
    found.problem = "no such folder";
    return found;
  }
  found.found_something = true;
  const std::string wanted = revision.empty() ? "main" : revision;
  std::string commit = wanted;
  if (!is_commit(wanted)) {
    if (!check_weight_file_name(wanted).empty()) {
      found.problem = fmt::format("\"{}\" is no revision", printable(wanted));
      return found;
    }
    const std::string ref = found.repository + "/refs/" + wanted;
    if (!path_exists(ref) || is_folder(ref)) {
      const std::vector<std::string> commits = names_in(found.repository + "/snapshots");
      found.problem = fmt::format(
          "revision \"{}\" is not there; {}", printable(wanted),
          commits.empty() ? std::string("the cache has no snapshot of the model") : "it has the commits " + join_names(commits, 4));
      return found;
    }
    commit = stripped(read_small_file(ref, 4096));
    if (!is_commit(commit)) {
      found.problem = fmt::format("refs/{} holds no commit id", printable(wanted));
      return found;
    }
  }
  const std::string snapshot = found.repository + "/snapshots/" + commit;
  if (!is_folder(snapshot)) {
    found.problem = fmt::format("the snapshot {} is not there", commit);
    return found;
  }
  if (const std::string gap = find_gap(snapshot, found.repository); !gap.empty()) {
    found.problem = fmt::format("the snapshot {} is incomplete: {}", commit, gap);
    return found;
  }
  found.folder = snapshot;
  return found;
}

}  // namespace crucible
