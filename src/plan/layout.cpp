#include "plan/layout.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/select_weights.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

// Job indices of each shard, in model order: a new shard begins where the next tensor would pass the limit.
std::vector<std::vector<std::size_t>> split_shards(const Plan& plan) {
  std::vector<std::vector<std::size_t>> shards;
  std::int64_t held = 0;
  for (std::size_t i = 0; i < plan.jobs.size(); ++i) {
    const std::int64_t bytes = plan.jobs[i].bytes;
    const bool full = plan.options.shard_bytes > 0 && !shards.empty() && held > 0 && held + bytes > plan.options.shard_bytes;
    if (shards.empty() || full) {
      shards.emplace_back();
      held = 0;
    }
    shards.back().push_back(i);
    held += bytes;
  }
  return shards;
}

// With a sorted map: an ordered object searches all its keys for each new one, and a model may have fifty thousand.
std::string index_text(const Plan& plan) {
  nlohmann::json index;
  index["metadata"]["total_size"] = plan.data_bytes();
  nlohmann::json& files = index["weight_map"] = nlohmann::json::object();
  for (const Job& job : plan.jobs) files[job.info.name] = plan.files[static_cast<std::size_t>(job.file)].name;
  return index.dump(2) + "\n";
}

}  // namespace

void lay_out(Plan& plan) {
  const auto shards = split_shards(plan);
  const auto& donor_files = plan.inputs[static_cast<std::size_t>(plan.donor)].checkpoint.files();
  const std::string_view stem = donor_files.empty() ? std::string_view("model") : weights_stem(donor_files.front().name);
  plan.index_name = fmt::format("{}.safetensors.index.json", stem);
  for (std::size_t s = 0; s < shards.size(); ++s) {
    std::vector<SafetensorsEntry> entries;
    std::unordered_map<std::string_view, std::size_t> job_of;
    for (const std::size_t j : shards[s]) {
      entries.push_back({plan.jobs[j].info, 0, 0});
      job_of[plan.jobs[j].info.name] = j;
    }
    PlanFile file;
    file.name =
        shards.size() == 1 ? fmt::format("{}.safetensors", stem) : fmt::format("{}-{:05}-of-{:05}.safetensors", stem, s + 1, shards.size());
    file.header = render_safetensors_header(entries, {{"format", "pt"}});
    file.bytes = static_cast<std::int64_t>(file.header.size());
    for (const SafetensorsEntry& e : entries) {
      Job& job = plan.jobs[job_of[e.info.name]];
      job.file = static_cast<int>(s);
      job.offset = static_cast<std::int64_t>(file.header.size()) + e.begin;
      file.bytes = std::max(file.bytes, job.offset + job.bytes);
    }
    plan.files.push_back(std::move(file));
  }
  std::sort(plan.jobs.begin(), plan.jobs.end(), [](const Job& a, const Job& b) {
    return a.file != b.file ? a.file < b.file : a.offset != b.offset ? a.offset < b.offset : a.info.name < b.info.name;
  });
  if (plan.files.size() > 1) plan.index_text = index_text(plan);
}

}  // namespace crucible
