// How a merge is run: what decides its speed and memory, never a byte of its output.
#pragma once

namespace crucible {

// How stored weights reach the merge.
enum class Reading {
  kMeasured,    // pieces of the first tensors in both ways, the rest in the one that was faster
  kByPosition,  // copied into buffers
  kMapped,      // seen where the system holds them, where files can be mapped and the memory budget has room
};

}  // namespace crucible
