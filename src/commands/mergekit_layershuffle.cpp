// crucible mergekit-layershuffle: mergekit 0.1.4's own command line.
#include "commands/command.h"
#include "commands/shared/mergekit_options.h"
#include "commands/shared/shuffle_command.h"

namespace crucible {
namespace {

struct MergekitLayershuffleFlags {
  ShuffleOptions shuffle;
  MergekitOptions mergekit;
};

std::function<int()> declare_mergekit_layershuffle(CommandLine& line) {
  auto o = std::make_shared<MergekitLayershuffleFlags>();
  FrontEnd& front = o->shuffle.front;
  line.option("out", front.out, "folder to write the model to").required();
  declare_shuffle(line, o->shuffle);
  line.flag("--print-yaml", front.print_recipe, "print the recipe, then go on");
  line.option("--write-yaml", front.write_recipe, "file to write the recipe to");
  line.flag("--dry-run", front.dry_run, "write no model");
  declare_mergekit_options(line, o->mergekit, "--model-dir");
  return [o] {
    apply_mergekit_options(o->mergekit);
    o->shuffle.front.merge = o->mergekit.merge;
    o->shuffle.front.print_only = o->shuffle.front.dry_run;
    return run_shuffle(o->shuffle, "<mergekit-layershuffle>");
  };
}

}  // namespace

const Command& command_mergekit_layershuffle() {
  static const Command command = {"mergekit-layershuffle", "Draw layers at random, with mergekit's command line",
                                  declare_mergekit_layershuffle};
  return command;
}

}  // namespace crucible
