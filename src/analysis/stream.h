// Tensors of several checkpoints, read once in tiles by several threads.
//
// A task is one tensor (of all checkpoints that have it), cut into tiles from its shape alone. Workers take tiles in the order of the
// tasks; each tile's sums are kept apart and added in tile order by the task, and counts are integers: results do not depend on threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "crucible/checkpoint.h"
#include "io/page_buffer.h"

namespace crucible {

// A tensor cut into tiles: whole rows where a row fits, else pieces of one row. The last tile of a row or tensor may be shorter.
struct Cuts {
  std::int64_t elems = 0;
  std::int64_t row = 0;         // elements of a row; the whole tensor where there are no rows
  std::int64_t tile_elems = 0;  // of the widest tile
  std::int64_t pieces = 1;      // tiles of one row; 1 where tiles hold whole rows
  std::int64_t tiles = 0;

  std::int64_t begin(std::int64_t tile) const noexcept;
  std::int64_t count(std::int64_t tile) const noexcept;
};
inline constexpr std::int64_t kStreamTileElems = std::int64_t{1} << 20;
Cuts cut_tensor(const Shape& shape, std::int64_t most_elems = kStreamTileElems);

// Memory of one worker, reused from tile to tile.
struct Workspace {
  std::vector<PageBuffer> raw;             // a tile as it is stored, for each checkpoint
  std::vector<std::vector<float>> values;  // blocks of numbers
  std::vector<std::vector<std::uint64_t>> counts;
  std::vector<std::vector<std::uint32_t>> fine_counts;
};

class TensorTask {
 public:
  virtual ~TensorTask() = default;
  virtual const std::string& name() const noexcept = 0;
  virtual std::int64_t tiles() const noexcept = 0;
  virtual std::int64_t tile_bytes() const noexcept = 0;  // read for one tile, about
  // Makes room; called once, before the first tile.
  virtual void open() = 0;
  // One tile of a pass: any order, any thread.
  virtual void see(int pass, std::int64_t tile, Workspace& space) = 0;
  // All tiles of a pass were seen; called once for each pass, by one thread. Is one more pass needed?
  virtual bool seal(int pass) = 0;
};

struct StreamProgress {
  std::int64_t bytes_done = 0;  // of the first pass
  std::int64_t bytes_total = 0;
  std::string tensor;
};

struct StreamOptions {
  int threads = 1;
  std::int64_t memory_bytes = 0;            // for workers and the tasks under way
  const std::atomic<bool>* stop = nullptr;  // set by a signal handler
  std::function<void(const StreamProgress&)> progress;
};

// How many workers a budget allows when each needs so many bytes. Throws Error{kNoSpace} that names the smallest budget that does.
int affordable_workers(const StreamOptions& options, std::int64_t worker_bytes);

// Runs all tasks; no more than `workers` of them hold memory at a time. Throws the first Error that a worker met.
void run_tasks(const std::vector<std::unique_ptr<TensorTask>>& tasks, int workers, const StreamOptions& options);

// Calls work(i) for i in [0, count), each once, from several threads. Throws the first Error.
void run_parallel(std::int64_t count, int workers, const std::atomic<bool>* stop, const std::function<void(std::int64_t)>& work);

// "model.layers.*.weight": * stands for any characters. An empty pattern matches everything.
bool matches_pattern(std::string_view pattern, std::string_view name) noexcept;

}  // namespace crucible
