// Reads what a job reads: elements or bytes of a view of stored tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/file.h"
#include "io/page_buffer.h"
#include "plan/plan.h"
#include "run/release_queue.h"

namespace crucible {

// `count` elements from element `begin` on, converted to f32; less those of `less`, where it is given. `raw` is working memory.
// Thread-safe with one `raw` a thread. Throws Error. Returns the number of bytes read.
std::int64_t read_floats(const Plan& plan, const SourceTensor& source, std::int64_t begin, std::int64_t count, float* values,
                         PageBuffer& raw, const float* less = nullptr);

// Stored elements [begin, end) of a source that lie one after the other in a mapped file.
struct MappedPiece {
  std::int64_t begin = 0, end = 0;
  const std::byte* bytes = nullptr;  // of the first one; null where the file cannot be mapped
  DType dtype = DType::kF32;
  const ReadFile* file = nullptr;
  const FileMapping* mapping = nullptr;

  bool holds(std::int64_t first, std::int64_t count) const noexcept { return bytes != nullptr && begin <= first && first + count <= end; }
  // read_floats of elements that it holds, without a copy. Returns where they lie. Throws Error where the file lost pages.
  const std::byte* read(std::int64_t first, std::int64_t count, float* values, const float* less = nullptr) const;
};
// The one that has element `at`.
MappedPiece find_mapped(const Plan& plan, const SourceTensor& source, std::int64_t at);
// Where files are mapped, gives the queue the bytes of elements [begin, begin + count).
void release_mapped(const Plan& plan, const SourceTensor& source, std::int64_t begin, std::int64_t count, ReleaseQueue& queue);

// `size` stored bytes from byte `offset` of the tensor on, as they are, in `raw`. The pieces have one type. Throws Error.
const std::byte* read_stored_bytes(const Plan& plan, const SourceTensor& source, std::int64_t offset, std::int64_t size, PageBuffer& raw);

}  // namespace crucible
