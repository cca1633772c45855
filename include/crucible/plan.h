// Choices about how a recipe and its models become one plan.
#pragma once

namespace crucible {

// What becomes of a tensor that some of the models have and others lack, where no difference of spelling explains it.
enum class MissingTensors {
  kError,
  kIntersection,  // it is left out of the output
  kUnion,         // it is merged from the models that have it
  kDonor,         // the same, but the output has no tensor that the base (or first model) lacks: it stays that network
};

}  // namespace crucible
