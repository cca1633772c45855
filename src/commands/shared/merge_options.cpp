#include "commands/shared/merge_options.h"

#include <cstdio>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "io/output_folder.h"
#include "report/library.h"
#include "simd/levels.h"

namespace crucible {
namespace {

std::int64_t size_option(std::string_view option, const std::string& text, Diagnostics& diagnostics) {
  const auto bytes = parse_size(text);
  if (!bytes)
    diagnostics.error({}, fmt::format("{} is `{}`: not a size", option, printable(text)), "write 500M, 2GiB, 5G, 5B (10^9) or plain bytes");
  return bytes.value_or(0);
}

// One of the words that the option takes.
Reading reading_of(std::string_view word) {
  if (word == "position") return Reading::kByPosition;
  return word == "mapped" ? Reading::kMapped : Reading::kMeasured;
}

}  // namespace

void declare_model_option(CommandLine& line, MergeOptions& o, const char* names) {
  line.option(names, o.models, "ID=DIR: the folder of a model that the recipe names by id (repeatable)").repeatable();
}

void declare_thread_options(CommandLine& line, MergeOptions& o) {
  line.option("--threads", o.request.threads, "worker threads (default: all processors)").between(0, 4096);
  line.option("--memory", o.memory, "memory budget (default: the lesser of 2 GiB and a quarter of the machine's memory)");
  line.flag("--quiet,-q", o.quiet, "print errors only");
}

void declare_merge_options(CommandLine& line, MergeOptions& o, OptionSet set) {
  line.option("recipe", o.recipe, "recipe file (YAML); - reads standard input").required();
  declare_options_of_set(line, o, set);
}

void declare_options_of_set(CommandLine& line, MergeOptions& o, OptionSet set, const char* model_names) {
  declare_model_option(line, o, model_names);
  line.option("--copy-from", o.request.copy_from,
              "model of the recipe whose config.json, tokenizer and other files the output gets (default: the base, else the first)");
  line.option("--seed", o.request.seed, "seed of all random choices").non_negative().shows_default();
  line.flag("--strict", o.request.notices_are_errors, "treat notices as errors");
  line.flag("--allow-unused", o.allow_unused, "parameters that the method does not use are notices, not errors");
  line.flag("--allow-missing", o.allow_missing,
            "a tensor that some models lack is merged from those that have it; the output keeps the tensors of the base (or first model)");
  line.option("--out-shard-size", o.shard_size, "largest weight file: 5G, 500M, 2GiB, 5B (10^9) or bytes; 0 = one file").shows_default();
  declare_thread_options(line, o);
  if (set == OptionSet::kRun) {
    line.flag("--overwrite", o.overwrite,
              "replace the model files of an existing output folder, in one step, once the new ones are complete");
    line.flag("--hash", o.request.hash_inputs, "record a hash of all bytes of the inputs, not of headers only; reads them once more");
    line.option("--counterfactual", o.request.counterfactuals,
                "PARAM or PARAM=VALUE: merge a sample once more with the parameter at its neutral value (or at VALUE) and count the "
                "output elements that differ (repeatable)")
        .repeatable();
    line.flag("--no-audit", o.no_audit, "measure nothing beyond counts and hold nothing against the plan (saves a few per cent of time)");
    line.option("--cpu-level", o.cpu_level, "use no vector instructions above this level, for comparisons").group("Testing");
    line.option("--reading", o.reading, "how weights are read: position, mapped or measured (both, then the faster one)")
        .one_of({"position", "mapped", "measured"})
        .shows_default()
        .group("Testing");
  }
}

MergeRequest make_request(const MergeOptions& o) {
  Diagnostics problems;
  MergeRequest request = o.request;
  // As in mergekit, a limit of zero or below means no limit.
  const bool no_limit = o.shard_size.size() > 1 && o.shard_size.front() == '-' && parse_size(std::string_view(o.shard_size).substr(1));
  request.shard_bytes = no_limit ? 0 : size_option("--out-shard-size", o.shard_size, problems);
  if (!o.memory.empty()) request.memory_bytes = size_option("--memory", o.memory, problems);
  for (const std::string& model : o.models) {
    const std::size_t equals = model.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == model.size()) {
      problems.error({}, fmt::format("--model {}: not of the form ID=DIR", printable(model)));
      continue;
    }
    request.model_dirs.emplace_back(model.substr(0, equals), model.substr(equals + 1));
  }
  if (!simd::limit_level(o.cpu_level)) {
    problems.error({}, fmt::format("--cpu-level {}: not one of {}", printable(o.cpu_level), join_names(simd::available_levels())));
  }
  problems.throw_if_errors();
  request.reading = reading_of(o.reading);
  request.recipe_file = o.recipe;
  request.recipe_text = o.recipe_text;
  if (o.recipe_text.empty() && o.recipe == "-") {
    request.recipe_file = "<standard input>";
    request.recipe_text = {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
    if (stop_requested().load()) throw Error(ErrorCode::kInterrupted, "interrupted while reading the recipe from standard input");
    if (request.recipe_text.empty()) request.recipe_text = "\n";  // empty text would mean the file
  }
  if (o.allow_missing) request.missing = MissingTensors::kDonor;
  request.unused = o.allow_unused ? UnusedParameters::kNotice : UnusedParameters::kError;
  request.existing = o.overwrite ? ExistingOutput::kReplace : ExistingOutput::kRefuse;
  request.audit = o.no_audit ? Auditing::kOff : Auditing::kOn;
  request.stop = &stop_requested();
  return request;
}

Talk talk_of(const MergeOptions& o) { return o.quiet ? Talk::kQuiet : Talk::kNormal; }

Plan plan_or_throw(const MergeRequest& request, Talk talk) {
  Diagnostics diagnostics;
  Plan plan = plan_request(request, diagnostics);
  diagnostics.throw_if_errors();
  print_diagnostics(diagnostics, talk);
  return plan;
}

void refuse_occupied(const MergeOptions& o, const std::string& target) {
  // OutputFolder would refuse it too, but later, and it knows no option to name.
  if (o.overwrite || !is_occupied_folder(target)) return;
  Diagnostics refused;
  refused.error({}, fmt::format("output folder {}: exists and is not empty", printable(target, 400)),
                "--overwrite replaces the model in it, in one step, and keeps other files");
  refused.throw_if_errors();
}

int run_and_tell(const Plan& plan, MergeRequest request, const std::string& target, Talk talk, const std::string& called) {
  const MemoryPlan memory = plan_memory(plan, run_options(request));
  if (talk == Talk::kNormal) {
    std::fprintf(stderr, "%s, %s to write, %s of memory predicted\n",
                 render_count(static_cast<std::int64_t>(plan.jobs.size()), "tensor").c_str(), render_bytes(plan.data_bytes()).c_str(),
                 render_bytes(memory.predicted_peak_bytes).c_str());
  }
  MergeReport report;
  {
    const ProgressLine progress(talk);
    request.progress = progress.callback();
    report = run_plan(plan, request, target);
  }
  if (talk == Talk::kNormal) std::fputs((report.summary + "written to " + (called.empty() ? target : called) + "\n").c_str(), stdout);
  return 0;
}

int merge_into(const MergeOptions& o, const std::string& target) {
  const MergeRequest request = make_request(o);
  refuse_occupied(o, target);
  return run_and_tell(plan_or_throw(request, talk_of(o)), request, target, talk_of(o));
}

}  // namespace crucible
