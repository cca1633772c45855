// From a plan to a model folder that is complete or not there.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "io/output_folder.h"
#include "plan/plan.h"
#include "run/post_check.h"
#include "run/runner.h"

namespace crucible {

struct WriteOptions {
  RunOptions run;
  Existing existing = Existing::kRefuse;
  bool hash_inputs = false;  // whole weight files of the inputs, which are read once more for it
};

struct SmallFile {
  std::string name;
  std::string text;
};

enum class FileOrigin {
  kRebuilt,  // made for this output
  kCopied,   // the bytes of an input's file
};

// A file beside the weights, as it was written.
struct WrittenFile {
  std::string name;  // relative to the folder
  std::int64_t bytes = 0;
  std::string hash;  // XXH3-128
  FileOrigin origin = FileOrigin::kRebuilt;
};

// What was written, to be found again.
struct Written {
  std::vector<std::string> tensor_hashes;                // by job; see run/tensor_hash.h
  std::vector<WrittenFile> companions;                   // config, index and copied files
  std::vector<std::vector<std::string>> content_hashes;  // by input and weight file, when asked for
  PostCheck checked;                                     // the files above, read again
};

// Merges into `target`: weights, index, config.json, companion files, and the small files that `describe` makes of the result
// (model card, recipe, record). Everything is checked, synced and renamed at the end; on any error nothing remains. Throws Error{kDamaged}
// when what was written is not what was planned, after `describe` has seen it in Written::checked (it may throw before, with more to say).
RunResult write_model(const Plan& plan, const std::string& target, const WriteOptions& options,
                      const std::function<void(const Progress&)>& progress,
                      const std::function<std::vector<SmallFile>(const RunResult&, const Written&)>& describe);

// Runs the plan again and compares with the weight files in `folder`, byte for byte, without writing.
struct Comparison {
  std::vector<std::string> differing;  // tensors with at least one different byte
  std::vector<std::string> problems;   // files that are missing, of the wrong size, or with another header
  std::int64_t bytes_compared = 0;
  bool equal() const noexcept { return differing.empty() && problems.empty(); }
};
Comparison compare_with(const Plan& plan, const std::string& folder, const RunOptions& options,
                        const std::function<void(const Progress&)>& progress, RunResult* result);

}  // namespace crucible
