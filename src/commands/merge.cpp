// crucible merge: the main job.
#include "commands/command.h"
#include "commands/shared/merge_options.h"

namespace crucible {
namespace {

std::function<int()> declare_merge(CommandLine& line) {
  auto options = std::make_shared<MergeOptions>();
  auto target = std::make_shared<std::string>();
  declare_merge_options(line, *options, OptionSet::kRun);
  line.option("out", *target, "folder to write the merged model to").required();
  return [options, target] { return merge_into(*options, *target); };
}

}  // namespace

const Command& command_merge() {
  static const Command command = {"merge", "Merge models as a recipe says", declare_merge};
  return command;
}

}  // namespace crucible
