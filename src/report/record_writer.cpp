#include <cmath>
#include <filesystem>
#include <map>
#include <numbers>

#include <fmt/format.h>

#include "arch/config_edit.h"
#include "arch/layers.h"
#include "base/hash.h"
#include "report/params_json.h"
#include "report/record.h"
#include "run/tensor_hash.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// What --model would call it.
std::string id_of(const ModelRef& ref) { return ref.model.revision.empty() ? ref.model.path : ref.model.path + "@" + ref.model.revision; }

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// Distinct sets of parameters, each written once.
class ParameterSets {
 public:
  std::size_t index(const std::shared_ptr<const Params>& params) {
    if (const auto known = by_address_.find(params.get()); known != by_address_.end()) return known->second;
    Json set = params_json(*params);
    const auto [it, fresh] = by_text_.emplace(set.dump(), sets_.size());
    if (fresh) sets_.push_back(std::move(set));
    by_address_.emplace(params.get(), it->second);
    return it->second;
  }
  Json take() { return std::move(sets_); }

 private:
  std::map<const Params*, std::size_t> by_address_;
  std::map<std::string, std::size_t> by_text_;
  Json sets_ = Json::array();
};

Json fields_json(const Method& method) {
  Json out = Json::object();
  for (const FieldTable* table : {method.global, method.model}) {
    for (const Field& f : table->fields()) {
      out[f.name] = {{"help", f.help}, {"symbol", f.symbol_text.empty() ? f.name : f.symbol_text}, {"type", f.type_text()}};
    }
  }
  return out;
}

Json inputs_json(const Plan& plan, const Written& written, const std::string& output_folder) {
  Json out = Json::array();
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    const PlanInput& input = plan.inputs[i];
    std::error_code problem;
    const fs::path relative = fs::relative(fs::absolute(input.path), fs::absolute(output_folder), problem);
    Json one = {{"model", input.ref.text()},
                {"id", id_of(input.ref)},
                {"path", problem || relative.empty() ? input.path : relative.string()},
                {"base", plan.base && *plan.base == static_cast<int>(i)},
                {"files", Json::array()}};
    const auto& files = input.checkpoint.files();
    for (std::size_t f = 0; f < files.size(); ++f) {
      Json file = {{"name", files[f].name}, {"bytes", files[f].size_bytes}, {"header_hash", files[f].header_hash}};
      if (i < written.content_hashes.size()) file["content_hash"] = written.content_hashes[i][f];
      one["files"].push_back(std::move(file));
    }
    out.push_back(std::move(one));
  }
  return out;
}

Json notices_json(const Diagnostics& notices) {
  Json out = Json::array();
  for (const Diagnostic& d : notices.items()) {
    Json one = {{"text", d.message}};
    if (!d.hint.empty()) one["hint"] = d.hint;
    if (d.place.line > 0) {
      one["line"] = d.place.line;
      one["column"] = d.place.column;
    }
    out.push_back(std::move(one));
  }
  return out;
}

Json config_changes_json(const Plan& plan) {
  Json out = Json::array();
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    const std::string& before = plan.inputs[static_cast<std::size_t>(plan.donor)].checkpoint.parts()[p].config_text;
    for (const ConfigChange& c : plan.parts[p].config_changes) {
      Json one = {{"key", c.path}, {"new", c.json}, {"why", c.why}};
      if (auto old = config_value(before, c.path)) one["old"] = std::move(*old);
      if (!plan.parts[p].folder.empty()) one["file"] = plan.parts[p].config_name();
      out.push_back(std::move(one));
    }
  }
  return out;
}

Json differences_json(const Plan& plan) {
  Json out = Json::array();
  for (const Difference& d : plan.differences) {
    Json rows = Json::array();
    for (const Difference::Row& row : d.rows) {
      Json values = Json::array();
      for (std::size_t i = 0; i < row.values.size(); ++i) {
        if (!row.values[i].empty()) values.push_back({{"input", i}, {"value", row.values[i]}});
      }
      rows.push_back({{"key", row.key}, {"file", row.file}, {"values", std::move(values)}, {"chosen", row.chosen}});
    }
    out.push_back({{"kind", d.kind}, {"rows", std::move(rows)}});
  }
  return out;
}

// What a sparsifier did, of one tensor or of all.
struct Norms {
  double l1_before = 0, l1_after = 0;
};

void add_sparsity(Json& out, const ModelMeasure& m, const double* planned, const Norms& norms) {
  if (m.elems > 0) {
    out["entries"] = m.elems;
    out["kept"] = m.kept;
    if (planned != nullptr) out["planned"] = number(*planned);
  }
  if (norms.l1_before > 0) {
    out["l1_before"] = number(norms.l1_before);
    out["l1_after"] = number(norms.l1_after);
  }
  if (m.votes > 0) {
    out["votes"] = m.votes;
    out["votes_lost"] = m.votes_lost;
  }
}

Json source_json(const Job& job, std::size_t i, const Measure& measure, const KeptPlan& kept, ParameterSets& sets) {
  const SourceTensor& source = job.sources[i];
  Json out = {{"input", source.input}};
  if (std::string stored = source.tensor->stored_name(); stored != job.info.name) out["tensor"] = std::move(stored);
  out["parameters"] = sets.index(job.models[i]);
  const double* planned = i < kept.kept.size() ? &kept.kept[i] : nullptr;
  const auto [before, after] = l1_norms_of(measure, i);
  add_sparsity(out, measure.models[i], planned, {before, after});
  if (const Lengths l = lengths_of(measure, i); l.square > 0) {
    out["norm"] = number(root(l.square));
    out["cosine"] = number(cosine_of(l.with_result, l.square, result_square_of(measure)));
  }
  return out;
}

Json tensor_json(const Plan& plan, std::size_t j, const JobResult& result, const Verdict& verdict, const Written& written,
                 ParameterSets& sets) {
  const Job& job = plan.jobs[j];
  Json out = {{"name", job.info.name}, {"dtype", facts(job.info.dtype).name}, {"shape", job.info.shape}};
  if (const auto layer = parse_layer_name(job.info.name)) {
    out["layer"] = layer->index;
    out["stack"] = layer->stack;
  }
  if (!job.as.empty()) out["as"] = job.as;
  out["role"] = job.role.group();
  out["file"] = job.file;
  out["hash"] = written.tensor_hashes[j];
  out["hash_chunk"] = hash_chunk_bytes(job);
  if (job.kind == Job::Kind::kCopy) {
    out["copied_from"] = plan.inputs[static_cast<std::size_t>(job.sources[0].input)].ref.text();
    out["reason"] = job.copy_reason;
    return out;
  }
  const Measure& m = result.measure;
  out["t"] = job.t;
  out["global"] = sets.index(job.global);
  out["models"] = Json::array();
  const KeptPlan& kept = j < verdict.jobs.size() ? verdict.jobs[j] : KeptPlan{};
  for (std::size_t i = 0; i < job.sources.size(); ++i) out["models"].push_back(source_json(job, i, m, kept, sets));
  if (!m.sketch.empty()) {
    out["out_norm"] = number(root(result_square_of(m)));
    if (job.base) {
      const Sketch& s = m.sketch;
      const double scale = static_cast<double>(m.elems) / static_cast<double>(s.elems);
      out["base_norm"] = number(root(scale * s.base_square));
      out["cosine_base"] = number(cosine_of(s.base_out, s.base_square, s.out_square));
    }
  }
  if (m.saturated > 0) out["saturated"] = m.saturated;
  if (m.sign_conflicts > 0) out["sign_conflicts"] = m.sign_conflicts;
  if (m.nonfinite > 0) out["nonfinite"] = m.nonfinite;
  for (const Kernel::Note& note : result.notes) out["notes"][note.name] = number(note.value);
  return out;
}

Json model_json(const ModelSummary& m) {
  Json out = {{"input", m.input}, {"model", m.name}};
  add_sparsity(out, m.measure, m.sparsified ? &m.planned_kept : nullptr, {m.l1_before, m.l1_after});
  if (m.sparsified) out["variance"] = number(m.planned_variance);
  if (m.l2_before > 0) {
    out["l2_before"] = number(root(m.l2_before));
    out["l2_after"] = number(root(m.l2_after));
  }
  if (m.ranked) {
    out["deciles"] = Json::array();
    for (int d = 0; d < kDeciles; ++d) {
      const auto i = static_cast<std::size_t>(d);
      out["deciles"].push_back({{"entries", m.measure.decile_elems[i]},
                                {"kept", m.measure.decile_kept[i]},
                                {"planned", number(m.decile_planned[i])},
                                {"variance", number(m.decile_variance[i])}});
    }
  }
  if (m.norm() > 0) {
    out["norm"] = number(m.norm());
    out["cosine"] = number(m.cosine());
    out["angle_degrees"] = number(std::acos(m.cosine()) * 180 / std::numbers::pi);
    out["cosine_input"] = number(m.input_cosine());
  }
  return out;
}

Json histogram_json(const char* of, const Histogram& h) {
  return {{"of", of}, {"first_exponent", Histogram::kFirstExponent}, {"counts", h.counts}, {"zeros", h.zeros}};
}

Json histograms_json(const RunSummary& summary) {
  Json out = Json::array();
  if (summary.sampled == 0) return out;
  for (const ModelSummary& m : summary.models) {
    Json one = histogram_json(summary.has_base ? "task vector" : "input", m.histogram);
    one["input"] = m.input;
    out.push_back(std::move(one));
  }
  out.push_back(histogram_json(summary.has_base ? "result minus base" : "result", summary.result_histogram));
  return out;
}

Json expectations_json(const Plan& plan, const Verdict& verdict) {
  Json out = Json::array();
  for (const Check& c : verdict.rows) {
    if (!c.judged) continue;
    Json one = {{"parameter", c.parameter}};
    if (c.input) one["model"] = plan.inputs[static_cast<std::size_t>(*c.input)].ref.text();
    if (!c.tensor.empty()) one["tensor"] = c.tensor;
    one["what"] = c.what;
    one["measured"] = number(c.measured);
    one["planned"] = number(c.planned);
    if (c.sigmas) one["sigmas"] = number(*c.sigmas);
    if (c.tolerance) one["tolerance"] = number(*c.tolerance);
    one["count"] = c.count;
    one["ok"] = c.ok;
    out.push_back(std::move(one));
  }
  return out;
}

Json measured_json(const RunSummary& summary) {
  Json out = {{"elements", summary.elems},
              {"sign_conflicts", summary.sign_conflicts},
              {"nonfinite", summary.nonfinite},
              {"saturated", summary.saturated},
              {"sampled", summary.sampled}};
  if (summary.sampled > 0) out["out_norm"] = number(root(summary.result_square));
  if (summary.has_base && summary.sampled > 0) {
    out["base_norm"] = number(root(summary.base_square));
    out["cosine_base"] = number(cosine_of(summary.base_out, summary.base_square, summary.out_square));
  }
  out["remarks"] = Json::array();
  out["models"] = Json::array();
  for (const Remark& r : summary.remarks) out["remarks"].push_back({{"text", r.text}, {"tensors", r.tensors}, {"first", r.first}});
  for (const ModelSummary& m : summary.models) out["models"].push_back(model_json(m));
  out["histograms"] = histograms_json(summary);
  return out;
}

Json run_json(const Plan& plan, const RunResult& result, const RunFacts& facts) {
  return {{"seconds", number(result.seconds)},
          {"bytes_read", result.bytes_read},
          {"bytes_written", plan.data_bytes()},
          {"peak_bytes", result.peak_bytes},
          {"predicted_peak_bytes", facts.predicted_peak_bytes},
          {"workers", facts.workers},
          {"cpu_level", facts.cpu_level}};
}

}  // namespace

Json make_record(const Plan& plan, const RunResult& result, const RunSummary& summary, const Written& written, const RunFacts& facts,
                 const std::string& output_folder) {
  Json record = {{"format", "crucible-record"},
                 {"version", kRecordVersion},
                 {"program", CRUCIBLE_VERSION},
                 {"recipe_file", fs::path(plan.recipe.file).filename().string()},
                 {"recipe", plan.recipe.text},
                 {"canonical_recipe", canonical_text(plan.recipe)},
                 {"method", plan.method->name},
                 {"method_title", plan.method->title},
                 {"formula", plan.method->formula},
                 {"seed", plan.options.seed},
                 {"shard_bytes", plan.options.shard_bytes},
                 {"missing_tensors", to_string(plan.options.missing)},
                 {"plan_digest", plan.digest},
                 {"inputs", inputs_json(plan, written, output_folder)}};
  record["files"] = Json::array();
  for (const PlanFile& file : plan.files) {
    // As for inputs: the hash of the header's text, without the length before it.
    record["files"].push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"header_hash", hash128_hex(std::string_view(file.header).substr(8))}});
  }
  record["companions"] = Json::array();
  for (const WrittenFile& file : written.companions) {
    record["companions"].push_back({{"name", file.name},
                                    {"bytes", file.bytes},
                                    {"hash", file.hash},
                                    {"origin", file.origin == FileOrigin::kCopied ? "copied" : "rebuilt"}});
  }
  record["companions_from"] = plan.inputs[static_cast<std::size_t>(plan.donor)].ref.text();
  record["left_out"] = Json::array();
  for (const FolderFile& file : plan.left_out) record["left_out"].push_back({{"name", file.name}, {"reason", file.left_out}});
  record["config_changes"] = config_changes_json(plan);
  record["differences"] = differences_json(plan);
  record["post_check"] = {{"checks", written.checked.checks}, {"faults", written.checked.faults}, {"notices", written.checked.notices}};
  record["notices"] = notices_json(plan.notices);
  record["unused_parameters"] = Json::array();
  for (const UnusedParameter& u : plan.recipe.unused) record["unused_parameters"].push_back({{"name", u.name}, {"line", u.place.line}});
  if (plan.recipe.paths == PathForm::kPlain) record["plain_paths"] = true;
  for (const LayerOrigin& origin : plan.layer_map) {
    Json from = Json::array();
    for (const LayerOrigin::From& f : origin.from) from.push_back({{"input", f.input}, {"layer", f.layer}});
    record["layer_map"].push_back({{"stack", origin.stack}, {"layer", origin.layer}, {"from", std::move(from)}});
  }
  record["fields"] = fields_json(*plan.method);
  ParameterSets sets;
  Json tensors = Json::array();
  for (std::size_t j = 0; j < plan.jobs.size(); ++j)
    tensors.push_back(tensor_json(plan, j, result.jobs[j], summary.verdict, written, sets));
  record["parameters"] = sets.take();
  record["tensors"] = std::move(tensors);
  record["measured"] = measured_json(summary);
  record["expectations"] = expectations_json(plan, summary.verdict);
  record["audit"] = {{"on", summary.verdict.on}, {"checks", summary.verdict.checks}, {"false_alarm", kFalseAlarm}};
  record["audit"]["silent"] = summary.verdict.silent;
  for (const Counterfactual& c : summary.counterfactuals) {
    record["counterfactuals"].push_back({{"parameter", c.parameter},
                                         {"instead", c.instead},
                                         {"tensors", c.tensors},
                                         {"tensors_that_differ", c.tensors_that_differ},
                                         {"elements", c.elements},
                                         {"differ", c.differ}});
  }
  record["run"] = run_json(plan, result, facts);
  return record;
}

std::string render_record(Json record) {
  record.erase("checksum");
  // What is not UTF-8 (a path may be anything) is replaced, not fatal.
  record["checksum"] = hash128_hex(record.dump(-1, ' ', false, Json::error_handler_t::replace));
  return record.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace crucible
