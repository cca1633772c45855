// crucible mergekit-legacy: mergekit 0.1.4's own command line.
#include "commands/command.h"
#include "commands/shared/legacy_command.h"
#include "commands/shared/mergekit_options.h"

namespace crucible {
namespace {

struct MergekitLegacyFlags {
  LegacyOptions legacy;
  MergekitOptions mergekit;
};

std::function<int()> declare_mergekit_legacy(CommandLine& line) {
  auto o = std::make_shared<MergekitLegacyFlags>();
  line.option("out", o->legacy.front.out, "folder to write the model to").required();
  declare_legacy(line, o->legacy);
  line.flag("--print-yaml", o->legacy.front.print_recipe, "print the recipe, then go on");
  declare_mergekit_options(line, o->mergekit);
  declare_without_effect(line, o->mergekit, "--int8-mask", "masks change no result");
  return [o] {
    apply_mergekit_options(o->mergekit);
    o->legacy.front.merge = o->mergekit.merge;
    o->legacy.front.print_only = false;
    return run_legacy(o->legacy, "<mergekit-legacy>");
  };
}

}  // namespace

const Command& command_mergekit_legacy() {
  static const Command command = {"mergekit-legacy", "Merge models given as options, with mergekit's command line",
                                  declare_mergekit_legacy};
  return command;
}

}  // namespace crucible
