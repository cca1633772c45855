// crucible layershuffle: a model whose layers are drawn at random from others.
#include "commands/command.h"
#include "commands/shared/shuffle_command.h"

namespace crucible {
namespace {

std::function<int()> declare_layershuffle(CommandLine& line) {
  auto o = std::make_shared<ShuffleOptions>();
  declare_front_end(line, o->front, "--model-dir");  // --model is a model here
  declare_shuffle(line, *o);
  return [o] { return run_shuffle(*o, "<crucible layershuffle>"); };
}

}  // namespace

const Command& command_layershuffle() {
  static const Command command = {"layershuffle", "Draw the layers of a model at random from several models", declare_layershuffle};
  return command;
}

}  // namespace crucible
