// CPU levels: what the loops of this folder are compiled for.
#pragma once

#include <string>
#include <vector>

namespace crucible::simd {

// The CPU levels this machine can run, best first ("AVX3", "AVX2", "SSE2", ...), and the one in use.
std::vector<std::string> available_levels();
std::string level_in_use();
// Uses no level above the named one, for tests and comparisons; an empty name lifts the limit. Returns false for an unknown name.
bool limit_level(const std::string& name);

}  // namespace crucible::simd
