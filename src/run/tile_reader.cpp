#include "run/tile_reader.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "simd/ops.h"
#include "tensor/convert.h"

namespace crucible {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

std::int64_t bytes_of_inputs(const Job& job, std::int64_t elems) {
  std::int64_t bits = job.base ? facts(job.base->tensor->info.dtype).bits : 0;
  for (const SourceTensor& s : job.sources) bits += facts(s.tensor->info.dtype).bits;
  return elems * bits / 8;
}

void TileReader::begin_chunk(const Job& job, std::int64_t chunk, TileBuffers& buffers) noexcept {
  buffers.job = &job;
  buffers.chunk = chunk;
  for (TileBuffers::Ahead& ahead : buffers.ahead) ahead.begin = ahead.end = 0;
  buffers.mapped.assign(buffers.mapped.size(), {});
  buffers.timed = choice_.is_open();
  buffers.reading = choice_.way(chunk);
  buffers.seconds = 0;
}

void TileReader::end_chunk(TileBuffers& buffers) {
  if (buffers.timed) choice_.add(*buffers.job, buffers.chunk, buffers.seconds, buffers.bytes_read);
  add_bytes_read(buffers);
}

void TileReader::prefetch(TileBuffers& buffers) noexcept {
  for (const TileBuffers::Upcoming& next : buffers.upcoming) {
    const std::int64_t end = next.size * (buffers.prefetched + 1) / kPrefetchParts;
    for (std::int64_t i = next.size * buffers.prefetched / kPrefetchParts; i < end; i += kCacheLine)
      __builtin_prefetch(next.bytes + i, 0, 1);
  }
  ++buffers.prefetched;
}

void TileReader::release(const Job& job, std::int64_t begin, std::int64_t end) {
  const Clock::time_point start = Clock::now();
  if (job.base) release_mapped(plan_, *job.base, begin, end - begin, done_with_);
  for (const SourceTensor& s : job.sources) release_mapped(plan_, s, begin, end - begin, done_with_);
  if (choice_.is_open()) choice_.add_release(seconds_since(start));
}

void TileReader::settle_reading() {
  if (!choice_.is_open()) return;
  const Clock::time_point start = Clock::now();
  done_with_.flush();
  choice_.add_release(seconds_since(start));
  choice_.settle();
}

TileInputs TileReader::read(const Job& job, const Tile& tile, std::int64_t end, InputForm form, TileBuffers& buffers) {
  CHECK(form == InputForm::kValues || job.base, "{}", job.info.name);
  const std::size_t count = job.sources.size() + (job.base ? 1 : 0);
  if (buffers.inputs.size() < count) buffers.inputs.resize(count);
  if (buffers.ahead.size() < count) buffers.ahead.resize(count);
  if (buffers.mapped.size() < count) buffers.mapped.resize(count);
  buffers.models.clear();
  buffers.upcoming.clear();
  buffers.prefetched = 0;
  const Clock::time_point start = buffers.timed ? Clock::now() : Clock::time_point();
  const Request request{tile, end, job.tiling.tile_elems, kAheadBytes / std::max<std::int64_t>(1, static_cast<std::int64_t>(count))};
  TileInputs inputs;
  std::size_t slot = 0;
  if (job.base) inputs.base = read_input(*job.base, request, slot++, nullptr, buffers);
  const float* less = form == InputForm::kTaskVectors ? inputs.base : nullptr;
  for (const SourceTensor& s : job.sources) buffers.models.push_back(read_input(s, request, slot++, less, buffers));
  inputs.in_form(form) = buffers.models;
  if (buffers.timed) buffers.seconds += seconds_since(start);
  return inputs;
}

const std::byte* TileReader::read_bytes(const SourceTensor& source, std::int64_t offset, std::int64_t size, TileBuffers& buffers) {
  buffers.bytes_read += size;
  return read_stored_bytes(plan_, source, offset, size, buffers.raw);
}

const std::byte* TileReader::convert(const Job& job, std::int64_t offset, std::int64_t size, TileBuffers& buffers) {
  const std::int64_t elem = facts(job.info.dtype).bits / 8;
  const std::int64_t count = size / elem;
  if (buffers.inputs.empty()) buffers.inputs.resize(1);
  AlignedVector<float>& values = buffers.inputs.front();
  if (values.size() < static_cast<std::size_t>(count)) values.resize(static_cast<std::size_t>(count));
  buffers.bytes_read += read_floats(plan_, job.sources.front(), offset / elem, count, values.data(), buffers.raw);
  const std::int64_t before = simd::count_nonfinite(values.data(), count);
  if (buffers.converted.size() < static_cast<std::size_t>(size)) buffers.converted.resize(static_cast<std::size_t>(size));
  std::byte* raw = buffers.converted.data();
  if (store_floats(job.info.dtype, values.data(), raw, count).nonfinite > before) {
    throw Error(ErrorCode::kNumeric, fmt::format("tensor {} has values that {} cannot hold; use a wider out_dtype",
                                                 printable(job.info.name), facts(job.info.dtype).torch_name));
  }
  return raw;
}

const float* TileReader::read_input(const SourceTensor& source, const Request& request, std::size_t slot, const float* less,
                                    TileBuffers& buffers) {
  AlignedVector<float>& values = buffers.inputs[slot];
  values.resize(static_cast<std::size_t>(request.tile_elems));
  const Tile& tile = request.tile;
  const ViewTensor& tensor = *source.tensor;
  const std::int64_t elem = facts(tensor.info.dtype).bits / 8;
  if (buffers.reading == Reading::kMapped) {
    MappedPiece& piece = buffers.mapped[slot];
    if (!piece.holds(tile.begin, tile.count)) piece = find_mapped(plan_, source, tile.begin);
    if (piece.holds(tile.begin, tile.count)) {
      const std::int64_t size = tile.count * facts(piece.dtype).bits / 8;
      buffers.upcoming.push_back({piece.read(tile.begin, tile.count, values.data(), less) + 2 * size, size});
      buffers.bytes_read += size;
      return values.data();
    }
  }
  TileBuffers::Ahead& ahead = buffers.ahead[slot];
  if (tile.begin < ahead.begin || tile.begin + tile.count > ahead.end) {
    const std::int64_t room = request.share / elem / request.tile_elems * request.tile_elems;
    if (!tensor.has_one_dtype() || room <= tile.count) {
      buffers.bytes_read += read_floats(plan_, source, tile.begin, tile.count, values.data(), buffers.raw, less);
      return values.data();
    }
    ahead.begin = ahead.end = 0;  // should reading fail
    const std::int64_t number = std::max(tile.count, std::min(room, request.end - tile.begin));
    ahead.bytes = read_stored_bytes(plan_, source, tile.begin * elem, number * elem, ahead.raw);
    buffers.bytes_read += number * elem;
    ahead.begin = tile.begin;
    ahead.end = tile.begin + number;
  }
  load_floats(tensor.info.dtype, ahead.bytes + (tile.begin - ahead.begin) * elem, values.data(), tile.count, less);
  return values.data();
}

}  // namespace crucible
