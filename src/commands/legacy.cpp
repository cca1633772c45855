// crucible legacy: a merge asked for by options alone, as mergekit-legacy does it.
#include <CLI/CLI.hpp>

#include "commands/command.h"
#include "commands/shared/legacy_command.h"

namespace crucible {
namespace {

std::function<int()> declare(CLI::App& app) {
  auto o = std::make_shared<LegacyOptions>();
  declare_front_end(app, o->front);
  declare_legacy(app, *o);
  app.add_flag("--int8-mask")->description("no effect: masks change no result")->group("Accepted, without effect");
  return [o] { return run_legacy(*o, "<crucible legacy>"); };
}

}  // namespace

const Command& command_legacy() {
  static const Command command = {"legacy", "Merge models given as options, without a recipe file", declare};
  return command;
}

}  // namespace crucible
