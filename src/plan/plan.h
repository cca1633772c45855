// A plan names every output byte before any tensor is read. A plain value; running it is src/run's work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arch/config_edit.h"
#include "arch/roles.h"
#include "base/random.h"
#include "checkpoint/companions.h"
#include "crucible/checkpoint.h"
#include "crucible/error.h"
#include "crucible/plan.h"
#include "methods/method.h"
#include "plan/differences.h"
#include "plan/view.h"
#include "recipe/recipe.h"

namespace crucible {

inline constexpr std::uint64_t kDefaultSeed = 42;
inline constexpr std::int64_t kDefaultShardBytes = 5'000'000'000;

// "error", "intersection", "union", "donor": as the record names them.
std::string_view to_string(MissingTensors missing) noexcept;
std::optional<MissingTensors> parse_missing_tensors(std::string_view text) noexcept;

struct PlanOptions {
  std::vector<std::pair<std::string, std::string>> model_dirs;  // model id -> folder
  std::uint64_t seed = kDefaultSeed;
  std::int64_t shard_bytes = kDefaultShardBytes;  // of tensor data; <= 0 = one shard
  bool copy_companions = true;                    // tokenizer and all other non-weight files
  std::string copy_from;                          // model of the recipe whose config and companions are used; empty = base, else the first
  MissingTensors missing = MissingTensors::kError;
};

// A model that the recipe names, opened.
struct PlanInput {
  ModelRef ref;
  std::string path;
  Checkpoint checkpoint;
  std::shared_ptr<const ModelView> view;  // its tensors under the output's names
};

// Where a layer of the output comes from.
struct LayerOrigin {
  struct From {
    int input = 0;  // index into Plan::inputs
    std::int64_t layer = 0;
  };
  std::string stack;  // "model.layers"
  std::int64_t layer = 0;
  std::vector<From> from;  // the sources in recipe order, the base aside
};

struct SourceTensor {
  int input = 0;                       // index into Plan::inputs
  const ViewTensor* tensor = nullptr;  // of that input's view
};

// One output tensor.
struct Job {
  enum class Kind {
    kMerge,
    kCopy,  // the stored bytes of sources[0], converted only where `converts`
  };
  Kind kind = Kind::kMerge;
  TensorInfo info;          // name, type and shape of the output
  std::string as;           // the tensor whose parameters and draws it has; empty = its own
  int file = 0;             // index into Plan::files
  std::int64_t offset = 0;  // of the first byte in that file
  std::int64_t bytes = 0;
  std::optional<SourceTensor> base;
  std::vector<SourceTensor> sources;  // the method's inputs, base aside
  std::shared_ptr<const Params> global;
  std::vector<std::shared_ptr<const Params>> models;  // one per source
  std::vector<RandomKey> random_keys;                 // one per source
  std::vector<int> source_inputs;                     // SourceTensor::input of each source
  Tiling tiling;                                      // kMerge
  double t = 0;                                       // gradient position
  TensorRole role;                                    // what the tensor is for: filters ask
  std::string copy_reason;                            // kCopy: why nothing is computed

  // The name that filters and draws go by.
  const std::string& decided_by() const noexcept { return as.empty() ? info.name : as; }

  // A copy whose type is not the stored one.
  bool converts() const noexcept {
    return kind == Kind::kCopy && (sources.front().tensor->info.dtype != info.dtype || !sources.front().tensor->has_one_dtype());
  }
};

// One weight file of the output.
struct PlanFile {
  std::string name;        // relative to the output's folder: "model.safetensors", "unet/diffusion_pytorch_model.safetensors"
  std::string header;      // its first bytes
  std::int64_t bytes = 0;  // header and data
  std::size_t part = 0;    // index into Plan::parts
};

// A folder of the output with weights of its own (crucible/part.h: ModelPart). Those of the donor, in its order.
struct PlanPart {
  std::string folder;       // relative to the output's folder; empty = that folder itself
  std::string index_name;   // relative to the output's folder: model.safetensors.index.json, or as the donor's files are called
  std::string index_text;   // empty with one file
  std::string config_text;  // its config.json; empty when the donor has none
  std::vector<ConfigChange> config_changes;  // what that says differently from the donor's

  std::string config_name() const { return name_below(folder, "config.json"); }
};

// A head that every input stores although it is the embedding, and config.json says so.
struct TiedHead {
  std::string head, embedding;  // in the output
};

struct Plan {
  Recipe recipe;
  PlanOptions options;
  const Method* method = nullptr;
  std::vector<PlanInput> inputs;  // base (if any) first
  std::optional<int> base;        // index into inputs
  int donor = 0;                  // whose config and companion files are used
  std::optional<TiedHead> tied_head;
  std::vector<PlanPart> parts = std::vector<PlanPart>(1);  // the output's own folder first; one at least
  std::vector<PlanFile> files;
  std::vector<Job> jobs;                // in file and offset order
  std::vector<std::string> companions;  // files copied from the donor, relative to its folder
  std::vector<FolderFile> left_out;     // files of the donor that are not copied
  std::vector<Difference> differences;  // between the inputs, in what their weights do not show
  std::vector<LayerOrigin> layer_map;   // for slices, in the order of stacks and layers
  Diagnostics notices;
  std::string digest;  // of everything that decides the output's bytes

  PlanPart& root() noexcept { return parts.front(); }
  const PlanPart& root() const noexcept { return parts.front(); }
  // The parts as their folders and new configs, for code that reads names of the output part by part.
  std::vector<ModelPart> model_parts() const;
  // The name of an output tensor in its file: without the part's folder.
  std::string_view name_in_file(const Job& job) const noexcept;
  // Small files that are made for the output, by name: each part's config.json and index.
  std::vector<std::pair<std::string, const std::string*>> made_files() const;

  std::int64_t data_bytes() const noexcept;   // of output tensors
  std::int64_t input_bytes() const noexcept;  // read once
};

// Joins a recipe with the headers of its models. Reads no tensor data. Every problem goes to `diagnostics`; the plan is complete only
// when there is no error. Notices go to both.
Plan make_plan(const Recipe& recipe, const PlanOptions& options, Diagnostics& diagnostics);

// The kernel specification of a job, with its own copy of the parameters.
struct BoundParams {
  Params global;
  std::vector<Params> models;
};
BoundParams bind_params(const Job& job);

// The same for many jobs, one after the other: neighbours mostly share their parameters, and a copy for each of fifty thousand costs more
// than all else that is done with them.
class ParamBinder {
 public:
  // Nothing is taken. Valid until the next call.
  const BoundParams& bind(const Job& job);

 private:
  std::shared_ptr<const Params> global_;
  std::vector<std::shared_ptr<const Params>> models_;
  std::optional<BoundParams> bound_;
};
KernelSpec kernel_spec(const Job& job, const BoundParams& params, std::int64_t keep_budget_bytes);

// The survey of a plan's merge jobs, with the parameters that it reads.
struct PlanSurvey {
  std::vector<std::size_t> jobs;  // numbers of the merge jobs
  std::vector<std::unique_ptr<BoundParams>> params;
  std::unique_ptr<Survey> survey;  // null: the method needs none
};
PlanSurvey make_plan_survey(const Plan& plan, Findings& findings);

// Names of parameters of `params` that no take() touched.
std::vector<std::string> untaken(const Params& params);

}  // namespace crucible
