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
  // Stored bytes of elements [begin, end) of an input.
  struct Ahead {
    std::int64_t begin = 0, end = 0;
    PageBuffer raw;
    const std::byte* bytes = nullptr;
  };
  std::vector<Ahead> ahead;  // of each input, for the tiles that follow; of one chunk of one job
  std::vector<std::byte> converted;
  std::int64_t bytes_read = 0;  // of the files, not yet added to the reader's
};

// Thread-safe; each thread brings its own buffers.
class TileReader {
 public:
  // All inputs of a worker together are read ahead by this much at most, so that they stay in the second cache level: larger reads than a
  // tile cost the system less.
  static constexpr std::int64_t kAheadBytes = std::int64_t{384} << 10;

  explicit TileReader(const Plan& plan) : plan_(plan) {}

  // A job without a base has no task vectors. The elements from the tile to `end` may be read with it: they will be asked for next.
  TileInputs read(const Job& job, const Tile& tile, std::int64_t end, InputForm form, TileBuffers& buffers);
  // What was read ahead belongs to one chunk; this begins another.
  static void begin_chunk(TileBuffers& buffers) noexcept {
    for (TileBuffers::Ahead& ahead : buffers.ahead) ahead.begin = ahead.end = 0;
  }
  // Stored bytes of a tensor, as they are.
  const std::byte* read_bytes(const SourceTensor& source, std::int64_t offset, std::int64_t size, TileBuffers& buffers);
  // Bytes of a copy in the type of the output. Throws Error where a finite value becomes infinite.
  const std::byte* convert(const Job& job, std::int64_t offset, std::int64_t size, TileBuffers& buffers);

  // Moves the buffers' count of bytes to that of all threads. Once a chunk: threads would wait for each other's counter otherwise.
  void add_bytes_read(TileBuffers& buffers) noexcept { bytes_read_ += std::exchange(buffers.bytes_read, 0); }
  std::int64_t bytes_read() const noexcept { return bytes_read_.load(); }

 private:
  struct Request {
    const Tile& tile;
    std::int64_t end;         // of what may be read ahead
    std::int64_t tile_elems;  // of the widest tile
    std::int64_t share;       // of the bytes that are read ahead
  };
  const float* read_input(const SourceTensor& source, const Request& request, std::size_t slot, const float* less, TileBuffers& buffers);

  const Plan& plan_;
  std::atomic<std::int64_t> bytes_read_{0};
};

}  // namespace crucible
