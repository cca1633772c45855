// crucible raw: any weight files with tensors of equal names, merged without a config.
#include <CLI/CLI.hpp>

#include "commands/command.h"
#include "commands/shared/raw_run.h"

namespace crucible {
namespace {

std::function<int()> declare(CLI::App& app) {
  auto o = std::make_shared<RawOptions>();
  app.add_option("config", o->merge.recipe,
                 "recipe with merge_method, models, base_model, parameters, dtype, out_dtype; - reads standard input")
      ->required();
  app.add_option("out", o->out, "folder, or file that ends in .safetensors")->required();
  app.add_flag("--dry-run", o->dry_run, "show the plan and write nothing");
  declare_raw(app, *o);
  declare_options_of_set(app, o->merge, OptionSet::kRun);
  return [o] { return run_raw(*o); };
}

}  // namespace

const Command& command_raw() {
  static const Command command = {"raw", "Merge weight files or folders of any kind, tensor by tensor", declare};
  return command;
}

}  // namespace crucible
