#include "report/verify.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "audit/judge.h"
#include "base/hash.h"
#include "base/text_util.h"
#include "base/units.h"
#include "io/file.h"
#include "report/verify_files.h"
#include "run/content_hash.h"
#include "run/tensor_hash.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

// Smaller outputs are computed again whole; of larger ones this share, and no less than this much.
constexpr std::int64_t kWholeBytes = std::int64_t{64} << 20;
constexpr double kSampleShare = 0.05;

// Does the record describe something else than what lies here? Then every difference would be listed, and none would help.
std::string other_output(const Record& record, const Verification& found) {
  std::set<std::string> bad_files, bad_tensors;
  for (const Wrong& w : found.wrong) {
    if (w.kind == Wrong::Kind::kFile) bad_files.insert(w.name);
    if (w.kind == Wrong::Kind::kTensor) bad_tensors.insert(w.name);
  }
  const bool no_file =
      std::all_of(record.files.begin(), record.files.end(), [&](const Record::File& f) { return bad_files.contains(f.name); });
  const bool others = std::any_of(bad_files.begin(), bad_files.end(), [&](const std::string& name) {
    return std::none_of(record.files.begin(), record.files.end(), [&](const Record::File& f) { return f.name == name; });
  });
  if (no_file && others) return "none of its weight files is here, and others are";
  std::size_t merged = 0, merged_bad = 0;
  for (const Record::Tensor& t : record.tensors) {
    if (t.copied || std::count(t.shape.begin(), t.shape.end(), 0) > 0) continue;
    ++merged;
    merged_bad += bad_tensors.contains(t.name) ? 1u : 0u;
  }
  if (merged < 2 || merged_bad < merged) return {};
  return no_file ? "no weight file and no merged tensor is the one that it describes" : "no merged tensor is the one that it describes";
}

struct InputCheck {
  Verification& found;
  const RunOptions& run;

  void changed(const Record::Input& input, std::string text) const {
    found.wrong.push_back({Wrong::Kind::kInput, input.model, fmt::format("input {}: {}", printable(input.model), std::move(text))});
  }

  void check_one(const Record::Input& input, const Checkpoint& now) const {
    const std::size_t before = found.wrong.size();
    std::map<std::string, const WeightFile*> there;
    for (const WeightFile& f : now.files()) there.emplace(f.name, &f);
    bool content = !input.files.empty();
    for (const Record::File& f : input.files) {
      const auto it = there.find(f.name);
      content = content && !f.content_hash.empty();
      if (it == there.end()) {
        changed(input, fmt::format("{} is missing", printable(f.name)));
      } else if (it->second->size_bytes != f.bytes) {
        changed(input, fmt::format("{} has {} bytes, it had {} when it was merged", printable(f.name), it->second->size_bytes, f.bytes));
      } else if (it->second->header_hash != f.header_hash) {
        changed(input, fmt::format("{} has another header than when it was merged", printable(f.name)));
      }
    }
    for (const auto& [name, file] : there) {
      if (std::none_of(input.files.begin(), input.files.end(), [&n = name](const Record::File& f) { return f.name == n; }))
        changed(input, fmt::format("{} was not there when it was merged", printable(name)));
    }
    if (!content || found.wrong.size() > before) return;
    const auto hashes = hash_weight_files(now, run.threads > 0 ? run.threads : default_threads(), run.stop);
    for (std::size_t i = 0; i < hashes.size(); ++i) {
      for (const Record::File& f : input.files) {
        if (f.name == now.files()[i].name && f.content_hash != hashes[i])
          changed(input, fmt::format("the data of {} changed since it was merged", printable(f.name)));
      }
    }
    ++found.inputs_hashed;
  }
};

// Number, text or list that differs, with its place, or nothing. Only what both have is compared.
std::string first_difference(const Json& recorded, const Json& now, const std::string& path) {
  if (recorded.is_object() && now.is_object()) {
    for (const auto& [key, value] : recorded.items()) {
      if (!now.contains(key)) continue;
      if (std::string d = first_difference(value, now[key], fmt::format("{}.{}", path, key)); !d.empty()) return d;
    }
    return {};
  }
  if (recorded.is_array() && now.is_array() && recorded.size() == now.size()) {
    for (std::size_t i = 0; i < recorded.size(); ++i) {
      if (std::string d = first_difference(recorded[i], now[i], fmt::format("{}[{}]", path, i)); !d.empty()) return d;
    }
    return {};
  }
  if (recorded == now) return {};
  const auto shown = [](const Json& j) { return printable(j.dump(-1, ' ', false, Json::error_handler_t::replace), 60); };
  return fmt::format("{} is recorded as {} and measures {}", path, shown(recorded), shown(now));
}

Plan plan_again(const Record& record, const VerifyOptions& options, Diagnostics& diagnostics) {
  ReadOptions read;
  read.count = RecipeCount::kSeveral;
  read.paths = record.paths;
  read.unused = UnusedPolicy::kNotice;  // the merge that wrote the record has decided
  const Recipe recipe = parse_recipe(record.recipe_text, record.recipe_file, read, diagnostics);
  if (diagnostics.has_errors()) return {};
  PlanOptions plan_with;
  // What the user says now comes before where the models were then.
  plan_with.model_dirs = options.model_dirs;
  const auto recorded = record.model_dirs();
  plan_with.model_dirs.insert(plan_with.model_dirs.end(), recorded.begin(), recorded.end());
  plan_with.seed = record.seed;
  plan_with.shard_bytes = record.shard_bytes;
  plan_with.missing = record.missing;
  plan_with.copy_from = record.companions_from;
  plan_with.copy_companions = false;  // the copies are held against their hashes
  return make_plan(recipe, plan_with, diagnostics);
}

// Does the plan write what the record lists?
std::string plan_difference(const Plan& plan, const Record& record) {
  if (plan.jobs.size() != record.tensors.size()) {
    return fmt::format("the recipe now makes {}, the record lists {}", render_count(static_cast<std::int64_t>(plan.jobs.size()), "tensor"),
                       record.tensors.size());
  }
  std::map<std::string_view, const Record::Tensor*> recorded;
  for (const Record::Tensor& t : record.tensors) recorded.emplace(t.name, &t);
  for (const Job& job : plan.jobs) {
    const auto it = recorded.find(job.info.name);
    if (it == recorded.end())
      return fmt::format("the recipe now makes tensor {}, which the record does not list", printable(job.info.name));
    if (it->second->shape != job.info.shape || it->second->dtype != facts(job.info.dtype).name)
      return fmt::format("the recipe now makes tensor {} of another type or shape", printable(job.info.name));
  }
  if (plan.digest != record.plan_digest && record.program_version == CRUCIBLE_VERSION) {
    return "the plan differs from the one that was run, though the inputs' weights look the same: another config.json of an input, or a "
           "record whose recipe, seed or shard size is another's";
  }
  return {};
}

void recompute(const std::string& folder, const Record& record, const Plan& plan, const VerifyOptions& options, Verification& found) {
  RunOptions run = options.run;
  found.bytes_total = plan.data_bytes();
  const bool whole = options.depth == VerifyDepth::kAll || found.bytes_total <= kWholeBytes;
  if (!whole)
    run.selection = sample_of(plan, std::max(kSampleShare, static_cast<double>(kWholeBytes) / static_cast<double>(found.bytes_total)));
  // As the merge was: what it did not measure cannot be compared.
  const bool audited = record.json.value("audit", Json::object()).value("on", true);
  run.measuring = audited ? Measuring::kAudit : Measuring::kCounts;
  RunResult result;
  const Comparison comparison = compare_with(plan, folder, run, options.progress, &result);
  found.recomputed = true;
  found.bytes_compared = comparison.bytes_compared;
  std::set<std::string> known;
  for (const Wrong& w : found.wrong) known.insert(w.name);
  for (const std::string& name : comparison.differing) {
    if (known.contains(name)) continue;  // its hash told already
    found.wrong.push_back({Wrong::Kind::kRecomputed, name, fmt::format("tensor {} differs from the recomputed one", printable(name))});
  }
  for (const std::string& problem : comparison.problems) {
    if (found.wrong.empty()) found.wrong.push_back({Wrong::Kind::kFile, {}, problem});
  }
  const RunSummary summary = summarize(plan, result, audited ? judge(plan, result) : Verdict{});
  for (const std::string& wrong : contradictions(plan, summary.verdict)) found.wrong.push_back({Wrong::Kind::kMeasured, {}, wrong});
  if (!whole || !comparison.equal()) return;
  // The same bytes were computed from the same inputs: every number that was measured must come out again.
  Written nothing;
  nothing.tensor_hashes.resize(plan.jobs.size());
  const Json now = make_record(plan, result, summary, nothing, {}, folder);
  if (const std::string d = first_difference(record.json.value("measured", Json()), now["measured"], "measured"); !d.empty())
    found.wrong.push_back({Wrong::Kind::kMeasured, "measured", d});
}

// Opens every input that is where it was or where the user says, and compares it with the record.
void verify_inputs(const Record& record, const VerifyOptions& options, Verification& found) {
  for (const Record::Input& input : record.inputs) {
    std::string path = input.path;
    for (auto it = options.model_dirs.rbegin(); it != options.model_dirs.rend(); ++it) {
      if (it->first == input.id || it->first == input.model) path = it->second;
    }
    if (!path_exists(path)) {
      found.missing.push_back(input.model);
      continue;
    }
    const InputCheck check{found, options.run};
    Diagnostics problems;
    const Checkpoint now = Checkpoint::open(path, problems);
    ++found.inputs;
    if (problems.has_errors()) {
      check.changed(input, fmt::format("cannot be opened: {}", problems.items().front().message));
    } else {
      check.check_one(input, now);
    }
  }
}

}  // namespace

std::string_view to_string(Wrong::Kind kind) noexcept {
  switch (kind) {
    case Wrong::Kind::kFile: return "file";
    case Wrong::Kind::kTensor: return "tensor";
    case Wrong::Kind::kCompanion: return "companion";
    case Wrong::Kind::kInput: return "input";
    case Wrong::Kind::kRecomputed: return "recomputed";
    case Wrong::Kind::kMeasured: return "measured";
  }
  return "";
}

std::function<bool(std::size_t, std::int64_t)> sample_of(const Plan& plan, double share) {
  const auto draw = [&plan](std::string_view name, std::int64_t chunk) {
    return static_cast<double>(hash64(fmt::format("{} {} {}", plan.digest, name, chunk)) >> 11) * 0x1p-53;
  };
  std::vector<std::set<std::int64_t>> chosen(plan.jobs.size());
  for (std::size_t j = 0; j < plan.jobs.size(); ++j) {
    const Job& job = plan.jobs[j];
    bool reads_once = true;
    if (job.kind == Job::Kind::kMerge) {
      const BoundParams params = bind_params(job);
      reads_once = plan.method->make_kernel(kernel_spec(job, params, 0))->first() == Next::kMap;
    }
    const std::int64_t chunks = output_chunks(job);
    if (!reads_once) {
      // Every pass reads the whole tensor, so the output may as well be compared whole.
      if (draw(job.info.name, -1) < share) {
        for (std::int64_t c = 0; c < chunks; ++c) chosen[j].insert(c);
      }
      continue;
    }
    if (chunks > 0) chosen[j].insert(static_cast<std::int64_t>(draw(job.info.name, -1) * static_cast<double>(chunks)));
    for (std::int64_t c = 0; c < chunks; ++c) {
      if (draw(job.info.name, c) < share) chosen[j].insert(c);
    }
  }
  if (std::all_of(chosen.begin(), chosen.end(), [](const auto& c) { return c.empty(); })) {
    for (std::int64_t c = 0; c < output_chunks(plan.jobs.front()); ++c) chosen.front().insert(c);
  }
  return [chosen = std::move(chosen)](std::size_t job, std::int64_t chunk) { return chosen[job].contains(chunk); };
}

Verification verify_output(const std::string& folder, const Record& record, const VerifyOptions& options, Diagnostics& diagnostics) {
  Verification found;
  verify_weight_files(folder, record, options.run, found);
  if (const std::string why = other_output(record, found); !why.empty()) {
    diagnostics.error({folder + "/" + kRecordName, 0, 0}, fmt::format("this is the record of another output: {}", why));
    return found;
  }
  verify_companions(folder, record, found);
  if (options.depth == VerifyDepth::kHashes) return found;

  verify_inputs(record, options, found);
  const bool inputs_changed =
      std::any_of(found.wrong.begin(), found.wrong.end(), [](const Wrong& w) { return w.kind == Wrong::Kind::kInput; });
  if (!found.missing.empty() || inputs_changed) return found;
  const Plan plan = plan_again(record, options, diagnostics);
  if (diagnostics.has_errors()) return found;
  if (record.program_version != CRUCIBLE_VERSION) {
    found.remarks.push_back(fmt::format("the merge was made by crucible {}, this is {}: the bytes may differ for that reason alone",
                                        printable(record.program_version), CRUCIBLE_VERSION));
  }
  if (const std::string d = plan_difference(plan, record); !d.empty()) {
    found.wrong.push_back({Wrong::Kind::kInput, {}, d});
    return found;
  }
  recompute(folder, record, plan, options, found);
  return found;
}

}  // namespace crucible
