#include "run/source_reader.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/convert.h"

namespace crucible {
namespace {

const Checkpoint& checkpoint_of(const Plan& plan, const Piece& piece) {
  return plan.inputs[static_cast<std::size_t>(piece.input)].checkpoint;
}

const ReadFile& file_of(const Plan& plan, const Piece& piece) { return checkpoint_of(plan, piece).weight_file(piece.tensor->file); }

std::int64_t elem_bytes(const Piece& piece) { return facts(piece.tensor->info.dtype).bits / 8; }

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
    const std::int64_t elem = elem_bytes(piece);
    const std::int64_t offset = stored.offset + first * elem;
    const std::int64_t size = number * elem;
    std::byte* bytes = raw.place(offset, size);
    checkpoint_of(plan, piece).read(stored.file, offset, bytes, static_cast<std::size_t>(size));
    load_floats(stored.info.dtype, bytes, values + done, number, less == nullptr ? nullptr : less + done);
    bytes_read += size;
  });
  return bytes_read;
}

const std::byte* MappedPiece::read(std::int64_t first, std::int64_t count, float* values, const float* less) const {
  const std::byte* from = bytes + (first - begin) * facts(dtype).bits / 8;
  load_floats(dtype, from, values, count, less);
  if (mapping->lost() >= 0) [[unlikely]]
    file->throw_lost(mapping->lost());
  return from;
}

MappedPiece find_mapped(const Plan& plan, const SourceTensor& source, std::int64_t at) {
  MappedPiece found;
  for_pieces(*source.tensor, at, 1, [&](const Piece& piece, std::int64_t first, std::int64_t, std::int64_t) {
    found.begin = at - (first - piece.begin);
    found.end = found.begin + piece.count;
    found.dtype = piece.tensor->info.dtype;
    found.file = &file_of(plan, piece);
    found.mapping = found.file->mapping();
    if (found.mapping != nullptr) found.bytes = found.mapping->bytes() + piece.tensor->offset + piece.begin * elem_bytes(piece);
  });
  return found;
}

void release_mapped(const Plan& plan, const SourceTensor& source, std::int64_t begin, std::int64_t count, ReleaseQueue& queue) {
  for_pieces(*source.tensor, begin, count, [&](const Piece& piece, std::int64_t first, std::int64_t number, std::int64_t) {
    const std::int64_t elem = elem_bytes(piece);
    if (const FileMapping* mapping = file_of(plan, piece).mapping())
      queue.add(*mapping, piece.tensor->offset + first * elem, number * elem);
  });
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
