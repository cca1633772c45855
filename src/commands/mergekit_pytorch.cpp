// crucible mergekit-pytorch: mergekit 0.1.4's own command line.
#include "commands/command.h"
#include "commands/shared/mergekit_options.h"
#include "commands/shared/raw_run.h"

namespace crucible {
namespace {

struct MergekitPytorchFlags {
  RawOptions raw;
  MergekitOptions mergekit;
};

std::function<int()> declare_mergekit_pytorch(CommandLine& line) {
  auto o = std::make_shared<MergekitPytorchFlags>();
  line.option("config", o->mergekit.merge.recipe, "recipe with merge_method, models, base_model, parameters, dtype").required();
  line.option("out", o->raw.out, "folder to write the merged weights to").required();
  declare_raw(line, o->raw);
  declare_mergekit_options(line, o->mergekit);
  return [o] {
    apply_mergekit_options(o->mergekit);
    o->raw.merge = o->mergekit.merge;
    return run_raw(o->raw);
  };
}

}  // namespace

const Command& command_mergekit_pytorch() {
  static const Command command = {"mergekit-pytorch", "Merge weight files of any kind, with mergekit's command line",
                                  declare_mergekit_pytorch};
  return command;
}

}  // namespace crucible
