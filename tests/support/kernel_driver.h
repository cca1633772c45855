// Runs a method's kernel on arrays in memory the way the runner does: chunks of tiles cut from the shape, reduce passes until seal says map,
// sums added in tile order, counts kept per worker. Knobs change what must not change the result.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "methods/method.h"

namespace crucible::test {

// A parameter by name, written as a recipe would write it.
struct Arg {
  std::string name;
  std::string text;
  Arg(std::string n, double v);
  Arg(std::string n, int v) : name(std::move(n)), text(std::to_string(v)) {}
  Arg(std::string n, bool v) : name(std::move(n)), text(v ? "true" : "false") {}
  Arg(std::string n, const char* v) : name(std::move(n)), text(v) {}
  Arg(std::string n, const std::string& v) : name(std::move(n)), text(v) {}
};
using Args = std::vector<Arg>;

// The values of a table with some set by name. Throws std::invalid_argument for a name or a value that the table does not take.
Params make_params(const FieldTable& table, const Args& args);

// One tensor of a merge.
struct MergeCase {
  Shape shape;
  std::optional<std::vector<float>> base;
  std::vector<std::vector<float>> models;
  Args global;
  std::vector<Args> model_args;    // of each model; missing ones are empty
  std::vector<std::string> names;  // of each model, for its random stream; missing ones are "m0", "m1", ...
  std::uint64_t seed = 7;
  std::string tensor = "layer.weight";

  std::string name_of(std::size_t model) const;
  RandomKey key_of(std::size_t model) const { return make_random_key(seed, tensor, name_of(model)); }
  const Args& args_of(std::size_t model) const;
  std::int64_t elems() const { return elem_count(shape); }
};

enum class Threads { kSimulated, kReal };

struct DriveOptions {
  int workers = 1;
  Threads threads = Threads::kSimulated;   // simulated: one thread plays all workers
  std::optional<std::uint64_t> shuffle{};  // order of the chunks of each pass
  std::int64_t keep_budget_bytes = std::int64_t{1} << 28;
};

struct Driven {
  std::vector<float> out;
  Measure measure;
  std::vector<Kernel::Note> notes;
  std::string remark;
  int reduce_passes = 0;
  std::vector<std::string> untaken;            // declared parameters that the kernel did not take
  double note(const std::string& name) const;  // NaN where there is none
};

// Tiles that were not written, or written past their end, show as NaN in `out` or abort.
Driven run_kernel(const Method& method, const MergeCase& merge, const DriveOptions& options = {});
Driven run_kernel(const std::string& method, const MergeCase& merge, const DriveOptions& options = {});

inline double d(float x) { return static_cast<double>(x); }

// The bytes of values, so that comparisons tell -0 from 0 and see NaN.
std::vector<std::uint32_t> bits_of(const std::vector<float>& values);

// Kinds of test data.
enum class Values {
  kNormal,     // f32, about 1e-2
  kHalf,       // rounded to f16
  kBFloat,     // rounded to bf16
  kFew,        // a handful of magnitudes: equal ones everywhere
  kSparse,     // mostly zeros of both signs
  kSubnormal,  // f32 subnormals and the smallest normals
  kHuge,       // up to 1e30: room for a division by a keep probability
  kSpread,     // exponents from -30 to 30
};
inline constexpr Values kAllValues[] = {Values::kNormal, Values::kHalf,      Values::kBFloat, Values::kFew,
                                        Values::kSparse, Values::kSubnormal, Values::kHuge,   Values::kSpread};
using Rng = std::mt19937_64;
std::vector<float> make_values(Values kind, std::int64_t n, Rng& rng);
// A number in [low, high), the same on every standard library.
double uniform(Rng& rng, double low = 0, double high = 1);
std::int64_t below(Rng& rng, std::int64_t n);

}  // namespace crucible::test
