// Reads one tile of each input of a job and converts it to f32.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "methods/kernel.h"
#include "plan/plan.h"

namespace crucible {

// Buffers of one worker. They grow to the widest tile.
struct TileBuffers {
  std::vector<std::vector<float>> inputs;
  std::vector<const float*> models;
  std::vector<std::byte> raw;

  std::byte* raw_bytes(std::int64_t size) {
    if (raw.size() < static_cast<std::size_t>(size)) raw.resize(static_cast<std::size_t>(size));
    return raw.data();
  }
};

// Thread-safe; each thread brings its own buffers.
class TileReader {
 public:
  explicit TileReader(const Plan& plan) : plan_(plan) {}

  TileInputs read(const Job& job, const Tile& tile, TileBuffers& buffers);
  // Stored bytes of a tensor, as they are, into buffers.raw.
  const std::byte* read_bytes(const SourceTensor& source, std::int64_t offset, std::int64_t size, TileBuffers& buffers);
  // Bytes of a copy in the type of the output, into buffers.raw. Throws Error where a finite value becomes infinite.
  const std::byte* convert(const Job& job, std::int64_t offset, std::int64_t size, TileBuffers& buffers);

  std::int64_t bytes_read() const noexcept { return bytes_read_.load(); }

 private:
  const float* read_input(const SourceTensor& source, const Tile& tile, std::int64_t tile_elems, std::vector<float>& values,
                          TileBuffers& buffers);

  const Plan& plan_;
  std::atomic<std::int64_t> bytes_read_{0};
};

}  // namespace crucible
