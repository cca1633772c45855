// The options that every command about a recipe shares, declared once, and the request they lead to.
#pragma once

#include <string>
#include <vector>

#include "commands/shared/process.h"
#include "crucible/merge.h"
#include "plan/plan.h"

namespace CLI {
class App;
}

namespace crucible {

// As typed; sizes stay text so that messages can quote them.
struct MergeOptions {
  std::string recipe;
  std::vector<std::string> models;  // ID=DIR
  std::string memory;
  std::string shard_size = "5G";
  std::string cpu_level;
  bool allow_unused = false;
  bool allow_missing = false;
  bool overwrite = false;
  bool no_audit = false;
  bool quiet = false;
  MergeRequest request;  // what needs no further reading
};

// What a command looks at: only the recipe and headers, or also running.
enum class OptionSet { kCheck, kRun };
void declare_merge_options(CLI::App& app, MergeOptions& options, OptionSet set);
void declare_model_option(CLI::App& app, MergeOptions& options);
void declare_thread_options(CLI::App& app, MergeOptions& options);

// The request, once after parsing. "-" reads the recipe from standard input. Throws InputError with all that is wrong about the options.
MergeRequest make_request(const MergeOptions& options);
Talk talk_of(const MergeOptions& options);

// Makes the plan; prints notices; throws InputError with every problem at once.
Plan plan_or_throw(const MergeRequest& request, Talk talk);

// Merges into `target` and prints the summary. The exit code.
int merge_into(const MergeOptions& options, const std::string& target);

}  // namespace crucible
