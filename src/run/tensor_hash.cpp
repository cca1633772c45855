#include "run/tensor_hash.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "base/checked.h"

namespace crucible {

std::int64_t hash_chunk_bytes(const Job& job) noexcept {
  if (job.kind == Job::Kind::kCopy) return kCopyChunk;
  return std::max<std::int64_t>(job.tiling.chunk_elems(), 1) * (facts(job.info.dtype).bits / 8);
}

TensorHashes::TensorHashes(const Plan& plan) : plan_(plan) {
  std::size_t chunks = 0;
  for (const Job& job : plan.jobs) {
    first_.push_back(chunks);
    chunks += static_cast<std::size_t>(ceil_div(job.bytes, hash_chunk_bytes(job)));
  }
  first_.push_back(chunks);
  chunks_.resize(chunks);
}

void TensorHashes::add(const Job& job, std::int64_t offset, const void* data, std::size_t size) noexcept {
  const auto index = static_cast<std::size_t>(&job - plan_.jobs.data());
  const std::size_t chunk = first_[index] + static_cast<std::size_t>((offset - job.offset) / hash_chunk_bytes(job));
  DCHECK(index < plan_.jobs.size() && chunk < first_[index + 1], "job {}, chunk {}", index, chunk);
  chunks_[chunk] = hash128(data, size);
}

std::vector<std::string> TensorHashes::finish() const {
  std::vector<std::string> hashes;
  for (std::size_t j = 0; j < plan_.jobs.size(); ++j) {
    hashes.push_back(combined_hex(std::span(chunks_).subspan(first_[j], first_[j + 1] - first_[j])));
  }
  return hashes;
}

}  // namespace crucible
