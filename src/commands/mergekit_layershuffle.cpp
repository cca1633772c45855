// crucible mergekit-layershuffle: mergekit 0.1.4's own command line.
#include <CLI/CLI.hpp>

#include "commands/command.h"
#include "commands/shared/mergekit_options.h"
#include "commands/shared/shuffle_command.h"

namespace crucible {
namespace {

struct Options {
  ShuffleOptions shuffle;
  MergekitOptions mergekit;
};

std::function<int()> declare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  FrontEnd& front = o->shuffle.front;
  app.add_option("out", front.out, "folder to write the model to")->required();
  declare_shuffle(app, o->shuffle);
  app.add_flag("--print-yaml", front.print_recipe, "print the recipe, then go on");
  app.add_option("--write-yaml", front.write_recipe, "file to write the recipe to");
  app.add_flag("--dry-run", front.dry_run, "write no model");
  declare_mergekit_options(app, o->mergekit, "--model-dir");
  return [o] {
    apply_mergekit_options(o->mergekit);
    o->shuffle.front.merge = o->mergekit.merge;
    o->shuffle.front.print_only = o->shuffle.front.dry_run;
    return run_shuffle(o->shuffle, "<mergekit-layershuffle>");
  };
}

}  // namespace

const Command& command_mergekit_layershuffle() {
  static const Command command = {"mergekit-layershuffle", "Draw layers at random, with mergekit's command line", declare};
  return command;
}

}  // namespace crucible
