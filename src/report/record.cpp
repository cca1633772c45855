#include "report/record.h"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/file.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kRecordLimit = std::int64_t{256} << 20;

// What --model would call it.
std::string id_of(const ModelRef& ref) { return ref.model.revision.empty() ? ref.model.path : ref.model.path + "@" + ref.model.revision; }

Json params_json(const Params& params) {
  Json out = Json::object();
  for (std::size_t i = 0; i < params.table().size(); ++i) {
    const Origin& origin = params.origin(i);
    Json one = {{"value", shown_value(params, i)}, {"from", to_string(origin.level)}};
    if (origin.place.line > 0) one["line"] = origin.place.line;
    if (!origin.filter.empty()) one["filter"] = origin.filter;
    out[params.table()[i].name] = std::move(one);
  }
  return out;
}

Json model_json(const ModelSummary& m) {
  Json out = {{"model", m.name}, {"delta_l2_squared", m.measure.delta_square}};
  if (!m.sparsified) return out;
  out["entries"] = m.measure.elems;
  out["kept"] = m.measure.kept;
  out["planned"] = m.measure.expected_kept;
  out["l1_before"] = m.measure.l1_before;
  out["l1_after"] = m.measure.l1_after;
  out["votes"] = m.measure.votes;
  out["votes_lost"] = m.measure.votes_lost;
  if (m.ranked) {
    for (int d = 0; d < kDeciles; ++d) {
      const auto i = static_cast<std::size_t>(d);
      out["deciles"].push_back(
          {{"entries", m.measure.decile_elems[i]}, {"kept", m.measure.decile_kept[i]}, {"planned", m.measure.decile_expected[i]}});
    }
  }
  return out;
}

Json tensor_json(const Plan& plan, const Job& job, const JobResult& result) {
  Json out = {{"name", job.info.name}, {"dtype", facts(job.info.dtype).name}, {"shape", job.info.shape}};
  if (job.kind == Job::Kind::kCopy) {
    out["copied_from"] = plan.inputs[static_cast<std::size_t>(job.sources[0].input)].ref.text();
    out["reason"] = job.copy_reason;
    return out;
  }
  out["t"] = job.t;
  for (std::size_t i = 0; i < job.sources.size(); ++i) {
    const ModelMeasure& m = result.measure.models[i];
    Json one = {{"model", plan.inputs[static_cast<std::size_t>(job.sources[i].input)].ref.text()}};
    if (m.elems > 0) one["kept"] = m.kept;
    one["parameters"] = params_json(*job.models[i]);
    out["models"].push_back(std::move(one));
  }
  for (const Kernel::Note& note : result.notes) out["notes"][note.name] = note.value;
  return out;
}

}  // namespace

std::string render_record(const Plan& plan, const RunResult& result, const RunSummary& summary, const std::string& output_folder) {
  Json record = {{"format", "crucible-record"}, {"version", kRecordVersion},
                 {"program", CRUCIBLE_VERSION}, {"recipe_file", fs::path(plan.recipe.file).filename().string()},
                 {"recipe", plan.recipe.text},  {"method", plan.method->name},
                 {"seed", plan.options.seed},   {"shard_bytes", plan.options.shard_bytes},
                 {"plan_digest", plan.digest}};
  for (const PlanInput& input : plan.inputs) {
    std::error_code problem;
    const fs::path relative = fs::relative(fs::absolute(input.path), fs::absolute(output_folder), problem);
    Json one = {
        {"model", input.ref.text()}, {"id", id_of(input.ref)}, {"path", problem || relative.empty() ? input.path : relative.string()}};
    for (const WeightFile& file : input.checkpoint.files()) {
      one["files"].push_back({{"name", file.name}, {"bytes", file.size_bytes}, {"header_hash", file.header_hash}});
    }
    record["inputs"].push_back(std::move(one));
  }
  for (const Diagnostic& d : plan.notices.items()) record["notices"].push_back(d.message);
  for (const UnusedParameter& u : plan.recipe.unused) record["unused_parameters"].push_back({{"name", u.name}, {"line", u.place.line}});
  record["measured"] = {
      {"sign_conflicts", summary.sign_conflicts}, {"elements", summary.elems}, {"out_delta_l2_squared", summary.out_delta_square}};
  for (const Remark& r : summary.remarks)
    record["measured"]["remarks"].push_back({{"text", r.text}, {"tensors", r.tensors}, {"first", r.first}});
  for (const ModelSummary& m : summary.models) record["measured"]["models"].push_back(model_json(m));
  if (!plan.jobs.empty() && plan.jobs.front().global) record["global_parameters"] = params_json(*plan.jobs.front().global);
  for (std::size_t j = 0; j < plan.jobs.size(); ++j) record["tensors"].push_back(tensor_json(plan, plan.jobs[j], result.jobs[j]));
  return record.dump(1) + "\n";
}

std::optional<Record> open_record(const std::string& folder, Diagnostics& diagnostics) {
  const std::string path = (fs::path(folder) / "crucible.json").string();
  if (!path_exists(path)) {
    diagnostics.error({}, fmt::format("{} has no crucible.json: it was not written by Crucible, or the record was removed", folder));
    return std::nullopt;
  }
  const Json json = Json::parse(read_small_file(path, kRecordLimit), nullptr, false);
  const auto bad = [&](const std::string& why) {
    diagnostics.error({path, 0, 0}, why);
    return std::nullopt;
  };
  try {
    if (!json.is_object() || json.at("format") != "crucible-record") return bad("this is not a Crucible record, or it is damaged");
    if (json.at("version").get<int>() != kRecordVersion) {
      return bad(fmt::format("the record has version {}, this program reads {}", json.at("version").get<int>(), kRecordVersion));
    }
    Record record;
    record.program_version = json.at("program").get<std::string>();
    record.recipe_file = json.at("recipe_file").get<std::string>();
    record.recipe_text = json.at("recipe").get<std::string>();
    record.seed = json.at("seed").get<std::uint64_t>();
    record.shard_bytes = json.at("shard_bytes").get<std::int64_t>();
    record.plan_digest = json.at("plan_digest").get<std::string>();
    for (const Json& input : json.at("inputs")) {
      const fs::path p = input.at("path").get<std::string>();
      record.model_dirs.emplace_back(input.at("id").get<std::string>(),
                                     (p.is_absolute() ? p : fs::path(folder) / p).lexically_normal().string());
    }
    return record;
  } catch (const nlohmann::json::exception& problem) {
    return bad(fmt::format("the record is damaged: {}", problem.what()));
  }
}

}  // namespace crucible
