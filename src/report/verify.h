// Is a folder what its record says? First its files against the recorded hashes, which needs no input; then the inputs against theirs;
// then a part of the merge, or all of it, computed again and compared byte for byte, and what it measures against the record.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/record.h"
#include "run/runner.h"

namespace crucible {

// One thing that is not as it was recorded.
struct Wrong {
  enum class Kind { kFile, kTensor, kCompanion, kInput, kRecomputed, kMeasured };
  Kind kind = Kind::kFile;
  std::string name;  // of the file, tensor, input or parameter
  std::string text;  // a sentence that names it
};
std::string_view to_string(Wrong::Kind kind) noexcept;

enum class VerifyDepth {
  kHashes,  // no input is looked at
  kSample,  // a sample that depends on the plan only; all where the output is small
  kAll,
};

struct VerifyOptions {
  VerifyDepth depth = VerifyDepth::kSample;
  std::vector<std::pair<std::string, std::string>> model_dirs;  // go before where the record says the models were
  RunOptions run;
  std::function<void(const Progress&)> progress;
};

struct Verification {
  std::vector<Wrong> wrong;                                         // empty = as recorded, as far as it was looked at
  std::vector<std::string> remarks;                                 // what was not as it could be, and is not wrong
  std::vector<std::string> missing;                                 // inputs that are not where they were
  std::int64_t files = 0, companions = 0, inputs = 0, tensors = 0;  // looked at
  std::int64_t bytes_hashed = 0;
  std::int64_t inputs_hashed = 0;  // whose whole content was compared
  bool recomputed = false;
  std::int64_t bytes_compared = 0;  // of bytes_total, recomputed
  std::int64_t bytes_total = 0;
};

// Problems with the record itself, or with the recipe in it, go to `diagnostics`: that this is the record of another output, too.
Verification verify_output(const std::string& folder, const Record& record, const VerifyOptions& options, Diagnostics& diagnostics);

// Which tiles of a plan are computed again: at least one of every tensor whose method reads it once, whole tensors where it does not, until
// `share` of the bytes is reached. Depends on the plan's digest only.
std::function<bool(std::size_t, std::int64_t)> sample_of(const Plan& plan, double share);

}  // namespace crucible
