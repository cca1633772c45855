#include "run/tile_reader.h"

#include "run/source_reader.h"

namespace crucible {

TileInputs TileReader::read(const Job& job, const Tile& tile, TileBuffers& buffers) {
  const std::size_t count = job.sources.size() + (job.base ? 1 : 0);
  if (buffers.inputs.size() < count) buffers.inputs.resize(count);
  buffers.models.clear();
  TileInputs inputs;
  std::size_t slot = 0;
  if (job.base) inputs.base = read_input(*job.base, tile, job.tiling.tile_elems, buffers.inputs[slot++], buffers);
  for (const SourceTensor& s : job.sources)
    buffers.models.push_back(read_input(s, tile, job.tiling.tile_elems, buffers.inputs[slot++], buffers));
  inputs.models = buffers.models;
  return inputs;
}

const std::byte* TileReader::read_bytes(const SourceTensor& source, std::int64_t offset, std::int64_t size, TileBuffers& buffers) {
  std::byte* raw = buffers.raw_bytes(size);
  read_stored_bytes(plan_, source, offset, size, raw);
  bytes_read_ += size;
  return raw;
}

const float* TileReader::read_input(const SourceTensor& source, const Tile& tile, std::int64_t tile_elems, std::vector<float>& values,
                                    TileBuffers& buffers) {
  values.resize(static_cast<std::size_t>(tile_elems));
  buffers.raw_bytes(tile_elems * (facts(source.tensor->info.dtype).bits / 8));
  bytes_read_ += read_floats(plan_, source, tile.begin, tile.count, values.data(), buffers.raw);
  return values.data();
}

}  // namespace crucible
