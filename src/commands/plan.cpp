// crucible plan: what a merge would do, in full, without doing it.
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "audit/counterfactual.h"
#include "base/text_util.h"
#include "commands/command.h"
#include "commands/shared/json_views.h"
#include "commands/shared/merge_options.h"
#include "report/explain.h"
#include "report/library.h"
#include "report/text.h"

namespace crucible {
namespace {

struct PlanFlags {
  MergeOptions merge;
  bool json = false;
  std::string explain;
  std::string explain_parameter;
  std::vector<std::string> counterfactuals;
};

int show_plan(const PlanFlags& options) {
  const MergeRequest request = make_request(options.merge);
  const Plan plan = plan_or_throw(request, talk_of(options.merge));
  const MemoryPlan memory = plan_memory(plan, run_options(request));
  if (options.json) {
    std::printf("%s\n", plan_json(plan, memory).dump(2).c_str());
    return 0;
  }
  if (!options.counterfactuals.empty()) {
    Diagnostics asked;
    const auto tried = counterfactuals(plan, options.counterfactuals, run_options(request), asked);
    asked.throw_if_errors();
    for (const Counterfactual& c : tried) std::fputs((render_counterfactual(c) + "\n").c_str(), stdout);
    return 0;
  }
  if (!options.explain_parameter.empty()) {
    const std::string text = render_parameter(plan, options.explain_parameter);
    if (text.empty()) {
      std::vector<std::string> names = plan.method->global->names();
      for (const std::string& n : plan.method->model->names()) names.push_back(n);
      Diagnostics none;
      const auto near = nearest_name(options.explain_parameter, names);
      none.error(
          {}, fmt::format("{} has no parameter `{}`", plan.method->name, printable(options.explain_parameter)),
          near ? fmt::format("did you mean `{}`?", *near) : fmt::format("it has {}", names.empty() ? "none" : join_names(names, 20)));
      none.throw_if_errors();
    }
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  if (options.explain.empty()) {
    std::fputs(render_plan(plan, memory).c_str(), stdout);
    return 0;
  }
  const std::string text = render_explanation(plan, options.explain);
  if (text.empty()) {
    Diagnostics none;
    none.error({}, "no output tensor matches `" + options.explain + "`",
               "`crucible plan RECIPE --json` lists them; * matches any characters");
    none.throw_if_errors();
  }
  std::fputs(text.c_str(), stdout);
  return 0;
}

std::function<int()> declare_plan(CommandLine& line) {
  auto options = std::make_shared<PlanFlags>();
  declare_merge_options(line, options->merge, OptionSet::kCheck);
  line.flag("--json", options->json, "print the plan as JSON");
  line.option("--explain", options->explain, "tensor name or pattern (*): where each of its numbers comes from");
  line.option("--explain-parameter", options->explain_parameter,
              "parameter: every value it takes, where each comes from, and where it goes in the formula");
  line.option("--counterfactual", options->counterfactuals,
              "PARAM or PARAM=VALUE: merge a sample as planned and with the parameter at its neutral value (or at VALUE), and count the "
              "output elements that differ; reads tensor data, writes nothing (repeatable)")
      .repeatable();
  return [options] { return show_plan(*options); };
}

}  // namespace

const Command& command_plan() {
  static const Command command = {"plan", "Show what a merge would do: tensors, parameters and their origins, bytes, memory", declare_plan};
  return command;
}

}  // namespace crucible
