// Runs a plan's survey: what its method must learn from the whole model before the first tensor is merged.
#pragma once

#include <atomic>
#include <memory>

#include "methods/survey.h"
#include "run/tile_reader.h"

namespace crucible {

// Null when the method needs none. Throws the first Error that a worker met.
std::unique_ptr<Survey> run_survey(const Plan& plan, int workers, const std::atomic<bool>* stop, TileReader& reader);

}  // namespace crucible
