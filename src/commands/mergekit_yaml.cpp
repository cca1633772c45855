// crucible mergekit-yaml: mergekit 0.1.4's own command line. What has a meaning here is honoured; for the rest one line says why not.
#include "commands/command.h"
#include "commands/shared/mergekit_options.h"

namespace crucible {
namespace {

struct MergekitYamlFlags {
  MergekitOptions mergekit;
  std::string out;
};

std::function<int()> declare_mergekit_yaml(CommandLine& line) {
  auto o = std::make_shared<MergekitYamlFlags>();
  line.option("config", o->mergekit.merge.recipe, "recipe file (YAML)").required();
  line.option("out", o->out, "folder to write the merged model to").required();
  declare_mergekit_options(line, o->mergekit);
  return [o] {
    apply_mergekit_options(o->mergekit);
    return merge_into(o->mergekit.merge, o->out);
  };
}

}  // namespace

const Command& command_mergekit_yaml() {
  static const Command command = {"mergekit-yaml", "Merge with mergekit's command line", declare_mergekit_yaml};
  return command;
}

}  // namespace crucible
