#include "report/public_names.h"

#include <algorithm>
#include <set>

namespace crucible {
namespace {

// A path may start behind these, and behind nothing else: not inside a relative path, a URL or a word.
bool may_precede_path(char c) noexcept { return std::string_view(" \t\r\n\"'`([{=,+\x01\x03").find(c) != std::string_view::npos; }

// Inside an unquoted path of which nothing else is known.
bool is_path_char(char c) noexcept {
  return std::string_view(" \t\r\n\"'`()[]{}<>|,;:=+@\x01\x02\x03\x04").find(c) == std::string_view::npos;
}

// Can a name end before this character? "/a/b" is not part of "/a/bc", but of "/a/b/c" and "/a/b: ...".
bool ends_name(std::string_view text, std::size_t at) noexcept {
  if (at >= text.size()) return true;
  const char c = text[at];
  const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c < 0;
  if (word) return false;
  return c != '.' || at + 1 >= text.size() || !is_path_char(text[at + 1]) || text[at + 1] == '.';
}

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// The last `count` components; empty when there are fewer.
std::string last_components(const std::string& path, int count) {
  std::size_t at = path.size();
  for (int i = 0; i < count; ++i) {
    if (at == 0 || at == std::string::npos) return {};
    at = path.rfind('/', at - 1);
  }
  return at == std::string::npos ? std::string() : path.substr(at + 1);
}

}  // namespace

bool is_absolute_path(std::string_view text) noexcept { return text.starts_with('/') || text == "~" || text.starts_with("~/"); }

PublicNames::PublicNames(const std::vector<std::string>& names) {
  std::vector<std::string> absolute;
  std::set<std::string> taken;
  for (const std::string& name : names) {
    if (!is_absolute_path(name)) {
      taken.insert(name);
    } else if (std::string path = without_trailing_slashes(name); std::find(absolute.begin(), absolute.end(), path) == absolute.end()) {
      absolute.push_back(std::move(path));
    }
  }
  for (int count = 1; !absolute.empty(); ++count) {
    std::vector<std::string> left;
    for (const std::string& path : absolute) {
      const std::string name = last_components(path, count);
      const auto same =
          std::count_if(absolute.begin(), absolute.end(), [&](const std::string& p) { return last_components(p, count) == name; });
      if (name.empty()) {
        names_.emplace_back(path, "model");  // the root of the file system; or all is taken, which ends here
      } else if (same == 1 && taken.insert(name).second) {
        names_.emplace_back(path, name);
      } else {
        left.push_back(path);
      }
    }
    absolute = std::move(left);
  }
  std::sort(names_.begin(), names_.end(), [](const auto& a, const auto& b) {
    return a.first.size() != b.first.size() ? a.first.size() > b.first.size() : a.first < b.first;
  });
}

std::string PublicNames::publish(std::string_view text) const {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const bool may_start = (at == 0 || may_precede_path(text[at - 1])) && is_absolute_path(text.substr(at, 2));
    if (!may_start) {
      out += text[at++];
      continue;
    }
    const auto known = std::find_if(names_.begin(), names_.end(), [&](const auto& name) {
      return text.substr(at).starts_with(name.first) && ends_name(text, at + name.first.size());
    });
    if (known != names_.end()) {
      out += known->second;
      at += known->first.size();
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && is_path_char(text[end])) ++end;
    const std::string path = without_trailing_slashes(std::string(text.substr(at, end - at)));
    const bool is_path = std::count(path.begin(), path.end(), '/') >= (path.front() == '~' ? 1 : 2);
    out += is_path ? path.substr(path.rfind('/') + 1) : path;
    at = std::max(end, at + 1);
  }
  return out;
}

}  // namespace crucible
