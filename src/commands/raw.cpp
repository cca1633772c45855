// crucible raw: any weight files with tensors of equal names, merged without a config.
#include "commands/command.h"
#include "commands/shared/raw_run.h"

namespace crucible {
namespace {

std::function<int()> declare_raw(CommandLine& line) {
  auto o = std::make_shared<RawOptions>();
  line.option("config", o->merge.recipe,
              "recipe with merge_method, models, base_model, parameters, dtype, out_dtype; - reads standard input")
      .required();
  line.option("out", o->out, "folder, or file that ends in .safetensors").required();
  line.flag("--dry-run", o->dry_run, "show the plan and write nothing");
  declare_raw(line, *o);
  declare_options_of_set(line, o->merge, OptionSet::kRun);
  return [o] { return run_raw(*o); };
}

}  // namespace

const Command& command_raw() {
  static const Command command = {"raw", "Merge weight files or folders of any kind, tensor by tensor", declare_raw};
  return command;
}

}  // namespace crucible
