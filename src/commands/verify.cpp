// crucible verify: is this folder what its record says?
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/foreign.h"
#include "base/text_util.h"
#include "base/units.h"
#include "commands/command.h"
#include "commands/shared/merge_options.h"
#include "commands/shared/single_file.h"
#include "io/file.h"
#include "report/library.h"
#include "report/verify.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyFlags {
  std::string folder;
  std::string recipe;  // empty: the record's
  bool hashes_only = false;
  bool all = false;
  bool json = false;
  MergeOptions merge;
};

Json verification_json(const VerifyFlags& options, const Record& record, const Verification& found) {
  Json out = {{"folder", options.folder},
              {"ok", found.wrong.empty() && found.missing.empty()},
              {"program", record.program_version},
              {"checked",
               {{"files", found.files},
                {"tensors", found.tensors},
                {"bytes_hashed", found.bytes_hashed},
                {"companions", found.companions},
                {"inputs", found.inputs},
                {"inputs_hashed", found.inputs_hashed},
                {"bytes_recomputed", found.bytes_compared},
                {"bytes", found.bytes_total}}},
              {"missing_inputs", found.missing},
              {"remarks", found.remarks},
              {"wrong", Json::array()}};
  for (const Wrong& w : found.wrong) out["wrong"].push_back({{"kind", to_string(w.kind)}, {"name", w.name}, {"text", w.text}});
  return out;
}

std::string verification_text(const VerifyFlags& options, const Verification& found) {
  std::string out = fmt::format("{}: {}\n", options.folder, found.recomputed ? "verified" : "the files are as they were written");
  const auto row = [&out](std::string_view what, const std::string& text) { out += fmt::format("  {:<11}{}\n", what, text); };
  row("files",
      fmt::format("{}, {} of {} hashed; {} beside the weights", render_count(found.files, "weight file"), render_bytes(found.bytes_hashed),
                  render_count(found.tensors, "tensor"), render_count(found.companions, "file")));
  if (found.inputs > 0) {
    row("inputs", fmt::format("{} as they were merged ({})", render_count(found.inputs, "model"),
                              found.inputs_hashed == found.inputs ? "every byte hashed" : "headers; their content was not recorded"));
  }
  if (found.recomputed) {
    const bool whole = found.bytes_compared == found.bytes_total;
    row("recomputed",
        fmt::format("{}{}; equal, byte for byte", render_bytes(found.bytes_compared),
                    whole ? ", everything"
                          : fmt::format(" of {}, {:.1f} % (--all: everything)", render_bytes(found.bytes_total),
                                        100.0 * static_cast<double>(found.bytes_compared) / static_cast<double>(found.bytes_total))));
    row("measured", whole ? "afresh, and the same as recorded" : "afresh on the sample, and as planned");
  }
  for (const std::string& remark : found.remarks) out += fmt::format("  note: {}\n", remark);
  return out;
}

// Inputs that are not there leave the question open; who wants no more than the hashes says so.
void throw_if_missing(const Record& record, const Verification& found) {
  Diagnostics problems;
  for (const Record::Input& input : record.inputs) {
    if (std::find(found.missing.begin(), found.missing.end(), input.model) == found.missing.end()) continue;
    problems.error({},
                   fmt::format("input {} is missing, it was in {}: only the files were checked, against their hashes",
                               printable(input.model), printable(input.path, 400)),
                   fmt::format("--model {}=DIR says where it is; --hashes-only asks for no more than the hashes", printable(input.id)));
  }
  problems.throw_if_errors();
}

Json judgement_json(const VerifyFlags& options, const ForeignReport& report) {
  Json out = {{"folder", options.folder},    {"recipe", options.recipe}, {"ok", !report.says_no()},
              {"fit", report.fit},           {"elements", report.elems}, {"elements_total", report.elems_total},
              {"parameters", Json::array()}, {"wrong", report.wrong},    {"remarks", report.remarks}};
  for (const ParameterVerdict& v : report.verdicts) {
    Json one = {{"parameter", v.parameter}, {"verdict", to_string(v.shows)}, {"text", v.text}};
    if (!v.model.empty()) one["model"] = v.model;
    if (v.asked) one["asked"] = *v.asked;
    if (v.found) one["found"] = *v.found;
    if (v.standard_error && std::isfinite(*v.standard_error)) one["standard_error"] = *v.standard_error;
    out["parameters"].push_back(std::move(one));
  }
  return out;
}

std::string judgement_text(const VerifyFlags& options, const ForeignReport& report) {
  std::string out =
      fmt::format("{}: {}\n", options.folder, report.says_no() ? "not what the recipe asks for" : "nothing speaks against the recipe");
  for (const ParameterVerdict& v : report.verdicts) {
    const std::string name = v.model.empty() ? v.parameter : fmt::format("{} of {}", v.parameter, printable(v.model));
    out += fmt::format("  {:<13} {}: {}\n", to_string(v.shows), name, v.text);
  }
  for (const std::string& w : report.wrong) out += fmt::format("  wrong: {}\n", w);
  if (!report.fit.empty()) out += fmt::format("  fit: {}\n", report.fit);
  if (report.elems > 0) {
    out += fmt::format("  looked at {} of {} elements, {:.1f} %\n", report.elems, report.elems_total,
                       100.0 * static_cast<double>(report.elems) / static_cast<double>(std::max<std::int64_t>(report.elems_total, 1)));
  }
  for (const std::string& remark : report.remarks) out += fmt::format("  note: {}\n", remark);
  return out;
}

// The output of any tool against a recipe.
int judge(const VerifyFlags& options) {
  MergeOptions of_recipe = options.merge;
  of_recipe.recipe = options.recipe;
  of_recipe.allow_unused = true;  // the tool that made the output has taken the recipe as it is
  const MergeRequest request = make_request(of_recipe);
  const Plan plan = plan_or_throw(request, talk_of(options.merge));
  Diagnostics diagnostics;
  const Checkpoint output = Checkpoint::open(options.folder, diagnostics);
  diagnostics.throw_if_errors();
  const ForeignReport report = judge_output(plan, output, run_options(request));
  if (options.json) {
    std::fputs((judgement_json(options, report).dump(2, ' ', false, Json::error_handler_t::replace) + "\n").c_str(), stdout);
  } else if (report.says_no() || !options.merge.quiet) {
    std::fputs(judgement_text(options, report).c_str(), stdout);
  }
  return report.says_no() ? 1 : 0;
}

int verify(const VerifyFlags& options) {
  if (!options.recipe.empty()) return judge(options);
  const MergeRequest request = make_request(options.merge);
  Diagnostics diagnostics;
  const bool is_file = asks_for_file(options.folder) && !is_folder(options.folder);
  const auto record = is_file ? open_record_of_file(options.folder, diagnostics) : open_record(options.folder, diagnostics);
  diagnostics.throw_if_errors();
  std::optional<FolderOfFile> view;
  if (is_file) view.emplace(options.folder, record->files.front().name);
  VerifyOptions how;
  how.depth = options.hashes_only ? VerifyDepth::kHashes : options.all ? VerifyDepth::kAll : VerifyDepth::kSample;
  how.model_dirs = request.model_dirs;
  how.run = run_options(request);
  Verification found;
  {
    const ProgressLine progress(talk_of(options.merge));
    const auto show = progress.callback();
    how.progress = [&](const Progress& p) { show({p.bytes_done, p.bytes_total, p.tensor}); };
    found = verify_output(view ? view->path() : options.folder, *record, how, diagnostics);
  }
  diagnostics.throw_if_errors();
  if (options.json) {
    std::fputs((verification_json(options, *record, found).dump(2, ' ', false, Json::error_handler_t::replace) + "\n").c_str(), stdout);
  } else if (found.wrong.empty() && !options.merge.quiet) {
    std::fputs(verification_text(options, found).c_str(), stdout);
  }
  if (!options.json) {
    for (const Wrong& w : found.wrong) std::fputs(fmt::format("{}: {}\n", options.folder, w.text).c_str(), stderr);
  }
  if (!found.wrong.empty()) return 1;
  throw_if_missing(*record, found);
  return 0;
}

std::function<int()> declare_verify(CommandLine& line) {
  auto options = std::make_shared<VerifyFlags>();
  line.option("folder", options->folder,
              "a model folder (or the .safetensors file of `raw`) written by crucible, or with --recipe by any tool")
      .required();
  const Option recipe =
      line.option("--recipe", options->recipe, "judge the output of any tool: which parameters of this recipe show in its data");
  const Option hashes =
      line.flag("--hashes-only", options->hashes_only, "check the files against the recorded hashes; look at no input").excludes(recipe);
  line.flag("--all", options->all, "compute everything again, not a sample of a large output").excludes(hashes).excludes(recipe);
  line.flag("--json", options->json, "print what was checked and what is wrong as JSON");
  declare_model_option(line, options->merge);
  declare_thread_options(line, options->merge);
  return [options] { return verify(*options); };
}

}  // namespace

const Command& command_verify() {
  static const Command command = {"verify", "Check a merged model against its record, and compute it again from its inputs",
                                  declare_verify};
  return command;
}

}  // namespace crucible
