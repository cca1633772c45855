// The options that every command about a recipe shares, declared once, and the request they lead to.
#pragma once

#include <string>
#include <vector>

#include "commands/shared/command_line.h"
#include "commands/shared/process.h"
#include "crucible/merge.h"
#include "plan/plan.h"

namespace crucible {

// As typed; sizes stay text so that messages can quote them.
struct MergeOptions {
  std::string recipe;               // a path, or what the recipe is called where `recipe_text` is given
  std::string recipe_text;          // of a command that writes its recipe itself
  std::vector<std::string> models;  // ID=DIR
  std::string memory;
  std::string shard_size = "5G";
  std::string cpu_level;
  std::string reading = "measured";
  bool allow_unused = false;
  bool allow_missing = false;
  bool overwrite = false;
  bool no_audit = false;
  bool quiet = false;
  MergeRequest request;  // what needs no further reading
};

// What a command looks at: only the recipe and headers, or also running.
enum class OptionSet { kCheck, kRun };
void declare_merge_options(CommandLine& line, MergeOptions& options, OptionSet set);
// The same without the recipe, for commands that take it from elsewhere. `model_names`: of the option that maps ids to folders.
inline constexpr const char* kModelNames = "--model,--model-dir";
void declare_options_of_set(CommandLine& line, MergeOptions& options, OptionSet set, const char* model_names = kModelNames);
void declare_model_option(CommandLine& line, MergeOptions& options, const char* names = kModelNames);
void declare_thread_options(CommandLine& line, MergeOptions& options);

// The request, once after parsing. "-" reads the recipe from standard input. Throws InputError with all that is wrong about the options.
MergeRequest make_request(const MergeOptions& options);
Talk talk_of(const MergeOptions& options);

// Makes the plan; prints notices; throws InputError with every problem at once.
Plan plan_or_throw(const MergeRequest& request, Talk talk);

// Throws InputError when `target` holds something and the options do not allow to replace it.
void refuse_occupied(const MergeOptions& options, const std::string& target);

// Runs a plan that was made of `request`, into `target`, with progress and the summary. `called`: what the target is called there; empty =
// by its path. The exit code.
int run_and_tell(const Plan& plan, MergeRequest request, const std::string& target, Talk talk, const std::string& called = {});

// Merges into `target` and prints the summary. The exit code.
int merge_into(const MergeOptions& options, const std::string& target);

}  // namespace crucible
