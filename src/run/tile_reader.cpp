#include "run/tile_reader.h"

#include "tensor/convert.h"

namespace crucible {

TileInputs TileReader::read(const Job& job, const Tile& tile, TileBuffers& buffers) {
  const std::size_t count = job.sources.size() + (job.base ? 1 : 0);
  if (buffers.inputs.size() < count) buffers.inputs.resize(count);
  buffers.models.clear();
  TileInputs inputs;
  std::size_t slot = 0;
  if (job.base) inputs.base = read_floats(*job.base, tile, job.tiling.tile_elems, buffers.inputs[slot++], buffers);
  for (const SourceTensor& s : job.sources)
    buffers.models.push_back(read_floats(s, tile, job.tiling.tile_elems, buffers.inputs[slot++], buffers));
  inputs.models = buffers.models;
  return inputs;
}

const std::byte* TileReader::read_bytes(const SourceTensor& source, std::int64_t offset, std::int64_t size, TileBuffers& buffers) {
  std::byte* raw = buffers.raw_bytes(size);
  const Checkpoint& checkpoint = plan_.inputs[static_cast<std::size_t>(source.input)].checkpoint;
  checkpoint.read(source.tensor->file, source.tensor->offset + offset, raw, static_cast<std::size_t>(size));
  bytes_read_ += size;
  return raw;
}

const float* TileReader::read_floats(const SourceTensor& source, const Tile& tile, std::int64_t tile_elems, std::vector<float>& values,
                                     TileBuffers& buffers) {
  const DType dtype = source.tensor->info.dtype;
  const std::int64_t elem = facts(dtype).bits / 8;
  values.resize(static_cast<std::size_t>(tile_elems));
  buffers.raw_bytes(tile_elems * elem);
  const std::byte* raw = read_bytes(source, tile.begin * elem, tile.count * elem, buffers);
  load_floats(dtype, raw, values.data(), tile.count);
  return values.data();
}

}  // namespace crucible
