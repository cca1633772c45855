// crucible legacy: a merge asked for by options alone, as mergekit-legacy does it.
#include "commands/command.h"
#include "commands/shared/legacy_command.h"

namespace crucible {
namespace {

std::function<int()> declare_legacy(CommandLine& line) {
  auto o = std::make_shared<LegacyOptions>();
  declare_front_end(line, o->front);
  declare_legacy(line, *o);
  line.unused_flag("--int8-mask", "no effect: masks change no result").group("Accepted, without effect");
  return [o] { return run_legacy(*o, "<crucible legacy>"); };
}

}  // namespace

const Command& command_legacy() {
  static const Command command = {"legacy", "Merge models given as options, without a recipe file", declare_legacy};
  return command;
}

}  // namespace crucible
