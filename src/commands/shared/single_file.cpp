#include "commands/shared/single_file.h"

#include <filesystem>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "io/file.h"
#include "io/folder_swap.h"
#include "io/system_calls.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kRecordLimit = std::int64_t{1} << 30;

fs::path parent_of(const std::string& file) { return fs::absolute(file).lexically_normal().parent_path(); }

// A folder that is removed with the object, whatever is in it.
class Temporary {
 public:
  explicit Temporary(const std::string& prefix) : path_(make_temporary_folder(prefix)) {
    if (path_.empty())
      throw Error(ErrorCode::kIo, fmt::format("{}: no folder can be made there", printable(parent_of(prefix).string(), 400)));
  }
  ~Temporary() { remove_folder(path_); }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

void check_target(const Plan& plan, const MergeRequest& request, const std::string& file) {
  Diagnostics refused;
  if (is_folder(file)) {
    refused.error({}, fmt::format("output file {}: a folder has this name", printable(file, 400)));
  } else if (path_exists(file) && request.existing == ExistingOutput::kRefuse) {
    refused.error({}, fmt::format("output file {}: exists", printable(file, 400)), "--overwrite replaces it, once the new one is complete");
  }
  for (const PlanInput& input : plan.inputs) {
    for (const WeightFile& weights : input.checkpoint.files()) {
      std::error_code failed;
      if (fs::equivalent(file, weights.path, failed))
        refused.error({}, fmt::format("output file {}: is an input", printable(file, 400)), "name another file");
    }
  }
  refused.throw_if_errors();
}

}  // namespace

bool asks_for_file(const std::string& path) { return path.ends_with(".safetensors"); }

std::string record_of_file(const std::string& file) { return file + ".crucible.json"; }

int run_into_file(const Plan& plan, const MergeRequest& request, const std::string& file, Talk talk) {
  if (plan.parts.size() > 1) {
    Diagnostics refused;
    refused.error({},
                  fmt::format("output file {}: the models are folders of several parts with weights of their own", printable(file, 400)),
                  "name a folder; parts become folders in it");
    refused.throw_if_errors();
  }
  CHECK(plan.files.size() == 1, "{} files", plan.files.size());
  check_target(plan, request, file);
  const fs::path parent = parent_of(file);
  std::error_code failed;
  fs::create_directories(parent, failed);
  const Temporary room((parent / ("." + fs::path(file).filename().string() + ".crucible-")).string());
  run_and_tell(plan, request, room.path(), talk, file);
  // The weights last: with them there the output is there.
  const fs::path made = room.path();
  for (const auto& [from, to] : {std::pair(made / kRecordName, record_of_file(file)), {made / plan.files.front().name, file}}) {
    fs::rename(from, to, failed);
    if (failed) throw Error(ErrorCode::kIo, fmt::format("{}: cannot be put in place: {}", printable(to, 400), failed.message()));
  }
  sync_folder(parent.string());
  return 0;
}

FolderOfFile::FolderOfFile(const std::string& file, const std::string& name_in_record)
    : path_(make_temporary_folder((fs::temp_directory_path() / "crucible-verify-").string())) {
  std::error_code failed;
  if (!path_.empty()) fs::create_symlink(fs::absolute(file), fs::path(path_) / name_in_record, failed);
  if (path_.empty() || failed)
    throw Error(ErrorCode::kIo, fmt::format("no link can be made in {}", printable(fs::temp_directory_path().string(), 400)));
}

FolderOfFile::~FolderOfFile() { remove_folder(path_); }

std::optional<Record> open_record_of_file(const std::string& file, Diagnostics& diagnostics) {
  const std::string path = record_of_file(file);
  if (!path_exists(path)) {
    diagnostics.error({}, fmt::format("{} is not there: {} was not written by Crucible, or its record was removed", printable(path, 400),
                                      printable(file, 400)));
    return std::nullopt;
  }
  try {
    // Its paths start from a folder beside the file.
    auto record = parse_record(read_small_file(path, kRecordLimit), path, (parent_of(file) / "-").string(), diagnostics);
    if (!record) return std::nullopt;
    const bool is_one = record->files.size() == 1 && fs::path(record->files.front().name).filename() == record->files.front().name;
    if (is_one) return record;
    diagnostics.error({path, 0, 0}, "this is not the record of one file");
  } catch (const Error& problem) {
    diagnostics.error({}, problem.what());
  }
  return std::nullopt;
}

}  // namespace crucible
