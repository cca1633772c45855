// crucible check: is the recipe right, and do the models fit it? Reads headers only.
#include <cstdio>

#include <nlohmann/json.hpp>

#include "commands/command.h"
#include "commands/shared/json_views.h"
#include "commands/shared/merge_options.h"
#include "report/library.h"

namespace crucible {
namespace {

int check(const MergeOptions& options, bool json) {
  const MergeRequest request = make_request(options);
  if (!json) {
    const Plan plan = plan_or_throw(request, talk_of(options));
    plan_memory(plan, run_options(request));
    if (!options.quiet) std::printf("%s: correct; %zu tensors to write\n", options.recipe.c_str(), plan.jobs.size());
    return 0;
  }
  Diagnostics diagnostics;
  plan_request(request, diagnostics);
  const nlohmann::ordered_json out = {{"ok", !diagnostics.has_errors()}, {"diagnostics", diagnostics_json(diagnostics)}};
  std::printf("%s\n", out.dump(2).c_str());
  return diagnostics.has_errors() ? exit_code_of(ErrorCode::kInput) : 0;
}

std::function<int()> declare_check(CommandLine& line) {
  auto options = std::make_shared<MergeOptions>();
  auto json = std::make_shared<bool>(false);
  declare_merge_options(line, *options, OptionSet::kCheck);
  line.flag("--json", *json, "print the findings as JSON");
  return [options, json] { return check(*options, *json); };
}

}  // namespace

const Command& command_check() {
  static const Command command = {"check", "Check a recipe against its models' headers, without merging", declare_check};
  return command;
}

}  // namespace crucible
