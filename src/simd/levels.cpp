#include "simd/levels.h"

#include <cstdint>

#include "simd/targets.h"
#include <hwy/highway.h>

namespace crucible::simd {

std::vector<std::string> available_levels() {
  std::vector<std::string> names;
  const std::int64_t supported = hwy::SupportedTargets() & static_cast<std::int64_t>(HWY_TARGETS);
  for (std::int64_t bits = supported; bits != 0; bits &= bits - 1) names.emplace_back(hwy::TargetName(bits & -bits));
  return names;
}

std::string level_in_use() {
  const auto levels = available_levels();
  return levels.empty() ? "baseline" : levels.front();
}

bool limit_level(const std::string& name) {
  hwy::SetSupportedTargetsForTest(0);
  bool known = name.empty();
  if (!known) {
    const std::int64_t supported = hwy::SupportedTargets() & static_cast<std::int64_t>(HWY_TARGETS);
    for (std::int64_t bits = supported; bits != 0; bits &= bits - 1) {
      const std::int64_t target = bits & -bits;
      if (name != hwy::TargetName(target)) continue;
      hwy::SetSupportedTargetsForTest(supported & ~(target - 1));  // lower bits are better levels
      known = true;
      break;
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return known;
}

}  // namespace crucible::simd
