#include "run/skeleton.h"

#include <filesystem>

#include <fmt/format.h>

#include "io/file.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_small_file(path.string(), text);
}

}  // namespace

void write_skeleton(const Plan& plan, const std::string& folder) {
  const fs::path root = folder;
  try {
    for (const PlanFile& file : plan.files) {
      write_text(root / file.name, file.header);
      fs::resize_file(root / file.name, static_cast<std::uintmax_t>(file.bytes));
    }
    for (const auto& [name, text] : plan.made_files()) write_text(root / name, *text);
    const fs::path donor = fs::absolute(plan.inputs[static_cast<std::size_t>(plan.donor)].path);
    for (const std::string& name : plan.companions) {
      fs::create_directories((root / name).parent_path());
      fs::create_symlink(donor / name, root / name);
    }
  } catch (const fs::filesystem_error& problem) {
    throw Error(ErrorCode::kIo, fmt::format("{}: {}", folder, problem.code().message()));
  }
}

}  // namespace crucible
