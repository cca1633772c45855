#include "run/reading_choice.h"

namespace crucible {

Reading ReadingChoice::way(std::int64_t chunk) const noexcept {
  const Reading reading = reading_.load(std::memory_order_relaxed);
  if (reading != Reading::kMeasured) return reading;
  return chunk % 2 == 0 ? Reading::kByPosition : Reading::kMapped;
}

void ReadingChoice::add(Reading way, double seconds, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  Total& total = way == Reading::kMapped ? mapped_ : by_position_;
  total.seconds += seconds;
  total.bytes += bytes;
}

void ReadingChoice::settle() {
  if (!is_open()) return;
  const std::lock_guard lock(mutex_);
  if (by_position_.bytes < kEnough || mapped_.bytes < kEnough) return;
  const auto seconds_a_byte = [](const Total& total) { return total.seconds / static_cast<double>(total.bytes); };
  reading_ = seconds_a_byte(mapped_) < seconds_a_byte(by_position_) ? Reading::kMapped : Reading::kByPosition;
}

}  // namespace crucible
