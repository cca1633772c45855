#include "report/resume.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <tuple>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/text_util.h"
#include "checkpoint/safetensors.h"
#include "io/file.h"
#include "report/record.h"
#include "run/content_hash.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

using Time = std::pair<std::int64_t, std::int64_t>;  // seconds, nanoseconds

// When a file's content last changed, or the file became what it is.
Time last_change(const std::string& path) {
  struct stat there {};
  if (::stat(path.c_str(), &there) != 0) return {INT64_MAX, 0};
  return std::max(Time{there.st_mtim.tv_sec, there.st_mtim.tv_nsec}, Time{there.st_ctim.tv_sec, there.st_ctim.tv_nsec});
}

Time last_written(const std::string& path) {
  struct stat there {};
  if (::stat(path.c_str(), &there) != 0) return {INT64_MIN, 0};
  return {there.st_mtim.tv_sec, there.st_mtim.tv_nsec};
}

std::string changed_input(const Plan& plan, const std::string& record_path) {
  const Time written = last_written(record_path);
  for (const PlanInput& input : plan.inputs) {
    for (const WeightFile& file : input.checkpoint.files()) {
      if (last_change(file.path) > written) return fmt::format("{} of {} is younger", printable(file.name), printable(input.ref.text()));
    }
  }
  return {};
}

std::string changed_weights(const std::string& folder, const Record::File& recorded) {
  const std::string path = (fs::path(folder) / recorded.name).string();
  const std::string name = printable(recorded.name);
  if (!path_exists(path)) return name + " is missing";
  try {
    const auto file = open_for_read(path);
    if (file->size() != recorded.bytes) return fmt::format("{} has {} bytes, not {}", name, file->size(), recorded.bytes);
    std::string text;
    read_safetensors_header(*file, &text);
    return hash128_hex(text) == recorded.header_hash ? std::string() : name + " has another header";
  } catch (const Error& problem) {
    return fmt::format("{} cannot be read: {}", name, problem.what());
  }
}

std::string changed_files(const std::string& folder, const Record& record, const Plan& plan) {
  for (const Record::File& file : record.files) {
    if (std::string why = changed_weights(folder, file); !why.empty()) return why;
  }
  for (const Record::File& file : record.companions) {
    if (file.name == "README.md") continue;  // there to be edited
    const std::string path = (fs::path(folder) / file.name).string();
    if (!path_exists(path)) return printable(file.name) + " is missing";
    if (hash_file(path) != file.content_hash) return printable(file.name) + " was changed";
  }
  for (const std::string& name : plan.companions) {
    if (std::none_of(record.companions.begin(), record.companions.end(), [&](const Record::File& f) { return f.name == name; }))
      return printable(name) + " is missing";
  }
  return {};
}

}  // namespace

bool is_output_of(const Plan& plan, const std::string& folder) {
  Diagnostics problems;
  const auto record = open_record(folder, problems);
  return record && record->plan_digest == plan.digest;
}

std::string why_not_done(const Plan& plan, const std::string& folder) {
  Diagnostics problems;
  const auto record = open_record(folder, problems);
  if (!record) return "there is no whole record";
  if (record->plan_digest != plan.digest) return "its record is that of another merge";
  if (std::string why = changed_input(plan, (fs::path(folder) / kRecordName).string()); !why.empty()) return why;
  return changed_files(folder, *record, plan);
}

}  // namespace crucible
