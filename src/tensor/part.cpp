#include "crucible/part.h"

#include <fmt/format.h>

namespace crucible {

std::size_t part_of(const std::vector<ModelPart>& parts, std::string_view tensor_name) noexcept {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (name_in_folder(tensor_name, parts[i].folder).size() != tensor_name.size()) return i;
  }
  return 0;
}

std::string_view name_in_folder(std::string_view name, std::string_view folder) noexcept {
  const bool below = !folder.empty() && name.size() > folder.size() && name[folder.size()] == '/' && name.starts_with(folder);
  return below ? name.substr(folder.size() + 1) : name;
}

std::string name_below(std::string_view folder, std::string_view name) {
  return folder.empty() ? std::string(name) : fmt::format("{}/{}", folder, name);
}

}  // namespace crucible
