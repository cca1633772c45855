// crucible mergekit-yaml: mergekit 0.1.4's own command line. What has a meaning here is honoured; for the rest one line says why not.
#include <CLI/CLI.hpp>

#include "commands/command.h"
#include "commands/shared/mergekit_options.h"

namespace crucible {
namespace {

struct Options {
  MergekitOptions mergekit;
  std::string out;
};

std::function<int()> declare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("config", o->mergekit.merge.recipe, "recipe file (YAML)")->required();
  app.add_option("out", o->out, "folder to write the merged model to")->required();
  declare_mergekit_options(app, o->mergekit);
  return [o] {
    apply_mergekit_options(o->mergekit);
    return merge_into(o->mergekit.merge, o->out);
  };
}

}  // namespace

const Command& command_mergekit_yaml() {
  static const Command command = {"mergekit-yaml", "Merge with mergekit's command line", declare};
  return command;
}

}  // namespace crucible
