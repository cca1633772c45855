// The contract between a merge method and whoever streams tensors through it.
//
// A job is one output tensor. It is cut into tiles from its shape alone, small ones: all vectors of a tile stay in the first cache level
// from the conversion of the inputs to that of the output. Tiles in a row make a chunk, the piece that is dealt out to threads, written
// and hashed. The runner calls
//     reduce(pass, tile) for every tile; those of a chunk in order and on one thread, chunks in any order   -> sums and counts
//     seal(pass, totals)  once                                                                              -> one more pass, or map
//     map(tile)           for every tile, in any order, on any thread                                       -> output values
// Per-tile sums are f64 and are added in tile order; counts are integers. So the result depends on the shape only, never on
// threads or budget. Inputs arrive as f32 (f64 inputs are rounded to f32 on load); output is f32, rounded once on store.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned.h"
#include "base/checked.h"
#include "base/random.h"
#include "crucible/tensor.h"
#include "methods/measure.h"
#include "schema/field.h"

namespace crucible {

enum class Grain {
  kElement,  // an output element needs the same element of the inputs (and per-tensor scalars)
  kRow,      // ... needs its whole row: tiles are whole rows, unless a row is longer than a tile may be
};

// Elements [begin, begin + count) of the output tensor.
struct Tile {
  std::int64_t index = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

// A tile of element grain: its f32 inputs and its output stay in the first cache level.
inline constexpr std::int64_t kTileElems = std::int64_t{1} << 10;
inline constexpr std::int64_t kChunkElems = std::int64_t{1} << 16;  // of the tiles of a chunk, where one tile is not more
inline constexpr std::int64_t kLongestRow = std::int64_t{1} << 20;  // a longer row is not held whole in a tile

// How a shape is cut. Pure: shape and grain decide.
struct Tiling {
  std::int64_t elems = 0;
  std::int64_t row = 1;         // length of a row
  std::int64_t tile_elems = 1;  // of every tile but the last
  std::int64_t tiles = 0;
  bool whole_rows = false;       // every tile is a number of whole rows
  std::int64_t chunk_tiles = 1;  // of every chunk but the last
  Tile tile(std::int64_t index) const noexcept;
  std::int64_t chunk_elems() const noexcept { return tile_elems * chunk_tiles; }
  std::int64_t chunk_begin(std::int64_t chunk) const noexcept { return chunk * chunk_elems(); }
  std::int64_t chunk_end(std::int64_t chunk) const noexcept { return std::min(elems, (chunk + 1) * chunk_elems()); }
  std::int64_t chunk_of(const Tile& tile) const noexcept { return tile.index / chunk_tiles; }
  std::int64_t chunks() const noexcept { return ceil_div(tiles, chunk_tiles); }
  // Calls visit(tile) for the tiles of a chunk, in order.
  template <typename Visit>
  void for_tiles_of_chunk(std::int64_t chunk, const Visit& visit) const {
    for (std::int64_t t = chunk * chunk_tiles; t < std::min(tiles, (chunk + 1) * chunk_tiles); ++t) visit(tile(t));
  }
  // Calls visit(tile, end) for those of them for which wants(tile); all tiles up to the element `end` are among these.
  template <typename Wants, typename Visit>
  void for_wanted_of_chunk(std::int64_t chunk, const Wants& wants, const Visit& visit) const {
    std::int64_t end = 0;
    for_tiles_of_chunk(chunk, [&](const Tile& each) {
      if (!wants(each)) return;
      if (end <= each.begin) {
        std::int64_t next = each.index + 1;
        while (next < std::min(tiles, (chunk + 1) * chunk_tiles) && wants(tile(next))) ++next;
        end = std::min(elems, next * tile_elems);
      }
      visit(each, end);
    });
  }
};
Tiling make_tiling(const Shape& shape, Grain grain);

class Survey;

// What a kernel holds its own arithmetic against, on a sample: the parameters as the plan has them, never those that it took.
struct Audit {
  const Params* global = nullptr;
  std::span<const std::shared_ptr<const Params>> models;
};

// What make_kernel gets.
struct KernelSpec {
  std::size_t job = 0;  // its number among the jobs of the plan
  std::string_view tensor;
  const Shape* shape = nullptr;
  Tiling tiling;
  bool has_base = false;
  const Params* global = nullptr;
  std::span<const Params> models;          // one per input model
  std::span<const RandomKey> random_keys;  // one per input model
  std::span<const int> inputs;             // one per input model: equal numbers are one model, in all jobs of a plan
  const Survey* survey = nullptr;          // sealed; null where the method needs none, and while planning
  const Audit* audit = nullptr;            // null: nothing beyond the counts is measured
  std::int64_t keep_budget_bytes = 0;      // a kernel may keep this much between passes; more must be recomputed
};

// How a kernel or a survey wants the models of a job that has a base.
enum class InputForm {
  kValues,
  kTaskVectors,  // the values less the base, rounded to f32: subtracted while they are converted
};

// f32 values of one tile. Pointers hold tile.count values each. The runner's begin a cache line, which is faster; nothing depends on it.
struct TileInputs {
  const float* base = nullptr;                   // null when the job has no base
  std::span<const float* const> models{};        // empty where task vectors were asked for
  std::span<const float* const> task_vectors{};  // empty where they were not

  // The one of the two that a kernel asked for.
  std::span<const float* const>& in_form(InputForm form) noexcept { return form == InputForm::kTaskVectors ? task_vectors : models; }
};

// Scratch memory of one worker, reused from tile to tile. Grows, never shrinks within a job.
class Scratch {
 public:
  float* floats(int slot, std::int64_t count) { return take<float>(slot, count); }
  double* doubles(int slot, std::int64_t count) { return take<double>(slot, count); }
  std::uint16_t* halves(int slot, std::int64_t count) { return take<std::uint16_t>(slot, count); }
  std::uint32_t* words(int slot, std::int64_t count) { return take<std::uint32_t>(slot, count); }
  std::uint64_t* longs(int slot, std::int64_t count) { return take<std::uint64_t>(slot, count); }
  std::uint8_t* bytes(int slot, std::int64_t count) { return take<std::uint8_t>(slot, count); }
  // A few items, one for each model: a tile is too small to ask the system for memory.
  template <typename T>
  std::span<T> few(int slot, std::size_t count) {
    T* items = take<T>(slot, static_cast<std::int64_t>(count));
    std::uninitialized_value_construct_n(items, count);
    return {items, count};
  }

 private:
  template <typename T>
  T* take(int slot, std::int64_t count) {
    if (static_cast<std::size_t>(slot) >= slots_.size()) slots_.resize(static_cast<std::size_t>(slot) + 1);
    auto& bytes = slots_[static_cast<std::size_t>(slot)];
    const std::size_t need = static_cast<std::size_t>(count) * sizeof(T);
    if (bytes.size() < need) bytes.resize(need);
    return reinterpret_cast<T*>(bytes.data());
  }
  std::vector<AlignedVector<std::byte>> slots_;
};

// Totals of one reduce pass.
struct Totals {
  std::span<const double> sums;           // sum_count values
  std::span<const std::uint64_t> counts;  // count_size values
};

enum class Next { kReduce, kMap };

class Kernel {
 public:
  virtual ~Kernel() = default;

  // Builds tables and takes the memory that kept_bytes announces. Called once, before the first pass; construction stays cheap, since
  // the planner makes a kernel of every job to see what it takes.
  virtual void prepare() {}

  virtual Next first() const noexcept { return Next::kMap; }
  virtual InputForm input_form() const noexcept { return InputForm::kValues; }
  // Sizes of the accumulators of a reduce pass.
  virtual int sum_count(int /*pass*/) const noexcept { return 0; }
  virtual std::int64_t count_size(int /*pass*/) const noexcept { return 0; }

  // Does the reduce pass under way look at this tile? Others are not read.
  virtual bool wants(const Tile&) const noexcept { return true; }
  // Adds to `sums` (zeroed for each tile) and `counts` (shared by the tiles of one worker). Thread-safe between chunks.
  virtual void reduce(int /*pass*/, const Tile&, const TileInputs&, double* /*sums*/, std::uint64_t* /*counts*/, Measure&,
                      Scratch&) noexcept {}
  virtual Next seal(int /*pass*/, const Totals&) noexcept { return Next::kMap; }

  // Writes tile.count values to `out`; adds what it saw to `measure`. Thread-safe between tiles.
  virtual void map(const Tile&, const TileInputs&, float* out, Measure& measure, Scratch&) noexcept = 0;

  // Is the output the first model's input, unchanged? Then, where the types agree too, bytes are copied and map is not called.
  virtual bool copies_input() const noexcept { return false; }

  // Bytes kept by the kernel between passes at most, known at construction.
  virtual std::int64_t kept_bytes() const noexcept { return 0; }
  // Bytes of scratch one worker needs at most.
  virtual std::int64_t scratch_bytes() const noexcept { return 0; }
  // A scalar worth showing in reports ("c" of DELLA's ramp, the cosine of SLERP), or nothing.
  struct Note {
    std::string name;
    double value;
  };
  virtual std::vector<Note> notes() const { return {}; }
  // What the data made the method do that its user should know ("the mean cosine is negative: the merge moves away from the mean"), or
  // nothing. Asked once, after the last tile. The same words from many tensors are shown once, with the number of tensors; so no names
  // and no numbers in them.
  virtual std::string remark() const { return {}; }
};

}  // namespace crucible
