// Reads one tile of each input of a job and converts it to f32.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/aligned.h"
#include "io/page_buffer.h"
#include "methods/kernel.h"
#include "plan/plan.h"
#include "run/reading_choice.h"
#include "run/release_queue.h"
#include "run/source_reader.h"

namespace crucible {

// Buffers of one worker. They grow to the widest tile.
struct TileBuffers {
  std::vector<AlignedVector<float>> inputs;
  AlignedVector<const float*> models;
  PageBuffer raw;  // of the files
  // Stored bytes of elements [begin, end) of an input.
  struct Ahead {
    std::int64_t begin = 0, end = 0;
    PageBuffer raw;
    const std::byte* bytes = nullptr;
  };
  AlignedVector<Ahead> ahead;         // of each input, for the tiles that follow; of one chunk of one job
  AlignedVector<MappedPiece> mapped;  // of each input, where its last tile lay; of one chunk
  std::vector<std::byte> converted;
  std::int64_t bytes_read = 0;  // of the files, not yet added to the reader's
  // Of the chunk under way.
  const Job* job = nullptr;
  std::int64_t chunk = 0;
  Reading reading = Reading::kByPosition;
  bool timed = false;
  double seconds = 0;  // spent reading and converting, where timed
  // Mapped bytes that will be asked for soon.
  struct Upcoming {
    const std::byte* bytes;
    std::int64_t size;
  };
  AlignedVector<Upcoming> upcoming;
  int prefetched = 0;  // parts of them
};

// Stored bytes of `elems` elements of all inputs of a job; pieces that are not of their tensor's type count as if they were.
std::int64_t bytes_of_inputs(const Job& job, std::int64_t elems);

// Thread-safe; each thread brings its own buffers.
class TileReader {
 public:
  // All inputs of a worker together are read ahead by this much at most, so that they stay in the second cache level: larger reads than a
  // tile cost the system less.
  static constexpr std::int64_t kAheadBytes = std::int64_t{384} << 10;

  static constexpr int kPrefetchParts = 3;

  // At most `release_at_once` bytes that are done with stay mapped.
  TileReader(const Plan& plan, Reading reading, std::int64_t release_at_once)
      : plan_(plan), choice_(reading), done_with_(release_at_once) {}

  // A job without a base has no task vectors. The elements from the tile to `end` may be read with it: they will be asked for next.
  TileInputs read(const Job& job, const Tile& tile, std::int64_t end, InputForm form, TileBuffers& buffers);
  // Tiles are read between these two calls, all of one chunk of a job.
  void begin_chunk(const Job& job, std::int64_t chunk, TileBuffers& buffers) noexcept;
  void end_chunk(TileBuffers& buffers);
  // To be called kPrefetchParts times after each read, with work in between: asks for a part of the mapped bytes of a later tile. A
  // processor that looks ahead by itself stops at the end of a page, and has room for a dozen lines under way at a time.
  static void prefetch(TileBuffers& buffers) noexcept;
  // Stored bytes of a tensor, as they are.
  const std::byte* read_bytes(const SourceTensor& source, std::int64_t offset, std::int64_t size, TileBuffers& buffers);
  // Bytes of a copy in the type of the output. Throws Error where a finite value becomes infinite.
  const std::byte* convert(const Job& job, std::int64_t offset, std::int64_t size, TileBuffers& buffers);

  // May pages of inputs be mapped? Then those of elements [begin, end) are to be released where they will not be read again soon.
  bool maps() const noexcept { return choice_.may_map(); }
  void release(const Job& job, std::int64_t begin, std::int64_t end);
  // A job has had all its passes.
  void settle_reading();

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
  ReadingChoice choice_;
  ReleaseQueue done_with_;
  std::atomic<std::int64_t> bytes_read_{0};
};

}  // namespace crucible
