// crucible verify: is this folder what its record says? Recomputes the merge from the inputs and compares every byte.
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "commands/command.h"
#include "commands/shared/merge_options.h"
#include "report/library.h"
#include "report/record.h"
#include "report/text.h"
#include "run/write_model.h"

namespace crucible {
namespace {

struct Options {
  std::string folder;
  MergeOptions merge;
};

int verify(const Options& options) {
  const MergeRequest request = make_request(options.merge);
  Diagnostics diagnostics;
  const auto record = open_record(options.folder, diagnostics);
  diagnostics.throw_if_errors();
  ReadOptions read;
  read.unused = UnusedPolicy::kNotice;  // the merge that wrote the record has decided
  const Recipe recipe = parse_recipe(record->recipe_text, record->recipe_file, read, diagnostics);
  diagnostics.throw_if_errors();
  PlanOptions plan_with;
  plan_with.model_dirs = request.model_dirs;
  plan_with.seed = record->seed;
  plan_with.shard_bytes = record->shard_bytes;
  // What the user says now comes before where the models were then.
  const auto recorded = record->model_dirs();
  plan_with.model_dirs.insert(plan_with.model_dirs.end(), recorded.begin(), recorded.end());
  const Plan plan = make_plan(recipe, plan_with, diagnostics);
  diagnostics.throw_if_errors();
  std::vector<std::string> problems;
  if (plan.digest != record->plan_digest) {
    problems.push_back(
        fmt::format("the inputs or the program differ from those of the record (written by crucible {})", record->program_version));
  }
  RunResult result;
  Comparison comparison;
  {
    const ProgressLine progress(talk_of(options.merge));
    const auto show = progress.callback();
    comparison = compare_with(
        plan, options.folder, run_options(request),
        [&](const Progress& p) {
          show({p.bytes_done, p.bytes_total, p.tensor});
        },
        &result);
  }
  problems.insert(problems.end(), comparison.problems.begin(), comparison.problems.end());
  for (const std::string& name : comparison.differing)
    problems.push_back(fmt::format("tensor {} differs from the recomputed one", printable(name)));
  const RunSummary summary = summarize(plan, result);
  for (const std::string& wrong : find_contradictions(summary)) problems.push_back(wrong);
  if (problems.empty()) {
    if (!options.merge.quiet) {
      std::fputs(fmt::format("{}: verified; {} recomputed from the inputs and equal, byte for byte\n", options.folder,
                             render_bytes(comparison.bytes_compared))
                     .c_str(),
                 stdout);
    }
    return 0;
  }
  for (const std::string& p : problems) std::fputs(fmt::format("{}: {}\n", options.folder, p).c_str(), stderr);
  return 1;
}

std::function<int()> declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("folder", options->folder, "a model folder written by crucible")->required();
  declare_model_option(app, options->merge);
  declare_thread_options(app, options->merge);
  return [options] { return verify(*options); };
}

}  // namespace

const Command& command_verify() {
  static const Command command = {"verify", "Recompute a merged model from its inputs and compare every byte", declare};
  return command;
}

}  // namespace crucible
