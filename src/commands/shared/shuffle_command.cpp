#include "commands/shared/shuffle_command.h"

#include "commands/shared/shuffle.h"

namespace crucible {

void declare_shuffle(CommandLine& line, ShuffleOptions& o) {
  line.option("--model,-m", o.models, "model to draw layers from (repeatable)").required().repeatable();
  line.option("--weight,-w", o.weights,
              "chance of each model, in the same order; with --full-random the share of its layers (default: equal)")
      .repeatable();
  line.flag("--full-random", o.full_random, "take any layers in any order, not the same layer of one of the models");
  line.flag("--fp16", o.fp16, "write float16");
}

int run_shuffle(ShuffleOptions& o, const std::string& name) {
  if (o.fp16) o.front.dtype = "float16";
  const MergeRequest request = make_request(o.front.merge);
  Diagnostics diagnostics;
  Shuffling shuffling;
  shuffling.weights = o.weights;
  shuffling.kind = o.full_random ? ShuffleKind::kFull : ShuffleKind::kSameLayer;
  shuffling.seed = request.seed;
  for (const std::string& text : o.models) {
    if (const auto ref = model_argument(text, diagnostics)) shuffling.models.push_back(*ref);
  }
  Stacking stacking;
  stacking.dtype = dtype_of(o.front, diagnostics);
  if (!diagnostics.has_errors()) stacking.slices = shuffle_layers(shuffling, request.model_dirs, diagnostics);
  const std::string recipe = diagnostics.has_errors() ? std::string() : stacking_recipe(stacking, request.model_dirs, diagnostics);
  diagnostics.throw_if_errors();
  return run_recipe(o.front, name, recipe);
}

}  // namespace crucible
