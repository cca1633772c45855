#include "run/source_reader.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/convert.h"

namespace crucible {
namespace {

const Checkpoint& checkpoint_of(const Plan& plan, const Piece& piece) {
  return plan.inputs[static_cast<std::size_t>(piece.input)].checkpoint;
}

// Calls `read(piece, first element within the stored tensor, number, elements done before)` for all that [begin, begin + count) touches.
template <typename Read>
void for_pieces(const ViewTensor& tensor, std::int64_t begin, std::int64_t count, const Read& read) {
  std::int64_t at = 0;  // of the piece, in the view
  std::int64_t done = 0;
  for (const Piece& piece : tensor.pieces) {
    const std::int64_t from = std::max(begin, at);
    const std::int64_t to = std::min(begin + count, at + piece.count);
    if (from < to) {
      read(piece, piece.begin + from - at, to - from, done);
      done += to - from;
    }
    at += piece.count;
    if (done == count) return;
  }
  CHECK(done == count, "{} of {} elements of {}", done, count, tensor.info.name);
}

}  // namespace

std::int64_t read_floats(const Plan& plan, const SourceTensor& source, std::int64_t begin, std::int64_t count, float* values,
                         PageBuffer& raw, const float* less) {
  std::int64_t bytes_read = 0;
  for_pieces(*source.tensor, begin, count, [&](const Piece& piece, std::int64_t first, std::int64_t number, std::int64_t done) {
    const StoredTensor& stored = *piece.tensor;
    const std::int64_t elem = facts(stored.info.dtype).bits / 8;
    const std::int64_t offset = stored.offset + first * elem;
    const std::int64_t size = number * elem;
    std::byte* bytes = raw.place(offset, size);
    checkpoint_of(plan, piece).read(stored.file, offset, bytes, static_cast<std::size_t>(size));
    load_floats(stored.info.dtype, bytes, values + done, number, less == nullptr ? nullptr : less + done);
    bytes_read += size;
  });
  return bytes_read;
}

const std::byte* read_stored_bytes(const Plan& plan, const SourceTensor& source, std::int64_t offset, std::int64_t size, PageBuffer& raw) {
  const ViewTensor& tensor = *source.tensor;
  if (tensor.is_whole()) {  // types that do not fill whole bytes too
    const StoredTensor& stored = *tensor.pieces.front().tensor;
    std::byte* bytes = raw.place(stored.offset + offset, size);
    checkpoint_of(plan, tensor.pieces.front()).read(stored.file, stored.offset + offset, bytes, static_cast<std::size_t>(size));
    return bytes;
  }
  const std::int64_t elem = facts(tensor.info.dtype).bits / 8;
  CHECK(tensor.has_one_dtype() && offset % elem == 0 && size % elem == 0, "{}", tensor.info.name);
  std::byte* bytes = raw.place(0, size);
  for_pieces(tensor, offset / elem, size / elem, [&](const Piece& piece, std::int64_t first, std::int64_t number, std::int64_t done) {
    checkpoint_of(plan, piece)
        .read(piece.tensor->file, piece.tensor->offset + first * elem, bytes + done * elem, static_cast<std::size_t>(number * elem));
  });
  return bytes;
}

}  // namespace crucible
