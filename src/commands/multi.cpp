// crucible multi: several merges in one file, some made of the outputs of others.
#include "commands/command.h"
#include "commands/shared/multi_run.h"

namespace crucible {
namespace {

std::function<int()> declare_multi(CommandLine& line) {
  auto o = std::make_shared<MultiOptions>();
  auto again = std::make_shared<bool>(false);
  line.option("config", o->merge.recipe, "file of recipes with `---` between them, each but one with a `name`; - reads standard input")
      .required();
  line.option("--out-path,--out", o->out, "folder for the document without a name");
  line.option("--intermediate-dir,-I", o->intermediate_dir, "folder that keeps the outputs of the documents with a name");
  line.flag("--keep", o->keep, "keep these outputs beside the result (default: they are removed at the end)");
  line.flag("--again", *again, "merge every document, though a record says that it is done");
  line.flag("--dry-run", o->dry_run, "show the plan of every document and write no model");
  declare_options_of_set(line, o->merge, OptionSet::kRun);
  return [o, again] {
    o->reuse = !*again;
    return run_multi(*o);
  };
}

}  // namespace

const Command& command_multi() {
  static const Command command = {"multi", "Run the merges of one file, some made of the outputs of others", declare_multi};
  return command;
}

}  // namespace crucible
