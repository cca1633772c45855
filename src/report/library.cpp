#include "report/library.h"

#include <filesystem>

#include <fmt/format.h>

#include "audit/counterfactual.h"
#include "audit/judge.h"
#include "audit/retrace.h"
#include "base/hash.h"
#include "checkpoint/companions.h"
#include "crucible/method.h"
#include "io/output_folder.h"
#include "report/folder_text.h"
#include "report/model_card.h"
#include "report/record.h"
#include "report/report.h"
#include "report/summary.h"
#include "report/text.h"
#include "run/write_model.h"
#include "simd/levels.h"

namespace crucible {
namespace {

// Before any work: does the plan hold what the recipe says?
void check_parameters(const Plan& plan) {
  std::string text;
  for (const std::string& line : render_detours(retrace(plan))) text += "\n  " + line;
  if (!text.empty()) throw Error(ErrorCode::kAudit, "the plan does not hold what the recipe says; nothing was written:" + text);
}

// What speaks against the merge is kept beside the place where it would have been; the merge itself is not.
[[noreturn]] void stop_with_evidence(ErrorCode code, const std::string& text, const std::vector<SmallFile>& files,
                                     const std::string& output) {
  const std::string folder = (std::filesystem::path(output) / "").parent_path().string() + ".evidence";
  OutputFolder evidence(folder, Existing::kReplace, is_model_file_name);
  for (const SmallFile& file : files) {
    if (file.name != "README.md") evidence.add_small_file(file.name, file.text);  // the card of a model that does not exist
  }
  evidence.commit();
  throw Error(code, text + fmt::format("\nthe record and the report of this run are in {}", folder));
}

void stop_if_contradicted(const Plan& plan, const RunSummary& summary, const Written& written, const std::vector<SmallFile>& files,
                          const std::string& output) {
  try {
    written.checked.throw_if_wrong();
  } catch (const Error& wrong) {
    stop_with_evidence(wrong.code(), wrong.what(), files, output);
  }
  if (summary.verdict.ok) return;
  std::string text = "the measurements contradict the plan; no model was written:";
  for (const std::string& w : contradictions(plan, summary.verdict)) text += "\n  " + w;
  stop_with_evidence(ErrorCode::kAudit, text, files, output);
}

// The last part of a path, whether or not a slash ends it.
std::string name_of_folder(const std::string& path) {
  const std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

// Card, recipe, record and report; the first two are added to `written`.
std::vector<SmallFile> small_files(const Plan& plan, const RunResult& run, const RunSummary& summary, Written& written,
                                   const MergeRequest& request, const std::string& output) {
  std::vector<SmallFile> files;
  if (request.write_card) {
    const std::string title = name_of_folder(output);
    files.push_back({"README.md", render_model_card(plan, summary, title.empty() ? "Merged model" : title)});
    files.push_back({"mergekit_config.yml", published_recipe(plan)});
  }
  for (const SmallFile& f : files)
    written.companions.push_back({f.name, static_cast<std::int64_t>(f.text.size()), hash128_hex(f.text), FileOrigin::kRebuilt});
  const MemoryPlan memory = plan_memory(plan, run_options(request));
  const RunFacts facts = {memory.predicted_peak_bytes, memory.workers, simd::level_in_use()};
  const nlohmann::ordered_json record = make_record(plan, run, summary, written, facts, output);
  files.push_back({std::string(kReportFile), render_report(record, ReportFormat::kHtml)});
  files.push_back({kRecordName, render_record(record)});
  return files;
}

MergeReport make_report(const Plan& plan, const RunResult& run, const RunSummary& summary, const Written& written) {
  MergeReport report;
  report.notices = plan.notices;
  report.tensors_merged = summary.merged_tensors;
  report.tensors_copied = summary.copied_tensors;
  report.bytes_written = plan.data_bytes();
  report.peak_memory_bytes = run.peak_bytes;
  report.seconds = run.seconds;
  for (const ModelSummary& m : summary.models) report.effects.push_back({m.name, m.measure.elems, m.measure.kept, m.planned_kept});
  for (const Remark& r : summary.remarks) report.remarks.push_back(r.text);
  report.summary = render_run_summary(plan, run, summary) + render_folder_summary(plan, written);
  return report;
}

std::vector<ParameterInfo> describe(const FieldTable& table) {
  std::vector<ParameterInfo> out;
  for (const Field& f : table.fields()) {
    out.push_back({f.name, f.help, f.type_text(), f.is_required ? std::string() : f.default_text(), f.is_required});
  }
  return out;
}

}  // namespace

RunOptions run_options(const MergeRequest& request) {
  RunOptions options;
  options.threads = request.threads;
  options.memory_bytes = request.memory_bytes;
  options.reading = request.reading;
  options.stop = request.stop;
  options.measuring = request.audit == Auditing::kOn ? Measuring::kAudit : Measuring::kCounts;
  return options;
}

ReadOptions read_options(const MergeRequest& request) {
  ReadOptions read;
  read.unused = request.unused == UnusedParameters::kNotice ? UnusedPolicy::kNotice : UnusedPolicy::kError;
  return read;
}

Plan plan_request(const MergeRequest& request, Diagnostics& diagnostics) {
  const ReadOptions read = read_options(request);
  Diagnostics found;
  const Recipe recipe = request.recipe_text.empty() ? open_recipe(request.recipe_file, read, found)
                                                    : parse_recipe(request.recipe_text, request.recipe_file, read, found);
  return plan_recipe(recipe, request, found, diagnostics);
}

Plan plan_recipe(const Recipe& recipe, const MergeRequest& request, const Diagnostics& of_recipe, Diagnostics& diagnostics) {
  Diagnostics found = of_recipe;
  Plan plan;
  if (!found.has_errors()) {
    PlanOptions options;
    options.model_dirs = request.model_dirs;
    options.seed = request.seed;
    options.shard_bytes = request.shard_bytes;
    options.copy_companions = request.copy_companions;
    options.missing = request.missing;
    options.copy_from = request.copy_from;
    Diagnostics of_plan;
    plan = make_plan(recipe, options, of_plan);
    found.append(of_plan);
  }
  if (request.notices_are_errors) found.promote_notices();
  plan.notices = found;
  diagnostics.append(found);
  return plan;
}

MergeReport run_plan(const Plan& plan, const MergeRequest& request, const std::string& output) {
  WriteOptions write;
  write.run = run_options(request);
  write.existing = request.existing == ExistingOutput::kReplace ? Existing::kReplace : Existing::kRefuse;
  write.hash_inputs = request.hash_inputs;
  std::function<void(const Progress&)> progress;
  if (request.progress) progress = [&](const Progress& p) { request.progress({p.bytes_done, p.bytes_total, p.tensor}); };
  if (request.audit == Auditing::kOn) check_parameters(plan);
  Diagnostics asked;
  const std::vector<Counterfactual> tried = counterfactuals(plan, request.counterfactuals, run_options(request), asked);
  asked.throw_if_errors();
  RunSummary summary;
  Written all;
  const RunResult result = write_model(plan, output, write, progress, [&](const RunResult& run, const Written& written) {
    summary = summarize(plan, run, request.audit == Auditing::kOn ? judge(plan, run) : Verdict{});
    summary.counterfactuals = tried;
    all = written;
    std::vector<SmallFile> files = small_files(plan, run, summary, all, request, output);
    // A contradiction stops the merge before anything is renamed into place.
    stop_if_contradicted(plan, summary, written, files, output);
    return files;
  });
  return make_report(plan, result, summary, all);
}

MergeReport merge(const MergeRequest& request, const std::string& output) {
  Diagnostics diagnostics;
  const Plan plan = plan_request(request, diagnostics);
  diagnostics.throw_if_errors();
  return run_plan(plan, request, output);
}

Diagnostics check(const MergeRequest& request) {
  Diagnostics diagnostics;
  plan_request(request, diagnostics);
  return diagnostics;
}

std::vector<MethodInfo> list_methods() {
  std::vector<MethodInfo> out;
  for (const Method* m : all_methods()) {
    out.push_back({std::string(m->name), std::string(m->title), std::string(m->summary), std::string(m->formula), std::string(m->paper),
                   describe(*m->global), describe(*m->model)});
  }
  return out;
}

}  // namespace crucible
