#include "run/tile_reader.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "run/source_reader.h"
#include "simd/ops.h"
#include "tensor/convert.h"

namespace crucible {

TileInputs TileReader::read(const Job& job, const Tile& tile, InputForm form, TileBuffers& buffers) {
  CHECK(form == InputForm::kValues || job.base, "{}", job.info.name);
  const std::size_t count = job.sources.size() + (job.base ? 1 : 0);
  if (buffers.inputs.size() < count) buffers.inputs.resize(count);
  buffers.models.clear();
  TileInputs inputs;
  std::size_t slot = 0;
  if (job.base) inputs.base = read_input(*job.base, tile, job.tiling.tile_elems, nullptr, buffers.inputs[slot++], buffers);
  const float* less = form == InputForm::kTaskVectors ? inputs.base : nullptr;
  for (const SourceTensor& s : job.sources)
    buffers.models.push_back(read_input(s, tile, job.tiling.tile_elems, less, buffers.inputs[slot++], buffers));
  inputs.in_form(form) = buffers.models;
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
  std::vector<float>& values = buffers.inputs.front();
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

const float* TileReader::read_input(const SourceTensor& source, const Tile& tile, std::int64_t tile_elems, const float* less,
                                    std::vector<float>& values, TileBuffers& buffers) {
  values.resize(static_cast<std::size_t>(tile_elems));
  buffers.bytes_read += read_floats(plan_, source, tile.begin, tile.count, values.data(), buffers.raw, less);
  return values.data();
}

}  // namespace crucible
