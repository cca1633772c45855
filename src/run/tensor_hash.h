// Hashes of tensors, taken of their bytes while these pass by.
//
// A tensor's hash is XXH3-128 over the XXH3-128 (16 big-endian bytes) of each of its chunks, in order; a chunk is what is written at
// once: the bytes of a chunk of tiles of a merge, kCopyChunk bytes of a copy, less at the end. So the order of the writes does not matter.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/hash.h"
#include "plan/plan.h"

namespace crucible {

inline constexpr std::int64_t kCopyChunk = std::int64_t{1} << 17;

// Of a job's output; the last chunk may be shorter.
std::int64_t hash_chunk_bytes(const Job& job) noexcept;

class TensorHashes {
 public:
  explicit TensorHashes(const Plan& plan);
  // One chunk of the output of `job`, which is one of the plan's, at `offset` of its file. Thread-safe for different chunks.
  void add(const Job& job, std::int64_t offset, const void* data, std::size_t size) noexcept;
  // By job, as in the plan. All chunks must have come.
  std::vector<std::string> finish() const;

 private:
  const Plan& plan_;
  std::vector<std::size_t> first_;  // chunk of each job, and the end
  std::vector<Hash128> chunks_;
};

}  // namespace crucible
