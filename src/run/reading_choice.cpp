#include "run/reading_choice.h"

#include <algorithm>
#include <vector>

namespace crucible {
namespace {

Reading way_of_trial(std::int64_t chunk) noexcept { return chunk % 2 == 0 ? Reading::kByPosition : Reading::kMapped; }

}  // namespace

Reading ReadingChoice::way(std::int64_t chunk) const noexcept {
  const Reading reading = reading_.load(std::memory_order_relaxed);
  return reading == Reading::kMeasured ? way_of_trial(chunk) : reading;
}

void ReadingChoice::add(const Job& job, std::int64_t chunk, double seconds, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  Chunks& chunks = way_of_trial(chunk) == Reading::kMapped ? mapped_ : by_position_;
  Cost& cost = chunks[{&job, chunk}];
  cost.seconds += seconds;
  cost.bytes += bytes;
}

void ReadingChoice::add_release(double seconds) {
  const std::lock_guard lock(mutex_);
  release_seconds_ += seconds;
}

ReadingChoice::Cost ReadingChoice::usual_cost(const Chunks& chunks) {
  std::vector<Cost> costs;
  for (const auto& [place, cost] : chunks) {
    if (cost.bytes > 0) costs.push_back(cost);
  }
  std::sort(costs.begin(), costs.end(), [](const Cost& a, const Cost& b) { return a.of_a_byte() < b.of_a_byte(); });
  Cost usual;
  for (std::int64_t i = 0; i < std::ssize(costs) - std::ssize(costs) / kSetAside; ++i) {
    usual.seconds += costs[static_cast<std::size_t>(i)].seconds;
    usual.bytes += costs[static_cast<std::size_t>(i)].bytes;
  }
  return usual;
}

void ReadingChoice::settle() {
  if (!is_open()) return;
  const std::lock_guard lock(mutex_);
  const Cost by_position = usual_cost(by_position_);
  Cost mapped = usual_cost(mapped_);
  if (by_position.bytes < kEnough || mapped.bytes < kEnough) return;
  mapped.seconds += release_seconds_;
  reading_ = mapped.of_a_byte() < kMappedShare * by_position.of_a_byte() ? Reading::kMapped : Reading::kByPosition;
}

}  // namespace crucible
