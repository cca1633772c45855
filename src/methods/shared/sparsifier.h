// Which entries of one task vector survive: the first stage of generalised task arithmetic.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "methods/kernel.h"
#include "tensor/selection.h"

namespace crucible {

// One per model and job. reduce/seal as in Kernel; apply may run on any thread.
class Sparsifier {
 public:
  virtual ~Sparsifier() = default;

  virtual void prepare() {}  // as Kernel::prepare
  virtual Next first() const noexcept { return Next::kMap; }
  virtual std::int64_t count_size(int /*pass*/) const noexcept { return 0; }
  virtual bool wants(const Tile&) const noexcept { return true; }
  virtual void reduce(int /*pass*/, const Tile&, const float* /*delta*/, std::uint64_t* /*counts*/, Scratch&) noexcept {}
  virtual Next seal(int /*pass*/, std::span<const std::uint64_t> /*counts*/) noexcept { return Next::kMap; }

  // The entries of a tile where kept (times 1/p where rescaling is per element), else 0: in `room`, or `delta` itself where it keeps
  // everything. `measure` is given the first time that a tile is applied and null afterwards.
  virtual const float* apply(const Tile&, const float* delta, float* room, ModelMeasure* measure, Scratch&) noexcept = 0;
  // Which entries of a tile are kept, one bit each, where the sparsifier decides by such bits and leaves values as they are; else null,
  // and `apply` is the way. `measure` as there.
  virtual const std::uint64_t* mark(const Tile&, const float* /*delta*/, ModelMeasure* /*measure*/, Scratch&) noexcept { return nullptr; }

  virtual bool keeps_everything() const noexcept { return false; }
  virtual std::int64_t kept_bytes() const noexcept { return 0; }
  virtual std::int64_t scratch_bytes() const noexcept { return 0; }
  virtual std::vector<Kernel::Note> notes() const { return {}; }
};

// Sparsifiers use the scratch slots below this number.
inline constexpr int kSparsifierSlots = 4;

std::unique_ptr<Sparsifier> make_keep_all();
// All entries dropped.
std::unique_ptr<Sparsifier> make_keep_none();
// The `keep` entries that follow the `skip` largest magnitudes of the tensor (ties by lower index).
std::unique_ptr<Sparsifier> make_magnitude_band(const Tiling& tiling, std::int64_t skip, std::int64_t keep, std::int64_t keep_budget_bytes);
// The same inside each row, which a tile holds whole.
std::unique_ptr<Sparsifier> make_row_band(const Tiling& tiling, std::int64_t skip, std::int64_t keep);
enum class Survivors { kAsTheyAre, kDividedByProbability };
// Each entry with probability `density`.
struct BernoulliSpec {
  double density = 1;
  Survivors survivors = Survivors::kAsTheyAre;
  RandomKey key;
  Tiling tiling;
  std::int64_t keep_budget_bytes = 0;  // for what was drawn, where a second pass will ask again
};
std::unique_ptr<Sparsifier> make_bernoulli(const BernoulliSpec& spec);
// MagPrune: each entry with the probability of its magnitude rank inside its row or inside the whole tensor.
struct MagPruneSpec {
  double density = 1;
  double epsilon = 0;
  bool whole_tensor = false;  // rank scope
  Survivors survivors = Survivors::kAsTheyAre;
  RandomKey key;
  Tiling tiling;
  std::int64_t keep_budget_bytes = 0;
};
std::unique_ptr<Sparsifier> make_magprune(const MagPruneSpec& spec);

}  // namespace crucible
