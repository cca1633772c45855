// Local folders as others may see them: without the path to them. Model cards, reports and published recipes name no absolute path.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crucible {

class PublicNames {
 public:
  // The models as they are referred to (paths, Hub ids) and the folders they lie in. Absolute ones ("/a/b", "~/b") get their last
  // component as a name, or as many as tell them apart from the others.
  explicit PublicNames(const std::vector<std::string>& names);

  // The text with the known folders renamed, and every other absolute path (of two components or more) cut to its last component.
  std::string publish(std::string_view text) const;

 private:
  std::vector<std::pair<std::string, std::string>> names_;  // absolute path -> name; longest first
};

bool is_absolute_path(std::string_view text) noexcept;

}  // namespace crucible
