// crucible mergekit-multi: mergekit 0.1.4's own command line.
#include "commands/command.h"
#include "commands/shared/mergekit_options.h"
#include "commands/shared/multi_run.h"

namespace crucible {
namespace {

struct MergekitMultiFlags {
  MultiOptions multi;
  MergekitOptions mergekit;
};

std::function<int()> declare_mergekit_multi(CommandLine& line) {
  auto o = std::make_shared<MergekitMultiFlags>();
  line.option("config", o->mergekit.merge.recipe, "file of recipes with `---` between them, each but one with a `name`").required();
  line.option("--out-path", o->multi.out, "folder for the document without a name");
  line.option("--intermediate-dir,-I", o->multi.intermediate_dir, "folder for the outputs of the documents with a name").required();
  line.flag("--lazy,!--no-lazy", o->multi.reuse, "do not merge again what a record says is done (default on)");
  declare_mergekit_options(line, o->mergekit);
  return [o] {
    apply_mergekit_options(o->mergekit);
    o->multi.merge = o->mergekit.merge;
    return run_multi(o->multi);
  };
}

}  // namespace

const Command& command_mergekit_multi() {
  static const Command command = {"mergekit-multi", "Run the merges of one file, with mergekit's command line", declare_mergekit_multi};
  return command;
}

}  // namespace crucible
