// Reads what a job reads: elements or bytes of a view of stored tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/page_buffer.h"
#include "plan/plan.h"

namespace crucible {

// `count` elements from element `begin` on, converted to f32; less those of `less`, where it is given. `raw` is working memory.
// Thread-safe with one `raw` a thread. Throws Error. Returns the number of bytes read.
std::int64_t read_floats(const Plan& plan, const SourceTensor& source, std::int64_t begin, std::int64_t count, float* values,
                         PageBuffer& raw, const float* less = nullptr);

// `size` stored bytes from byte `offset` of the tensor on, as they are, in `raw`. The pieces have one type. Throws Error.
const std::byte* read_stored_bytes(const Plan& plan, const SourceTensor& source, std::int64_t offset, std::int64_t size, PageBuffer& raw);

}  // namespace crucible
