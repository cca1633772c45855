// Reads one tile of each input of a job and converts it to f32.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "io/page_buffer.h"
#include "methods/kernel.h"
#include "plan/plan.h"

namespace crucible {

// Buffers of one worker. They grow to the widest tile.
struct TileBuffers {
  std::vector<std::vector<float>> inputs;
  std::vector<const float*> models;
  PageBuffer raw;  // of the files
  std::vector<std::byte> converted;
  std::int64_t bytes_read = 0;  // of the files, not yet added to the reader's
};

// Thread-safe; each thread brings its own buffers.
class TileReader {
 public:
  explicit TileReader(const Plan& plan) : plan_(plan) {}

  // A job without a base has no task vectors.
  TileInputs read(const Job& job, const Tile& tile, InputForm form, TileBuffers& buffers);
  // Stored bytes of a tensor, as they are.
  const std::byte* read_bytes(const SourceTensor& source, std::int64_t offset, std::int64_t size, TileBuffers& buffers);
  // Bytes of a copy in the type of the output. Throws Error where a finite value becomes infinite.
  const std::byte* convert(const Job& job, std::int64_t offset, std::int64_t size, TileBuffers& buffers);

  // Moves the buffers' count of bytes to that of all threads. Once a chunk: threads would wait for each other's counter otherwise.
  void add_bytes_read(TileBuffers& buffers) noexcept { bytes_read_ += std::exchange(buffers.bytes_read, 0); }
  std::int64_t bytes_read() const noexcept { return bytes_read_.load(); }

 private:
  const float* read_input(const SourceTensor& source, const Tile& tile, std::int64_t tile_elems, const float* less,
                          std::vector<float>& values, TileBuffers& buffers);

  const Plan& plan_;
  std::atomic<std::int64_t> bytes_read_{0};
};

}  // namespace crucible
