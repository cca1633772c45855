// Merging models: what to merge, and what came of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "crucible/error.h"
#include "crucible/plan.h"
#include "crucible/run.h"

namespace crucible {

// What to do with a parameter that the method does not use.
enum class UnusedParameters { kError, kNotice };

// What to do with an output folder that exists and is not empty.
enum class ExistingOutput { kRefuse, kReplace };

// Whether the merge is measured and held against what its parameters promise. Costs a few per cent of the time.
enum class Auditing { kOn, kOff };

struct MergeProgress {
  std::int64_t bytes_done = 0;  // of output
  std::int64_t bytes_total = 0;
  std::string tensor;  // one that is under way
};

struct MergeRequest {
  std::string recipe_file;  // path; also the place that relative model paths start from
  std::string recipe_text;  // used instead of the file's content when not empty

  // What decides the result.
  std::vector<std::pair<std::string, std::string>> model_dirs;  // model id -> folder
  std::uint64_t seed = 42;
  std::int64_t shard_bytes = 5'000'000'000;  // largest weight file, in bytes of tensor data; 0 = one file
  UnusedParameters unused = UnusedParameters::kError;
  MissingTensors missing = MissingTensors::kError;
  bool notices_are_errors = false;

  // What is written beside the weights.
  bool copy_companions = true;  // tokenizer and all other non-weight files of the base (or first model)
  std::string copy_from;        // the model of the recipe whose config and companions are used instead, as the recipe writes it
  bool write_card = true;       // README.md and mergekit_config.yml
  ExistingOutput existing = ExistingOutput::kRefuse;
  bool hash_inputs = false;  // record a hash of every byte of the inputs' weights, not of the headers only; reads them once more
  Auditing audit = Auditing::kOn;
  // Parameters ("epsilon", or "epsilon=0.1") whose effect on the bytes is tried out on a sample: it is merged once more without them.
  std::vector<std::string> counterfactuals;

  // What decides speed and memory only.
  int threads = 0;                // 0 = all processors
  std::int64_t memory_bytes = 0;  // 0 = the lesser of 2 GiB and a quarter of the machine's memory
  Reading reading = Reading::kMeasured;
  std::function<void(const MergeProgress&)> progress;  // called from worker threads, a few times a second
  const std::atomic<bool>* stop = nullptr;             // set it to give up
};

// What a model's parameters did, measured.
struct ModelEffect {
  std::string model;
  std::int64_t entries = 0;  // task vector entries that a sparsifying method looked at
  std::int64_t kept = 0;     // of those, kept
  double planned = 0;        // mean of `kept` that the parameters ask for
};

struct MergeReport {
  Diagnostics notices;
  std::vector<std::string> remarks;  // what the data made the method do, one line for each kind
  std::int64_t tensors_merged = 0;
  std::int64_t tensors_copied = 0;
  std::int64_t bytes_written = 0;      // of tensor data
  std::int64_t peak_memory_bytes = 0;  // of the process
  double seconds = 0;
  std::vector<ModelEffect> effects;
  std::string summary;  // the same for people
};

// Merges into the folder `output`, which is complete when this returns and absent (or unchanged) when it throws.
// Throws InputError with every problem of the recipe and the models, or Error when the run fails. Thread-safe.
MergeReport merge(const MergeRequest& request, const std::string& output);

// Checks the recipe against the headers of its models; reads no tensor data. Errors and notices, all of them.
Diagnostics check(const MergeRequest& request);

}  // namespace crucible
