#include "plan/layout.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "checkpoint/index.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/select_weights.h"

namespace crucible {
namespace {

// Consecutive jobs of one part, in one file.
struct Shard {
  std::size_t part = 0;           // index into Plan::parts
  std::vector<std::size_t> jobs;  // indices
};

// In model order: a new shard begins where the next tensor would pass the limit, and with each part.
std::vector<Shard> split_shards(const Plan& plan) {
  const std::vector<ModelPart> parts = plan.model_parts();
  std::vector<Shard> shards;
  std::int64_t held = 0;
  for (std::size_t i = 0; i < plan.jobs.size(); ++i) {
    const std::int64_t bytes = plan.jobs[i].bytes;
    const std::size_t part = part_of(parts, plan.jobs[i].info.name);
    const bool full = plan.options.shard_bytes > 0 && held > 0 && held + bytes > plan.options.shard_bytes;
    if (shards.empty() || shards.back().part != part || full) {
      shards.push_back({part, {}});
      held = 0;
    }
    shards.back().jobs.push_back(i);
    held += bytes;
  }
  return shards;
}

// What the donor's weight files of a part are called.
std::string_view stem_of(const Plan& plan, std::size_t part) {
  const auto& files = plan.inputs[static_cast<std::size_t>(plan.donor)].checkpoint.files();
  const auto first = std::find_if(files.begin(), files.end(), [part](const WeightFile& f) { return f.part == part; });
  return weights_stem(first == files.end() ? std::string_view() : name_in_folder(first->name, plan.parts[part].folder));
}

// The file with its header; gives its jobs their places, and adds them to `order` by offset.
PlanFile lay_out_file(Plan& plan, const Shard& shard, std::string name, std::vector<std::size_t>& order) {
  PlanFile file;
  file.part = shard.part;
  file.name = std::move(name);
  const std::string& folder = plan.parts[shard.part].folder;
  std::vector<SafetensorsEntry> entries;
  entries.reserve(shard.jobs.size());
  std::unordered_map<std::string_view, std::size_t> job_of;
  for (const std::size_t j : shard.jobs) {
    const std::string_view own = name_in_folder(plan.jobs[j].info.name, folder);
    job_of[own] = j;
    entries.push_back({{std::string(own), plan.jobs[j].info.dtype, plan.jobs[j].info.shape}, 0, 0});
  }
  file.header = render_safetensors_header(entries, {{"format", "pt"}});
  file.bytes = static_cast<std::int64_t>(file.header.size());
  for (const SafetensorsEntry& e : entries) {
    order.push_back(job_of[e.info.name]);
    Job& job = plan.jobs[order.back()];
    job.file = static_cast<int>(plan.files.size());
    job.offset = static_cast<std::int64_t>(file.header.size()) + e.begin;
    file.bytes = std::max(file.bytes, job.offset + job.bytes);
  }
  return file;
}

std::string index_text(const Plan& plan, std::size_t part) {
  std::vector<std::pair<std::string_view, std::string_view>> file_of;
  std::int64_t bytes = 0;
  for (const Job& job : plan.jobs) {
    const PlanFile& file = plan.files[static_cast<std::size_t>(job.file)];
    if (file.part != part) continue;
    bytes += job.bytes;
    file_of.emplace_back(plan.name_in_file(job), name_in_folder(file.name, plan.parts[part].folder));
  }
  std::sort(file_of.begin(), file_of.end());
  return render_weight_index(bytes, file_of);
}

// The jobs in the order of `order`; each is moved once or twice.
void put_in_order(std::vector<Job>& jobs, std::vector<std::size_t> order) {
  for (std::size_t start = 0; start < order.size(); ++start) {
    if (order[start] == start) continue;
    Job first = std::move(jobs[start]);
    std::size_t at = start;
    while (order[at] != start) {
      jobs[at] = std::move(jobs[order[at]]);
      at = std::exchange(order[at], at);
    }
    jobs[at] = std::move(first);
    order[at] = at;
  }
}

}  // namespace

void lay_out(Plan& plan) {
  const std::vector<Shard> shards = split_shards(plan);
  std::vector<std::size_t> order;  // jobs by file and offset
  order.reserve(plan.jobs.size());
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    PlanPart& part = plan.parts[p];
    const std::string_view stem = stem_of(plan, p);
    part.index_name = name_below(part.folder, fmt::format("{}.safetensors.index.json", stem));
    const auto count = std::count_if(shards.begin(), shards.end(), [p](const Shard& s) { return s.part == p; });
    std::size_t number = 0;
    for (const Shard& shard : shards) {
      if (shard.part != p) continue;
      const std::string name =
          count == 1 ? fmt::format("{}.safetensors", stem) : fmt::format("{}-{:05}-of-{:05}.safetensors", stem, ++number, count);
      plan.files.push_back(lay_out_file(plan, shard, name_below(part.folder, name), order));
    }
  }
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    const auto count = std::count_if(plan.files.begin(), plan.files.end(), [p](const PlanFile& f) { return f.part == p; });
    if (count > 1) plan.parts[p].index_text = index_text(plan, p);
  }
  // Empty tensors begin where others do: those go by name.
  const auto before = [&jobs = plan.jobs](std::size_t a, std::size_t b) {
    const Job &x = jobs[a], &y = jobs[b];
    return x.file != y.file ? x.file < y.file : x.offset != y.offset ? x.offset < y.offset : x.info.name < y.info.name;
  };
  if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);
  put_in_order(plan.jobs, std::move(order));
}

}  // namespace crucible
