#include "commands/shared/json_views.h"

#include "report/layer_map.h"
#include "report/params_json.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

// A plan may be of a recipe in any file (the record holds the recipe itself), and is for programs: values need no words.
Json params_with_files(const Params& params) {
  Json out = params_json(params);
  for (std::size_t i = 0; i < params.table().size(); ++i) {
    const Place& place = params.origin(i).place;
    Json& one = out[params.table()[i].name];
    one.erase("shown");
    if (place.line > 0) one["file"] = place.file;
  }
  return out;
}

Json source_json(const Plan& plan, const SourceTensor& s) {
  Json out = {{"model", plan.inputs[static_cast<std::size_t>(s.input)].ref.text()},
              {"tensor", s.tensor->info.name},
              {"dtype", facts(s.tensor->info.dtype).name}};
  if (!s.tensor->how.empty()) out["how"] = s.tensor->how;
  return out;
}

Json job_json(const Plan& plan, const Job& job) {
  Json out = {{"name", job.info.name},
              {"dtype", facts(job.info.dtype).name},
              {"shape", job.info.shape},
              {"file", plan.files[static_cast<std::size_t>(job.file)].name},
              {"offset", job.offset},
              {"bytes", job.bytes},
              {"kind", job.kind == Job::Kind::kCopy ? "copy" : "merge"}};
  if (job.kind == Job::Kind::kCopy) out["reason"] = job.copy_reason;
  if (!job.as.empty()) out["as"] = job.as;
  out["t"] = job.t;
  if (job.base) out["base"] = source_json(plan, *job.base);
  for (std::size_t i = 0; i < job.sources.size(); ++i) {
    Json source = source_json(plan, job.sources[i]);
    if (i < job.models.size()) source["parameters"] = params_with_files(*job.models[i]);
    out["sources"].push_back(std::move(source));
  }
  if (job.global) out["parameters"] = params_with_files(*job.global);
  return out;
}

Json field_json(const Field& field) {
  Json out = {{"name", field.name}, {"help", field.help}, {"type", field.type_text()}, {"required", field.is_required}};
  if (!field.is_required) out["default"] = field.default_text();
  return out;
}

}  // namespace

Json diagnostics_json(const Diagnostics& diagnostics) {
  Json out = Json::array();
  for (const Diagnostic& d : diagnostics.items()) {
    Json one = {{"severity", d.severity == Severity::kError ? "error" : "notice"}, {"message", d.message}};
    if (!d.place.file.empty()) one["file"] = d.place.file;
    if (d.place.line > 0) {
      one["line"] = d.place.line;
      one["column"] = d.place.column;
    }
    if (!d.hint.empty()) one["hint"] = d.hint;
    out.push_back(std::move(one));
  }
  return out;
}

Json plan_json(const Plan& plan, const MemoryPlan& memory) {
  Json out = {
      {"method", plan.method->name},       {"seed", plan.options.seed},         {"digest", plan.digest},
      {"output_bytes", plan.data_bytes()}, {"input_bytes", plan.input_bytes()}, {"predicted_peak_bytes", memory.predicted_peak_bytes},
      {"workers", memory.workers}};
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    out["inputs"].push_back(
        {{"model", plan.inputs[i].ref.text()}, {"path", plan.inputs[i].path}, {"base", plan.base && *plan.base == static_cast<int>(i)}});
  }
  for (const PlanFile& file : plan.files) out["files"].push_back({{"name", file.name}, {"bytes", file.bytes}});
  // For programs: a line for each layer, not for each run of them.
  for (const NamedLayer& layer : named_layers(plan)) out["layers"].push_back(layer_map_lines({layer}).front());
  out["copied_files"] = plan.companions;
  out["left_out_files"] = nlohmann::ordered_json::object();
  for (const FolderFile& file : plan.left_out) out["left_out_files"][file.name] = file.left_out;
  out["notices"] = diagnostics_json(plan.notices);
  for (const Job& job : plan.jobs) out["tensors"].push_back(job_json(plan, job));
  return out;
}

Json method_json(const Method& method) {
  Json out = {{"name", method.name},
              {"title", method.title},
              {"summary", method.summary},
              {"formula", method.formula},
              {"deviations", method.deviations},
              {"paper", method.paper},
              {"random", method.random},
              {"base", method.base == BaseRule::kRequired   ? "required"
                       : method.base == BaseRule::kOptional ? "optional"
                                                            : "only when listed"},
              {"min_models", method.min_models}};
  out["parameters"] = Json::array();
  for (const Field& f : method.global->fields()) out["parameters"].push_back(field_json(f));
  out["model_parameters"] = Json::array();
  for (const Field& f : method.model->fields()) out["model_parameters"].push_back(field_json(f));
  for (const Law law : method.laws) out["laws"].push_back(to_string(law));
  for (const MethodExample& e : method.examples) out["examples"].push_back({{"title", e.title}, {"recipe", e.recipe}});
  return out;
}

}  // namespace crucible
